//! A server's life, ended at each operation of its disk: by a kill, and by power failures that keep of what was not synced what they
//! like. Whatever is found then is something that the server had, with all of it that it had told to be durable.

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::super::Opened;
use super::faulty::Faulty;
use super::{
    Boot, Doubt, Fatal, Frame, Fsync, Log, Mark, NODE, NodeRecord, OpenError, Position, Server, content, items, record,
    start, start_on, stream,
};

/// What was told, and what the log was at one time or another.
struct Told {
    fsync: Fsync,
    record: Option<NodeRecord>,
    under_way: Option<NodeRecord>,
    persisted: Position,
    /// Everything that was here counts no more.
    replaced: bool,
    /// It is to stop in order: everything is synced before it says so.
    stops: bool,
    logs: Vec<Log>,
}

impl Told {
    fn persist(&mut self, server: &mut Server<Faulty>, record: NodeRecord) -> Result<(), Fatal> {
        self.under_way = Some(record.clone());
        server.disk.persist(record)?;
        server.take_events();
        self.record = self.under_way.take();
        Ok(())
    }

    fn log(&mut self) -> &mut Log {
        self.logs.last_mut().expect("there is one")
    }

    fn append(&mut self, server: &mut Server<Faulty>, epoch: u64, cut: u64) -> Result<Frame, Fatal> {
        let durable = server.disk.writer.synced();
        let frame = self.log().grow(epoch, durable);
        server.append(&frame, cut)?;
        self.persisted = server.persisted;
        Ok(frame)
    }

    fn sync(&mut self, server: &mut Server<Faulty>, storage: &mut Faulty) -> Result<(), Fatal> {
        let done = server.sync(storage);
        server.take_events();
        self.persisted = server.persisted;
        done
    }
}

/// First start, writes, a cut, keystores; with `snapshot` also one that the leader sends.
fn life(storage: &mut Faulty, told: &mut Told, snapshot: Option<&Log>) -> Result<(), Fatal> {
    let (mut server, boot) = match start_on(storage, told.fsync) {
        Ok(started) => started,
        Err(OpenError::Io { doing, path, error }) => return Err(Fatal { doing, path, error }),
        Err(other) => panic!("{other}"),
    };
    assert_eq!((boot.end, boot.doubt), (Mark::default(), Doubt::None));
    told.persist(&mut server, record(1, 1, Doubt::None))?;
    for _ in 0..8 {
        told.append(&mut server, 1, 0)?;
        if told.log().frames.len().is_multiple_of(2) {
            told.sync(&mut server, storage)?;
        }
    }
    let committed = told.log().frames[3].mark();
    server.commit(committed)?;
    told.persist(&mut server, record(1, 2, Doubt::None))?;
    let mut cut = told.log().clone();
    let to = cut.cut(5);
    told.persisted = told.persisted.min(to.position);
    told.logs.push(cut);
    server.truncate(to, 1)?;
    told.persisted = server.persisted;
    for _ in 0..4 {
        told.append(&mut server, 2, 1)?;
    }
    told.sync(&mut server, storage)?;
    let all = told.log().end();
    server.commit(all)?;
    server.checkpoint(storage, &told.log().clone())?;
    for _ in 0..4 {
        told.append(&mut server, 2, 1)?;
        told.sync(&mut server, storage)?;
    }
    let some = told.log().frames[10].mark();
    server.commit(some)?;
    server.checkpoint(storage, &told.log().clone())?;
    if let Some(donor) = snapshot {
        told.persist(&mut server, record(1, 3, Doubt::Data))?;
        told.logs.push(donor.clone());
        (told.replaced, told.persisted) = (true, Position(0));
        server.install(storage, &stream(donor, 9, 11))?;
        told.log().cut(9);
        told.persisted = server.persisted;
        for _ in 0..3 {
            let frame = donor.frames[told.log().frames.len()].clone();
            told.log().frames.push(frame.clone());
            server.append(&frame, 2)?;
            told.sync(&mut server, storage)?;
        }
    }
    told.stops = true;
    server.disk.finish(Mark::default())
}

fn donor() -> Log {
    let mut log = Log::default();
    for epoch in [1, 1, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5] {
        log.grow(epoch, Position(u64::MAX));
    }
    log
}

