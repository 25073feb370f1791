//! Tests of a cluster server's directory: on a disk that stops at each operation, and on a real one.

mod crash;
mod directory;
mod faulty;
mod found;
mod running;

use std::collections::BTreeMap;

use self::faulty::Faulty;
use super::{DiskEvent, Installing, Opened, ReplicaDisk, ReplicaStorage, Surroundings};
use crate::cluster::{Boot, Configuration, Doubt, EpochStart, Frame, Mark, Member, NodeRecord, Snapshot};
use crate::config::Fsync;
use crate::log::{Entry, Epoch, FrameBuilder, FrameStart, Incarnation, LogId, LogIndex, NodeId, Position, Removed};
use crate::ring::disk::{Fatal, OpenError};
use crate::store::{Region, StoreConfig, Walk, create};
use crate::time::{Expiry, Time};
use crate::writes::Writes;

const CLUSTER: LogId = LogId(77);
const NODE: NodeId = NodeId(5);

/// What a store holds: of each key value and cas id.
type Items = BTreeMap<Vec<u8>, (Vec<u8>, u64)>;

fn configuration(epoch: u64) -> Configuration {
    Configuration {
        cluster: CLUSTER,
        epoch: Epoch(epoch),
        leader: NODE,
        leader_incarnation: Incarnation(1),
        members: vec![Member { node: NODE, contact: "10.0.0.1".into() }],
        min_insync: 1,
        forced: Epoch(0),
    }
}

fn record(incarnation: u64, epoch: u64, doubt: Doubt) -> NodeRecord {
    NodeRecord { node: NODE, incarnation: Incarnation(incarnation), configuration: Some(configuration(epoch)), doubt }
}

/// An empty store of the smallest size, and the write path over it.
fn empty_writes(node: NodeId, incarnation: Incarnation) -> Writes {
    let (writer, _readers) = create(StoreConfig {
        memory_bytes: 4 << 20,
        address_bytes: 16 << 20,
        evict: false,
        item_bytes_max: 1 << 20,
        hash_seed: 7,
        readers: 1,
        region: &mut Region::heap,
    })
    .expect("the heap has room");
    let mut writes = Writes::new(writer, true);
    writes.join(node, incarnation);
    writes
}

fn items(writes: &Writes) -> Items {
    let (mut items, mut walk) = (Items::new(), Walk::default());
    while writes.store().walk(&mut walk, usize::MAX, |item| {
        items.insert(item.key.to_vec(), (item.value.to_vec(), item.cas));
    }) {}
    items
}

/// What the entries of these frames come to.
fn content(frames: &[Frame]) -> Items {
    let mut items = Items::new();
    for frame in frames {
        for entry in frame.view().entries() {
            match entry.expect("whole") {
                (index, Entry::Put { key, value, .. }) => {
                    items.insert(key.to_vec(), (value.to_vec(), index.0));
                }
                (_, Entry::Delete { key, .. }) => drop(items.remove(key)),
                (_, Entry::Flush) => items.clear(),
                _ => {}
            }
        }
    }
    items
}

/// Frames without gaps, as a leader makes them.
#[derive(Clone, Default)]
struct Log {
    frames: Vec<Frame>,
}

impl Log {
    fn end(&self) -> Mark {
        self.frames.last().map_or(Mark::default(), Frame::mark)
    }

    /// Makes the next frame; what is in it depends on its number.
    fn grow(&mut self, epoch: u64, durable: Position) -> Frame {
        let (end, number) = (self.end(), self.frames.len() as u64);
        let mut builder = FrameBuilder::new();
        builder.begin(FrameStart {
            epoch: Epoch(epoch),
            first_index: LogIndex(end.index.0 + 1),
            position: end.position,
            durable_upto: durable.min(end.position),
            time: Time(number + 1),
        });
        for part in 0..1 + number % 3 {
            let (key, value) = (format!("key{}", (number * 5 + part) % 7), format!("value {epoch} {number} {part}"));
            let (key, value) = (key.as_bytes(), value.repeat(1 + number as usize % 4));
            builder.push(&match (number + part) % 6 {
                4 => Entry::Delete { key, reason: Removed::Deleted },
                _ => Entry::Put { key, value: value.as_bytes(), flags: 0, expiry: Expiry::NEVER, cas: None, bits: 0 },
            });
        }
        let frame = Frame::built(builder.take());
        self.frames.push(frame.clone());
        frame
    }

    fn cut(&mut self, frames: usize) -> Mark {
        self.frames.truncate(frames);
        self.end()
    }

    /// The frames that end at or below a place.
    fn upto(&self, mark: Mark) -> &[Frame] {
        let count = self.frames.partition_point(|frame| frame.end() <= mark.position);
        assert!(mark == self.frames[..count].last().map_or(Mark::default(), Frame::mark), "{mark:?} is in the log");
        &self.frames[..count]
    }

    fn epochs_below(&self, position: Position) -> Vec<EpochStart> {
        let mut starts: Vec<EpochStart> = Vec::new();
        for frame in self.frames.iter().filter(|frame| frame.position() < position) {
            if starts.last().is_none_or(|last| last.epoch < frame.epoch()) {
                starts.push(EpochStart::of(frame.header()));
            }
        }
        starts
    }
}

