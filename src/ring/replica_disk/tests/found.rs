//! Directories as they may be found: damaged, with a tail that may be gone, of another cluster, of a server that stood alone.

use super::faulty::{Entry as Named, Faulty};
use super::*;
use crate::ring::replica_disk::{Name, Tail};

/// A server that was killed: 10 frames, with a keystore of the first 7 of them or without.
fn killed(fsync: Fsync, keystore: bool, configured: bool) -> (Faulty, Log) {
    let mut storage = Faulty::default();
    let (mut server, boot) = start_on(&storage, fsync).unwrap_or_else(|error| panic!("{error}"));
    let first = if configured { record(1, 1, Doubt::None) } else { NodeRecord::new(NODE) };
    server.begin(&boot, first).expect("the disk works");
    let mut log = Log::default();
    for number in 0..10 {
        let frame = log.grow(1, server.persisted);
        server.append(&frame, 0).expect("the disk works");
        server.sync(&mut storage).expect("the disk works");
        if number == 6 {
            server.commit(log.end()).expect("the disk works");
            if keystore {
                server.checkpoint(&mut storage, &log).expect("the disk works");
            }
        }
    }
    drop(server);
    // a start removes what the keystore has made superfluous
    drop(start_on(&storage, fsync).unwrap_or_else(|error| panic!("{error}")));
    (storage, log)
}

fn damage(storage: &Faulty, entry: Named, at: usize) {
    let mut disk = storage.0.borrow_mut();
    disk.contents(entry).expect("it is there")[at] ^= 1;
}

fn last_log(storage: &Faulty) -> Named {
    *storage.0.borrow().names().iter().rfind(|name| matches!(name, Named::Log(_))).expect("a log")
}

fn first_log(storage: &Faulty) -> Named {
    *storage.0.borrow().names().iter().find(|name| matches!(name, Named::Log(_))).expect("a log")
}

#[test]
fn a_damaged_log_is_cut_when_the_record_says_why_and_not_before() {
    for keystore in [false, true] {
        let (mut storage, log) = killed(Fsync::Always, keystore, true);
        // the first frame of the last file but one is wrong, and later ones say that it was durable
        let entries: Vec<_> = storage.0.borrow().names().into_iter().filter(|n| matches!(n, Named::Log(_))).collect();
        let Named::Log(at) = entries[entries.len() - 2] else { unreachable!("a log") };
        damage(&storage, Named::Log(at), 64 + 70);
        for _ in 0..2 {
            let (_, boot) = start_on(&storage, Fsync::Always).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(boot.doubt, Doubt::Corruption);
            assert_eq!(boot.end.position, Position(at.max(boot.applied.position.0)));
            assert_eq!(
                storage.0.borrow().names().into_iter().filter(|n| matches!(n, Named::Log(_))).count(),
                entries.len()
            );
        }
        let (mut server, boot) = start_on(&storage, Fsync::Always).unwrap_or_else(|error| panic!("{error}"));
        let found = record(2, 1, boot.doubt);
        server.begin(&boot, found).expect("the disk works");
        let mut log = log;
        let kept = log.upto(boot.end).len();
        log.cut(kept);
        let frame = log.grow(2, server.persisted);
        server.append(&frame, 1).expect("the disk works");
        server.sync(&mut storage).expect("the disk works");
        drop(server);
        let (mut server, boot) = start_on(&storage, Fsync::Always).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((boot.end, boot.doubt, boot.record.doubt), (log.end(), Doubt::None, Doubt::Corruption));
        server.commit(boot.end).expect("the disk works");
        assert_eq!(items(&server.writes), content(&log.frames));
    }
}

#[test]
fn a_log_that_is_damaged_below_the_keystore_is_begun_anew_behind_it() {
    let (storage, log) = killed(Fsync::Always, true, true);
    let first = first_log(&storage);
    assert!(first < Named::Log(log.frames[6].end().0), "frames of it are below the keystore's start");
    damage(&storage, first, 64 + 70);
    let (mut server, boot) = start_on(&storage, Fsync::Always).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((boot.end, boot.doubt), (log.frames[6].mark(), Doubt::Corruption));
    assert_eq!(server.disk.tail, Tail::Useless);
    server.begin(&boot, record(2, 1, boot.doubt)).expect("the disk works");
    assert_eq!(storage.0.borrow().names().into_iter().filter(|n| matches!(n, Named::Log(_))).count(), 1);
    assert_eq!(items(&server.writes), content(&log.frames[..7]));
}

