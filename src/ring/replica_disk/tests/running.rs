//! A running server's disk: what is told when, cuts while a sync is under way, full disks, reading back, keystores and what they
//! let go of.

use super::faulty::{Entry as Named, Faulty};
use super::*;
use crate::ring::replica_disk::Name;

fn running(fsync: Fsync) -> (Faulty, Server<Faulty>, Log) {
    let storage = Faulty::default();
    let (mut server, boot) = start_on(&storage, fsync).unwrap_or_else(|error| panic!("{error}"));
    server.begin(&boot, record(1, 1, Doubt::None)).expect("the disk works");
    (storage, server, Log::default())
}

fn grow(server: &mut Server<Faulty>, log: &mut Log, frames: usize) {
    for _ in 0..frames {
        let frame = log.grow(1, server.persisted);
        server.append(&frame, 0).expect("the disk works");
    }
}

#[test]
fn a_sync_that_was_under_way_at_a_cut_says_nothing_of_what_came_behind_it() {
    let (mut storage, mut server, mut log) = running(Fsync::Always);
    grow(&mut server, &mut log, 5);
    let descriptor = server.disk.next_sync(server.now).expect("it is due");
    assert_eq!(server.persisted, Position(0));
    let to = log.cut(2);
    server.truncate(to, 1).expect("the disk works");
    assert_eq!(server.persisted, to.position, "what is left is told with the new cut");
    let frame = log.grow(2, server.persisted);
    server.append(&frame, 1).expect("the disk works");
    assert_eq!(server.disk.next_sync(server.now), None, "one is under way");
    server.disk.on_synced(server.now, storage.fdatasync(descriptor)).expect("it went well");
    assert_eq!(server.disk.take_event(), Some(DiskEvent::Durable { upto: to.position }));
    assert_eq!(server.disk.take_event(), None, "the old sync proves nothing of the new frame");
    server.sync(&mut storage).expect("the disk works");
    assert_eq!(server.persisted, frame.end());
}

#[test]
fn weak_syncs_tell_at_once_and_news_of_one_turn_are_one() {
    for fsync in [Fsync::Never, Fsync::Interval(crate::time::Duration::from_seconds(1))] {
        let (_storage, mut server, mut log) = running(fsync);
        let frames = [log.grow(1, Position(0)), log.grow(1, Position(0)), log.grow(1, Position(0))];
        for frame in &frames {
            server.disk.append(frame, 0).expect("the disk works");
        }
        assert_eq!(server.disk.take_event(), Some(DiskEvent::Persisted { upto: log.end().position, cut: 0 }));
        assert_eq!(server.disk.take_event(), None);
    }
}

#[test]
fn on_a_full_disk_frames_are_refused_and_records_are_kept() {
    let (mut storage, mut server, mut log) = running(Fsync::Always);
    grow(&mut server, &mut log, 3);
    storage.0.borrow_mut().room = Some(10);
    // some find room that was made before
    let mut written = log.end();
    while server.refused.is_none() {
        written = log.end();
        let frame = log.grow(1, server.persisted);
        server.append(&frame, 0).expect("full is not fatal");
    }
    let kept = log.frames.len() - 1;
    let frame = log.grow(1, server.persisted);
    server.append(&frame, 0).expect("full is not fatal");
    assert_eq!(server.refused, Some(written.position), "and the next is not even tried");
    storage.0.borrow_mut().room = Some(0);
    let before = server.records;
    for epoch in 2..6 {
        server.disk.persist(record(1, epoch, Doubt::None)).expect("full is not fatal");
        server.take_events();
    }
    assert_eq!(server.records, before + 4, "a full disk has room for the records");
    server.sync(&mut storage).expect("the disk works");
    assert_eq!(server.persisted, written.position, "what was written before is durable");
    storage.0.borrow_mut().room = None;
    let again: Vec<Frame> = log.frames[kept..].to_vec();
    for frame in &again {
        server.append(frame, 0).expect("there is room");
    }
    server.sync(&mut storage).expect("the disk works");
    assert_eq!(server.persisted, log.end().position);
    drop(server);
    let (_, boot) = start_on(&storage, Fsync::Always).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((boot.end, boot.record.epoch()), (log.end(), Epoch(5)));
}