/// A server's disk and store, without its machine.
struct Server<S: ReplicaStorage> {
    disk: ReplicaDisk<S>,
    writes: Writes,
    /// What was told to be persisted.
    persisted: Position,
    installed: Option<Snapshot>,
    records: usize,
    refused: Option<Position>,
    now: Time,
}

fn start_on(storage: &Faulty, fsync: Fsync) -> Result<(Server<Faulty>, Boot), OpenError> {
    start(Opened::over(storage.clone(), fsync, "boot".into(), NODE)?)
}

fn start<S: ReplicaStorage>(opened: Opened<S>) -> Result<(Server<S>, Boot), OpenError> {
    let mut writes = empty_writes(opened.node(), opened.incarnation());
    let (mut disk, boot) = opened.start(&mut writes)?;
    disk.writer.limit_files(400);
    let persisted = boot.end.position;
    let (installed, records, refused, now) = (None, 0, None, Time(1 << 40));
    Ok((Server { disk, writes, persisted, installed, records, refused, now }, boot))
}

impl<S: ReplicaStorage> Server<S> {
    fn take_events(&mut self) {
        while let Some(event) = self.disk.take_event() {
            match event {
                DiskEvent::RecordPersisted { .. } => self.records += 1,
                DiskEvent::Persisted { upto, .. } => self.persisted = upto,
                DiskEvent::Refused { written, .. } => self.refused = Some(written),
                DiskEvent::Durable { upto } => self.writes.on_durable(upto),
                DiskEvent::Installed { snapshot } => {
                    (self.persisted, self.installed) = (snapshot.start.position, Some(snapshot));
                }
            }
        }
    }

    /// What the machine does first.
    fn begin(&mut self, boot: &Boot, record: NodeRecord) -> Result<(), Fatal> {
        self.disk.persist(record)?;
        if matches!(boot.doubt, Doubt::Tail | Doubt::Corruption) {
            self.disk.truncate(boot.end, 1)?;
        }
        self.take_events();
        Ok(())
    }

    fn append(&mut self, frame: &Frame, cut: u64) -> Result<(), Fatal> {
        self.writes.on_append(frame);
        self.disk.append(frame, cut)?;
        self.take_events();
        Ok(())
    }

    fn truncate(&mut self, to: Mark, cut: u64) -> Result<(), Fatal> {
        self.writes.truncate(to, &mut Vec::new());
        self.disk.truncate(to, cut)?;
        self.take_events();
        Ok(())
    }

    fn commit(&mut self, upto: Mark) -> Result<(), Fatal> {
        self.writes.commit(upto, &mut Vec::new()).expect("there is room");
        self.disk.committed(upto)
    }
}

impl Server<Faulty> {
    /// All syncs that are due.
    fn sync(&mut self, storage: &mut Faulty) -> Result<(), Fatal> {
        self.now = self.now.after(crate::time::Duration::from_seconds(10));
        while let Some(descriptor) = self.disk.next_sync(self.now) {
            self.disk.on_synced(self.now, storage.fdatasync(descriptor))?;
        }
        while let Some(descriptor) = self.disk.next_keystore_sync() {
            self.disk.on_keystore_synced(storage.fdatasync(descriptor))?;
        }
        self.take_events();
        Ok(())
    }

    /// Turns until the keystore that is due is there and old files are gone.
    fn checkpoint(&mut self, storage: &mut Faulty, log: &Log) -> Result<(), Fatal> {
        self.disk.checkpoint_log_bytes = 1;
        for _ in 0..30 {
            let epochs_below = |position| log.epochs_below(position);
            let around = Surroundings { writes: &self.writes, epochs_below: &epochs_below, log_needed_from: None };
            self.disk.advance(self.now, &around)?;
            self.disk.checkpoint_log_bytes = u64::MAX;
            self.sync(storage)?;
        }
        Ok(())
    }

    /// Takes a stream to its end.
    fn install(&mut self, storage: &mut Faulty, stream: &[u8]) -> Result<(), Fatal> {
        self.disk.begin_install(&mut self.writes)?;
        for bytes in stream.chunks(100) {
            self.disk.install(bytes);
            assert!(!matches!(self.disk.go_on_install(&mut self.writes)?, Installing::Failed(_)));
            self.sync(storage)?;
        }
        while self.installed.is_none() {
            assert!(!matches!(self.disk.go_on_install(&mut self.writes)?, Installing::Failed(_)));
            self.sync(storage)?;
        }
        Ok(())
    }
}

/// The stream that a leader sends which has this log: begun when `start` of its frames were applied, ended when `consistent` were.
fn stream(log: &Log, start: usize, consistent: usize) -> Vec<u8> {
    let mut writes = empty_writes(NodeId(1), Incarnation(1));
    log.frames.iter().for_each(|frame| writes.on_append(frame));
    writes.commit(log.frames[start - 1].mark(), &mut Vec::new()).expect("room");
    let mut bytes = Vec::new();
    let history = log.epochs_below(log.frames[start - 1].end());
    let mut snapshot = writes.begin_snapshot(CLUSTER, &history, &mut bytes);
    writes.commit(log.frames[consistent - 1].mark(), &mut Vec::new()).expect("room");
    while writes.go_on_snapshot(&mut snapshot, 100, &mut bytes) {}
    writes.end_snapshot(snapshot, &mut bytes);
    bytes
}