/// What is found after the end, by a server that goes on.
fn check(mut storage: Faulty, told: &Told, power_failed: bool) {
    let boot_id = if power_failed { "another boot" } else { "boot" };
    let opened = Opened::over(storage.clone(), told.fsync, boot_id.into(), NODE).unwrap_or_else(|e| panic!("{e}"));
    let (mut server, boot) = start(opened).unwrap_or_else(|error| panic!("{error}"));
    let weak = told.fsync != Fsync::Always;
    check_standing(&boot, told, power_failed && weak);
    let log = told.logs.iter().rev().find(|log| log.frames.iter().any(|frame| frame.mark() == boot.end));
    let mut log = log.cloned().unwrap_or_default();
    let kept = log.upto(boot.end).len();
    log.frames.truncate(kept);
    let next = NodeRecord {
        incarnation: server_incarnation(&boot),
        doubt: boot.doubt.max(boot.record.doubt),
        ..record(2, 9, Doubt::None)
    };
    server.begin(&boot, next).expect("the disk works");
    if boot.consistent.position <= boot.end.position {
        server.commit(boot.end).expect("the disk works");
        assert_eq!(items(&server.writes), content(&log.frames), "at {:?}", boot.end);
    }
    let frame = log.grow(9, server.persisted);
    server.append(&frame, 1).expect("the disk works");
    server.sync(&mut storage).expect("the disk works");
    assert_eq!(server.persisted, frame.end());
    drop(server);
    let (server, boot) = start_on(&storage, told.fsync).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(boot.end, frame.mark(), "what was written after the end is there");
    assert_eq!(boot.history, log.epochs_below(frame.end()));
    assert!(server.writes.applied().position <= boot.end.position);
}

fn server_incarnation(boot: &Boot) -> crate::log::Incarnation {
    crate::log::Incarnation(boot.record.incarnation.0 + 1)
}

fn check_standing(boot: &Boot, told: &Told, tail_may_be_lost: bool) {
    let records = [told.record.as_ref(), told.under_way.as_ref()];
    assert!(
        records.contains(&Some(&boot.record)) || (told.record.is_none() && boot.record == NodeRecord::new(NODE)),
        "{:?} is not the record",
        boot.record
    );
    if tail_may_be_lost {
        let said =
            told.record.is_none() || boot.doubt >= Doubt::Tail || (told.stops && boot.end.position >= told.persisted);
        assert!(said, "what was acked may be gone");
    } else {
        assert!(boot.end.position >= told.persisted, "{:?} was persisted, not {:?}", told.persisted, boot.end);
        let doubted = boot.record.doubt == Doubt::Data;
        assert!(boot.doubt == Doubt::None || doubted, "nothing is wrong, and yet {:?}", boot.doubt);
    }
    let was = |log: &Log| log.frames.iter().any(|frame| frame.mark() == boot.end);
    assert!(boot.end == Mark::default() || told.logs.iter().any(was), "no log ever ended at {:?}", boot.end);
}

fn end_at_each_operation(fsync: Fsync, snapshot: Option<&Log>) {
    for stop_after in 0.. {
        let mut storage = Faulty::default();
        storage.0.borrow_mut().stop_after = Some(stop_after);
        let mut told = Told {
            fsync,
            record: None,
            under_way: None,
            persisted: Position(0),
            replaced: false,
            stops: false,
            logs: vec![Log::default()],
        };
        let whole = life(&mut storage, &mut told, snapshot).is_ok();
        for power in 0..3 {
            println!("{fsync:?}, ended at operation {stop_after}, power failure {power}");
            let storage = Faulty(std::rc::Rc::new(storage.0.borrow().clone().into()));
            if power > 0 && !whole {
                storage.0.borrow_mut().crash(&mut StdRng::seed_from_u64(stop_after as u64 * 100 + power));
            }
            storage.0.borrow_mut().restart();
            check(storage, &told, power > 0 && !whole);
        }
        if whole {
            assert!(stop_after > 80, "a life has many operations");
            return;
        }
    }
}

#[test]
fn a_life_that_ends_anywhere_goes_on() {
    end_at_each_operation(Fsync::Always, None);
}

#[test]
fn a_life_without_syncs_that_ends_anywhere_goes_on() {
    end_at_each_operation(Fsync::Never, None);
}

#[test]
fn a_snapshot_that_ends_anywhere_leaves_nothing_or_all_of_it() {
    end_at_each_operation(Fsync::Always, Some(&donor()));
}