#[test]
fn a_damaged_keystore_counts_as_none_and_its_log_goes_when_the_record_says_why() {
    let (storage, _) = killed(Fsync::Always, true, true);
    damage(&storage, Named::Named(Name::Keystore), 150);
    let (mut server, boot) = start_on(&storage, Fsync::Always).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((boot.end, boot.applied, boot.doubt), (Mark::default(), Mark::default(), Doubt::Corruption));
    assert!(items(&server.writes).is_empty());
    server.begin(&boot, record(2, 1, boot.doubt)).expect("the disk works");
    assert!(storage.0.borrow_mut().contents(Named::Named(Name::Keystore)).is_none());
    drop(server);
    let (_, boot) = start_on(&storage, Fsync::Always).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((boot.end, boot.doubt, boot.record.doubt), (Mark::default(), Doubt::None, Doubt::Corruption));
}

#[test]
fn every_byte_of_a_keystore_counts() {
    let (storage, _) = killed(Fsync::Always, true, true);
    let bytes = storage.0.borrow_mut().contents(Named::Named(Name::Keystore)).expect("it is there").clone();
    for at in (0..bytes.len()).step_by(7) {
        let copy = Faulty(std::rc::Rc::new(storage.0.borrow().clone().into()));
        damage(&copy, Named::Named(Name::Keystore), at);
        let (_, boot) = start_on(&copy, Fsync::Always).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((boot.doubt, boot.end), (Doubt::Corruption, Mark::default()), "byte {at}");
    }
}

#[test]
fn without_a_cluster_nobody_makes_damage_good_and_the_server_does_not_start() {
    let (storage, _) = killed(Fsync::Always, true, false);
    let error = |storage: &Faulty| start_on(storage, Fsync::Always).err().expect("it is refused");
    let copy = || Faulty(std::rc::Rc::new(storage.0.borrow().clone().into()));
    let damaged = copy();
    damage(&damaged, Named::Named(Name::Keystore), 150);
    assert!(matches!(error(&damaged), OpenError::Keystore { .. }), "{}", error(&damaged));
    let damaged = copy();
    let last = last_log(&damaged);
    let Named::Log(at) = last else { unreachable!("a log") };
    // a frame of the file before it, which the last one says to have been durable
    let before = damaged.0.borrow().names().into_iter().filter(|n| matches!(n, Named::Log(_)) && *n < last).max();
    damage(&damaged, before.expect("two files"), 64 + 70);
    let said = error(&damaged);
    assert!(matches!(said, OpenError::Corrupt { .. }) && said.exit_code() == 65, "{said}, file {at}");
    let gap = copy();
    let names: Vec<_> = gap.0.borrow().names().into_iter().filter(|n| matches!(n, Named::Log(_))).collect();
    gap.0.borrow_mut().contents(Named::Named(Name::Keystore)).expect("it is there");
    gap.clone().remove_named(Name::Keystore).expect("it is there");
    assert!(names[0] > Named::Log(0));
    let said = error(&gap);
    assert!(matches!(said, OpenError::Mixed { .. }) && said.exit_code() == 65, "{said}");
}

#[test]
fn a_log_of_a_server_that_stood_alone_is_applied_and_tells_its_id() {
    let (storage, log) = killed(Fsync::Always, false, false);
    let (server, boot) = start_on(&storage, Fsync::Always).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((boot.end, boot.applied, boot.doubt), (log.end(), log.end(), Doubt::None));
    assert_eq!(boot.log_id, server.disk.writer.log_id());
    assert!(boot.log_id != LogId(0));
    assert_eq!(items(&server.writes), content(&log.frames));
    drop(server);
    // what it was is noted: when it is in a cluster, it is still known to count
    let mut record = record(2, 2, Doubt::None);
    record.configuration.as_mut().expect("one").cluster = boot.log_id;
    let (mut server, boot) = start_on(&storage, Fsync::Always).unwrap_or_else(|error| panic!("{error}"));
    server.begin(&boot, record).expect("the disk works");
    drop(server);
    let (_, boot) = start_on(&storage, Fsync::Always).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((boot.applied, boot.log_id), (log.end(), LogId(0)));
}

