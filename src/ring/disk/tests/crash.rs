//! Random histories with power failures: whatever was acknowledged is there afterwards. Replay with RINGSTORE_SEED.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::super::SyncRequest;
use super::faulty::Faulty;
use super::{Source, reopen};
use crate::config::Fsync;
use crate::log::Position;
use crate::time::{Duration, Time};

#[test]
fn no_acknowledged_frame_is_lost_in_a_crash() {
    let seed = std::env::var("RINGSTORE_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(rand::random::<u64>);
    println!("RINGSTORE_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    for _ in 0..300 {
        let fsync = match rng.random_range(0..4) {
            0 => Fsync::Interval(Duration::from_millis(5)),
            1 => Fsync::Never,
            _ => Fsync::Always,
        };
        one_history(&mut rng, fsync);
    }
}

/// A log that lives through a few crashes.
fn one_history(rng: &mut StdRng, fsync: Fsync) {
    let disk = Faulty::default();
    // what must be there after a crash, and what may be
    let (mut durable, mut before) = (Position(0), Vec::new());
    for _ in 0..rng.random_range(2..6) {
        let (writer, recovered, read) = reopen(disk.clone(), fsync);
        assert!(recovered.end >= durable, "{fsync:?}: {durable:?} was durable, the log ends at {:?}", recovered.end);
        assert_eq!(read[..], before[..read.len()], "what is read is what was written");
        let mut writer = writer.with_file_bytes(rng.random_range(100..1500));
        let mut source = Source::new(&recovered);
        source.made = read.into_iter().map(|(index, text)| (recovered.end, index, text)).collect();
        let mut in_flight: Option<SyncRequest> = None;
        // recovery synced what it read
        durable = recovered.end;
        for turn in 0..rng.random_range(0..30) {
            if rng.random_ratio(1, 8) {
                disk.0.borrow_mut().room = Some(rng.random_range(0..400));
            } else if rng.random() {
                disk.0.borrow_mut().room = None;
            }
            // now and then the disk has done everything before the next frame comes
            while rng.random_ratio(1, 3)
                && let Some(request) = in_flight.take()
            {
                durable = writer.on_synced(Time(0), disk.fdatasync(request.descriptor)).expect("syncs work").upto;
                source.durable = durable;
                in_flight = writer.next_sync(Time(0).after(Duration::from_millis(turn)));
            }
            let frames: Vec<_> = (0..rng.random_range(1..4))
                .map(|_| source.frame(rng.random_range(1..4), rng.random_range(0..90)))
                .collect();
            let appended = writer.append(frames.iter().map(Vec::as_slice)).expect("full is not fatal");
            if let Some(written) = appended.refused {
                source.refuse(written);
            }
            assert_eq!(writer.written(), source.position);
            assert!(fsync != Fsync::Always || appended.persisted.is_none(), "a write alone is not durable");
            // the kernel does it some time before it says so
            if let Some(request) = in_flight.take_if(|_| rng.random()) {
                let synced = writer.on_synced(Time(0), disk.fdatasync(request.descriptor)).expect("syncs work");
                assert_eq!(synced.upto, request.covers);
                durable = durable.max(synced.upto);
                source.durable = durable;
            }
            if in_flight.is_none() {
                in_flight = writer.next_sync(Time(0).after(Duration::from_millis(turn)));
            }
        }
        before = source.read();
        if rng.random_ratio(1, 4) {
            durable = writer.finish().expect("syncs work").upto;
            assert_eq!(durable, source.position);
        }
        // or only the process ends: then all is there, and still it must be synced before it is trusted
        if rng.random_ratio(2, 3) {
            disk.0.borrow_mut().crash(rng);
        }
        disk.0.borrow_mut().room = None;
    }
}
