//! What a crash may take and what it may not.

use super::*;
use crate::dice::seeds;

const START: Time = Time(1_000_000_000);
const LOG: &str = "log";

fn disk(seed: u64) -> Disk<&'static str> {
    Disk::new(Dice::new(seed), Latency::CALM)
}

/// Does a job to its end; the result.
fn job(disk: &mut Disk<&'static str>, job: Job<&'static str>) -> Result<(), Refusal> {
    let ticket = disk.submit(START, job);
    let at = disk.next().expect("one job");
    assert_eq!(disk.take(Time(at.0 - 1)), None, "not before its time");
    let done = disk.take(at).expect("done by now");
    assert_eq!(done.ticket, ticket);
    done.result
}

fn append(disk: &mut Disk<&'static str>, bytes: &[u8]) {
    job(disk, Job::Append(LOG, bytes.to_vec())).expect("room");
}

fn sync(disk: &mut Disk<&'static str>) {
    job(disk, Job::Sync(LOG)).expect("a whole disk");
}

#[test]
fn jobs_are_done_in_order_and_take_their_time() {
    let mut disk = disk(1);
    let first = disk.submit(START, Job::Append(LOG, b"one".to_vec()));
    let second = disk.submit(START, Job::Sync(LOG));
    assert_eq!(disk.read(&LOG), b"");
    let far = START.after(Duration::from_seconds(1));
    assert_eq!(disk.take(far), Some(Done { ticket: first, result: Ok(()) }));
    assert_eq!((disk.read(&LOG), disk.durable(&LOG)), (b"one".as_slice(), b"".as_slice()));
    assert!(disk.next().expect("the sync").since(START) >= Latency::CALM.sync.0);
    assert_eq!(disk.take(far), Some(Done { ticket: second, result: Ok(()) }));
    assert_eq!(disk.durable(&LOG), b"one");
    assert_eq!(disk.next(), None);
}

#[test]
fn a_crash_never_takes_what_was_synced() {
    for seed in seeds(0..300) {
        let mut disk = disk(seed);
        append(&mut disk, &[1; 3000]);
        sync(&mut disk);
        append(&mut disk, &[2; 3000]);
        disk.submit(START, Job::Append(LOG, vec![3; 3000]));
        disk.crash();
        let kept = disk.read(&LOG);
        assert!(kept.len() >= 3000 && kept[..3000].iter().all(|&byte| byte == 1), "RINGSTORE_SEED={seed}");
        assert_eq!(kept, disk.durable(&LOG));
    }
}

#[test]
fn a_crash_keeps_loses_and_tears_what_was_not_synced() {
    let (mut kept, mut lost, mut torn, mut hole) = (0, 0, 0, 0);
    for seed in 0..300 {
        let mut disk = disk(seed);
        append(&mut disk, &[1; 700]);
        append(&mut disk, &[2; 2000]);
        disk.crash();
        let bytes = disk.read(&LOG);
        let ones = bytes.iter().filter(|&&byte| byte == 1).count();
        let twos = bytes.iter().filter(|&&byte| byte == 2).count();
        match (ones, twos) {
            (700, 2000) => kept += 1,
            (0, 0) => lost += 1,
            (0, _) => hole += 1,
            _ => torn += 1,
        }
    }
    assert!([kept, lost, torn, hole].iter().all(|&n| n > 5), "{kept} kept, {lost} lost, {torn} torn, {hole} holes");
}

#[test]
fn sectors_are_torn_as_a_whole() {
    for seed in seeds(0..200) {
        let mut disk = disk(seed);
        append(&mut disk, &[1; 100]);
        sync(&mut disk);
        append(&mut disk, &[2; 2000]);
        disk.crash();
        let bytes = disk.read(&LOG)[100..].to_vec();
        for sector in [0..412, 412..924, 924..1436] {
            let of = bytes.get(sector.clone()).unwrap_or_default();
            assert!(of.windows(2).all(|pair| pair[0] == pair[1]), "RINGSTORE_SEED={seed} {sector:?}");
        }
    }
}

#[test]
fn a_sync_under_way_at_a_crash_may_have_been_done() {
    let done = (0..200).filter(|&seed| {
        let mut disk = disk(seed);
        disk.submit(START, Job::Replace("configuration", b"new".to_vec()));
        disk.crash();
        disk.read(&"configuration") == b"new"
    });
    assert!((20..180).contains(&done.count()));
}