#[test]
fn an_empty_log_gets_the_id_of_the_cluster_and_another_one_is_not_mixed_with_it() {
    let storage = Faulty::default();
    let (mut server, boot) = start_on(&storage, Fsync::Always).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(boot.log_id, LogId(0), "an empty log founds nothing");
    let own = server.disk.writer.log_id();
    server.begin(&boot, NodeRecord::new(NODE)).expect("the disk works");
    assert_eq!(server.disk.writer.log_id(), own);
    drop(server);
    let (mut server, boot) = start_on(&storage, Fsync::Always).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(server.disk.writer.log_id(), own, "it is kept while it is nobody's");
    server.begin(&boot, record(1, 1, Doubt::None)).expect("the disk works");
    assert_eq!(server.disk.writer.log_id(), CLUSTER);
    let frame = Log::default().grow(1, Position(0));
    server.append(&frame, 0).expect("the disk works");
    let mut other = record(1, 2, Doubt::None);
    other.configuration.as_mut().expect("one").cluster = LogId(78);
    server.disk.persist(other).expect("the disk works");
    drop(server);
    let said = start_on(&storage, Fsync::Always).err().expect("it is refused");
    assert!(matches!(said, OpenError::Mixed { .. }), "{said}");
}

#[test]
fn a_tail_is_doubted_when_the_machine_went_down_before_what_was_acked_was_synced() {
    let start_as = |storage: &Faulty, fsync, boot_id: &str| {
        let opened = Opened::over(storage.clone(), fsync, boot_id.into(), NODE).unwrap_or_else(|e| panic!("{e}"));
        start(opened).unwrap_or_else(|error| panic!("{error}"))
    };
    let (storage, _) = killed(Fsync::Never, false, true);
    assert_eq!(start_as(&storage, Fsync::Never, "boot").1.doubt, Doubt::None, "the machine ran on");
    for fsync in [Fsync::Never, Fsync::Always] {
        let (_, boot) = start_as(&storage, fsync, "another");
        assert_eq!(boot.doubt, Doubt::Tail, "before the record says so it is found again");
    }
    assert_eq!(start_as(&storage, Fsync::Never, "").1.doubt, Doubt::Tail, "who does not know doubts");
    let (mut server, boot) = start_as(&storage, Fsync::Always, "another");
    server.begin(&boot, record(2, 1, boot.doubt)).expect("the disk works");
    drop(server);
    let (_, boot) = start_as(&storage, Fsync::Never, "a third");
    assert_eq!(
        (boot.doubt, boot.record.doubt),
        (Doubt::None, Doubt::Tail),
        "always loses nothing, the record remembers"
    );
    let (mut server, boot) = start_as(&storage, Fsync::Never, "a third");
    server.begin(&boot, record(3, 1, Doubt::None)).expect("the disk works");
    server.disk.finish(boot.end).expect("the disk works");
    assert_eq!(start_as(&storage, Fsync::Never, "a fourth").1.doubt, Doubt::None, "it had stopped in order");
}

#[test]
fn a_log_that_was_taken_away_is_doubted() {
    let (storage, _) = killed(Fsync::Always, false, true);
    let names: Vec<_> = storage.0.borrow().names();
    for name in names {
        if let Named::Log(at) = name {
            crate::ring::disk::LogStorage::remove(&mut storage.clone(), Position(at)).expect("it is there");
        }
    }
    let (_, boot) = start_on(&storage, Fsync::Always).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((boot.end, boot.doubt), (Mark::default(), Doubt::Corruption));
}

#[test]
fn a_record_that_is_damaged_is_said() {
    let (storage, _) = killed(Fsync::Always, false, true);
    damage(&storage, Named::Named(Name::Record), 20);
    let said = start_on(&storage, Fsync::Always).err().expect("it is refused");
    assert!(matches!(said, OpenError::Record { .. }) && said.to_string().contains("/data/record"), "{said}");
}