#[test]
fn a_record_without_room_is_tried_again() {
    let (mut storage, mut server, log) = running(Fsync::Always);
    storage.0.borrow_mut().room = Some(0);
    let mut large = record(1, 2, Doubt::None);
    let configuration = large.configuration.as_mut().expect("one");
    configuration.members[0].contact = "x".repeat(255);
    let more = (6..9).map(|node| Member { node: NodeId(node), contact: "y".repeat(255) });
    configuration.members.extend(more);
    let before = server.records;
    server.disk.persist(large.clone()).expect("full is not fatal");
    server.disk.persist(record(1, 3, Doubt::None)).expect("full is not fatal");
    server.take_events();
    assert_eq!(server.records, before, "it is larger than the one before");
    storage.0.borrow_mut().room = None;
    server.sync(&mut storage).expect("the disk works");
    let around =
        Surroundings { writes: &server.writes, epochs_below: &|at| log.epochs_below(at), log_needed_from: None };
    server.disk.advance(server.now, &around).expect("the disk works");
    server.take_events();
    assert_eq!(server.records, before + 2, "both, in their order");
    drop(server);
    let (_, boot) = start_on(&storage, Fsync::Always).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(boot.record.epoch(), Epoch(3));
}

#[test]
fn the_log_is_read_back_from_every_frame_on() {
    let (mut storage, mut server, mut log) = running(Fsync::Always);
    grow(&mut server, &mut log, 12);
    server.sync(&mut storage).expect("the disk works");
    for (number, first) in log.frames.iter().enumerate() {
        let from = if number == 0 { Mark::default() } else { log.frames[number - 1].mark() };
        for bytes in [1, 200, 1 << 20] {
            let read = server.disk.read_log(from, bytes).expect("the disk works");
            assert_eq!(read.first(), Some(first), "at least one, {bytes} bytes");
            assert!(log.frames[number..].starts_with(&read));
        }
    }
    let beyond = server.disk.read_log(log.end(), 1 << 20).expect("the disk works");
    assert_eq!(beyond, [], "nothing is there yet");
    let within = Mark { position: Position(log.end().position.0 - 3), ..log.end() };
    assert_eq!(server.disk.read_log(within, 1 << 20).expect("the disk works"), [], "no frame begins there");
}

#[test]
fn a_keystore_lets_go_of_old_files_and_keeps_what_streams_need() {
    let (mut storage, mut server, mut log) = running(Fsync::Always);
    grow(&mut server, &mut log, 14);
    server.sync(&mut storage).expect("the disk works");
    server.commit(log.frames[11].mark()).expect("the disk works");
    let files = |storage: &Faulty| {
        let names = storage.0.borrow().names();
        names.into_iter().filter_map(|name| if let Named::Log(at) = name { Some(at) } else { None }).collect::<Vec<_>>()
    };
    let before = files(&storage);
    assert!(before.len() > 3, "{before:?}");
    // somebody is sent a snapshot that begins in the second file
    let needed = Some(Position(before[1] + 1));
    server.disk.checkpoint_log_bytes = 1;
    for _ in 0..20 {
        let epochs_below = |at| log.epochs_below(at);
        let around = Surroundings { writes: &server.writes, epochs_below: &epochs_below, log_needed_from: needed };
        server.disk.advance(server.now, &around).expect("the disk works");
        server.sync(&mut storage).expect("the disk works");
        server.disk.checkpoint_log_bytes = u64::MAX;
    }
    assert_eq!(files(&storage), before[1..], "what the stream needs stays");
    server.checkpoint(&mut storage, &log).expect("the disk works");
    let after = files(&storage);
    assert!(after.len() < before.len() - 1 && *after.last().expect("one") == *before.last().expect("one"), "{after:?}");
    assert!(storage.0.borrow_mut().contents(Named::Named(Name::KeystoreNew)).is_none());
    let gone = server.disk.read_log(Mark::default(), 1 << 20).expect("the disk works");
    assert_eq!(gone, [], "who needs that needs a snapshot");
    drop(server);
    let (mut server, boot) = start_on(&storage, Fsync::Always).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((boot.end, boot.doubt, boot.applied), (log.end(), Doubt::None, log.frames[11].mark()));
    assert_eq!(boot.history, log.epochs_below(log.end().position));
    server.commit(log.end()).expect("the disk works");
    assert_eq!(items(&server.writes), content(&log.frames));
}