#[test]
fn a_replaced_file_is_old_or_new_and_never_between() {
    for seed in seeds(0..200) {
        let mut disk = disk(seed);
        job(&mut disk, Job::Replace("configuration", vec![1; 2000])).expect("room");
        disk.submit(START, Job::Replace("configuration", vec![2; 900]));
        disk.crash();
        let read = disk.read(&"configuration");
        assert!(read == [1; 2000] || read == [2; 900], "RINGSTORE_SEED={seed}");
    }
}

#[test]
fn a_truncation_that_was_not_synced_may_be_undone() {
    let outcomes: std::collections::BTreeSet<usize> = (0..100)
        .map(|seed| {
            let mut disk = disk(seed);
            append(&mut disk, &[1; 1000]);
            sync(&mut disk);
            job(&mut disk, Job::Truncate(LOG, 10)).expect("possible");
            assert_eq!(disk.read(&LOG).len(), 10);
            disk.crash();
            disk.read(&LOG).len()
        })
        .collect();
    assert_eq!(outcomes, [10, 1000].into());
}

#[test]
fn a_killed_process_loses_nothing_that_was_written() {
    for seed in seeds(0..100) {
        let mut disk = disk(seed);
        append(&mut disk, &[1; 1000]);
        disk.submit(START, Job::Append(LOG, vec![2; 1000]));
        disk.kill();
        let bytes = disk.read(&LOG);
        assert!(bytes.len() == 1000 || bytes.len() == 2000, "RINGSTORE_SEED={seed}");
        assert_eq!(disk.next(), None, "nobody waits for its answer");
    }
}

#[test]
fn a_full_disk_refuses_what_does_not_fit_until_there_is_room() {
    let mut disk = disk(1);
    append(&mut disk, &[1; 100]);
    disk.leave_room(50);
    assert_eq!(job(&mut disk, Job::Append(LOG, vec![2; 51])), Err(Refusal::Full));
    assert_eq!(disk.read(&LOG).len(), 100);
    append(&mut disk, &[2; 50]);
    assert_eq!(job(&mut disk, Job::Sync(LOG)), Ok(()));
    disk.leave_room(u64::MAX);
    append(&mut disk, &[3; 51]);
}

#[test]
fn one_job_of_the_kind_asked_for_fails() {
    let mut disk = disk(1);
    disk.fail_next(true);
    append(&mut disk, b"fine");
    assert_eq!(job(&mut disk, Job::Sync(LOG)), Err(Refusal::Broken));
    assert_eq!(job(&mut disk, Job::Sync(LOG)), Ok(()));
    disk.fail_next(false);
    assert_eq!(job(&mut disk, Job::Append(LOG, b"lost".to_vec())), Err(Refusal::Broken));
    assert_eq!(disk.read(&LOG), b"fine");
}

#[test]
fn a_flipped_bit_stays_flipped_and_is_the_only_one() {
    let mut disk = disk(5);
    append(&mut disk, &[0; 100]);
    sync(&mut disk);
    let at = disk.flip(&LOG, 20..40).expect("bytes are there");
    assert!((20..40).contains(&at));
    disk.crash();
    let ones: u32 = disk.read(&LOG).iter().map(|byte| byte.count_ones()).sum();
    assert_eq!((ones, disk.read(&LOG)[at].count_ones()), (1, 1));
    assert_eq!(disk.flip(&LOG, 200..300), None);
}

#[test]
fn a_wiped_disk_is_empty() {
    let mut disk = disk(1);
    append(&mut disk, b"gone");
    sync(&mut disk);
    disk.submit(START, Job::Sync(LOG));
    disk.wipe();
    assert_eq!((disk.read(&LOG), disk.next()), (b"".as_slice(), None));
}

#[test]
fn a_disk_becomes_slow_and_fast_again() {
    let mut disk = disk(1);
    let slow = (Duration::from_millis(40), Duration::from_millis(50));
    disk.set_latency(Latency { write: slow, sync: slow });
    disk.submit(START, Job::Sync(LOG));
    let at = disk.next().expect("one job");
    assert!(at.since(START) >= slow.0);
    assert!(disk.take(at).is_some());
    disk.set_latency(Latency::CALM);
    sync(&mut disk);
}

#[test]
fn the_slow_disk_of_a_seed_is_slower_than_the_calm_one() {
    for seed in seeds(0..50) {
        let latency = Latency::draw(&mut Dice::new(seed));
        assert!(latency.write.0 <= latency.write.1 && latency.sync.0 <= latency.sync.1, "RINGSTORE_SEED={seed}");
    }
}