#[test]
fn a_full_disk_costs_the_keystore_and_nothing_else() {
    for room in [0, 50, 150] {
        let (mut storage, mut server, mut log) = running(Fsync::Always);
        grow(&mut server, &mut log, 8);
        server.sync(&mut storage).expect("the disk works");
        server.commit(log.end()).expect("the disk works");
        storage.0.borrow_mut().room = Some(room);
        server.checkpoint(&mut storage, &log).expect("full is not fatal");
        assert!(storage.0.borrow_mut().contents(Named::Named(Name::Keystore)).is_none());
        assert!(storage.0.borrow_mut().contents(Named::Named(Name::KeystoreNew)).is_none());
        drop(server);
        let (_, boot) = start_on(&storage, Fsync::Always).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(boot.end, log.end());
    }
}

#[test]
fn a_stream_that_is_none_is_dropped_and_the_next_is_taken() {
    let mut donor = Log::default();
    (0..9).for_each(|_| drop(donor.grow(3, Position(0))));
    let whole = stream(&donor, 6, 9);
    let (mut storage, mut server, mut log) = running(Fsync::Always);
    grow(&mut server, &mut log, 5);
    let mut foreign = whole.clone();
    // of another log, with a right checksum
    foreign[16] ^= 1;
    let checksum = crc32c::crc32c(&foreign[12..72]);
    foreign[8..12].copy_from_slice(&checksum.to_le_bytes());
    let mut damaged = whole.clone();
    damaged[200] ^= 1;
    let surplus = [whole.as_slice(), b"x"].concat();
    for wrong in [foreign, damaged, surplus] {
        server.disk.begin_install(&mut server.writes).expect("the disk works");
        server.disk.install(&wrong);
        let done = server.disk.go_on_install(&mut server.writes).expect("the disk works");
        assert!(matches!(done, Installing::Failed(_)), "{done:?}");
        assert_eq!(server.disk.install_backlog(), 0);
    }
    // one that breaks off while its bytes are being synced
    server.disk.begin_install(&mut server.writes).expect("the disk works");
    server.disk.install(&whole);
    assert_eq!(server.disk.go_on_install(&mut server.writes).expect("the disk works"), Installing::Waiting);
    let descriptor = server.disk.next_keystore_sync().expect("it is whole");
    server.disk.abandon_install().expect("the disk works");
    server.disk.begin_install(&mut server.writes).expect("the disk works");
    assert_eq!(server.disk.next_keystore_sync(), None, "the old one is under way");
    server.disk.on_keystore_synced(storage.fdatasync(descriptor)).expect("it went well");
    server.install(&mut storage, &whole).expect("the disk works");
    let installed = server.installed.clone().expect("it is");
    assert_eq!((installed.start, installed.consistent), (donor.frames[5].mark(), donor.end()));
    for frame in &donor.frames[6..] {
        server.append(frame, 2).expect("the disk works");
    }
    server.commit(donor.end()).expect("the disk works");
    assert_eq!(items(&server.writes), content(&donor.frames));
}
