//! The data plane of a simulated server: the keystore, the locks, and at the leader the write path that evaluates
//! commands against committed and prepared state and builds frames. It stands in for `store` and `writes`, does what the
//! cluster's effects say and nothing of its own accord, so that a rule that is switched off is not made up for here.

use std::collections::BTreeMap;

use ringstore::cluster::{Digest, Frame, Mark};
use ringstore::log::{Entry, Epoch, FrameBuilder, FrameStart, LogIndex, Origin, Position, Removed};
use ringstore::time::{Expiry, Time};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::linear::{Op, Outcome};
use crate::request::{Key, key_bytes};

/// What a key holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    pub value: Vec<u8>,
    pub cas: u64,
}

pub type Items = BTreeMap<Vec<u8>, Item>;

/// An entry that was applied just now.
#[derive(Debug)]
pub struct Applied {
    pub index: LogIndex,
    /// The value it wrote, if it wrote one.
    pub value: Option<Vec<u8>>,
}

/// What a write comes to.
#[derive(Debug, PartialEq, Eq)]
pub enum Decision {
    /// It changes something: its entry has this index, and this is its answer once that is committed.
    Change(LogIndex, Outcome),
    /// It changes nothing.
    Unchanged(Outcome),
}

/// The write path's view of the log's end, at a leader.
struct Tip {
    epoch: Epoch,
    position: Position,
    next: LogIndex,
    time: Time,
    /// Committed and prepared entries applied.
    items: Items,
    builder: FrameBuilder,
}

/// Locks of entries that were cut off: kept until everything below the cut is applied.
struct Orphans {
    below: Position,
    keys: Vec<Vec<u8>>,
}

/// See the module.
#[derive(Default)]
pub struct Data {
    /// The log in memory, by position.
    frames: BTreeMap<u64, Frame>,
    items: Items,
    applied: Mark,
    locks: BTreeMap<Vec<u8>, u32>,
    /// Frames whose keys are locked, by position.
    locked: BTreeMap<u64, Vec<Vec<u8>>>,
    orphans: Vec<Orphans>,
    tip: Option<Tip>,
}

fn keys(frame: &Frame) -> Vec<Vec<u8>> {
    let entries = frame.view().entries();
    let key = |entry: Entry<'_>| match entry {
        Entry::Put { key, .. } | Entry::Delete { key, .. } | Entry::Touch { key, .. } => Some(key.to_vec()),
        Entry::Flush | Entry::FlushAt { .. } | Entry::NoOp => None,
    };
    entries.filter_map(|entry| key(entry.expect("a whole entry").1)).collect()
}

fn apply(items: &mut Items, frame: &Frame, mut each: impl FnMut(Applied)) {
    for entry in frame.view().entries() {
        let (index, entry) = entry.expect("a whole entry");
        let mut written = None;
        match entry {
            Entry::Put { key, value, cas, .. } => {
                items.insert(key.to_vec(), Item { value: value.to_vec(), cas: cas.unwrap_or(index.0) });
                written = Some(value.to_vec());
            }
            Entry::Delete { key, .. } => drop(items.remove(key)),
            Entry::NoOp => {}
            Entry::Touch { .. } | Entry::Flush | Entry::FlushAt { .. } => unreachable!("no client asks for it"),
        }
        each(Applied { index, value: written });
    }
}

/// What a server tells a client whose write is committed.
pub fn answer(op: &Op, value: Option<&[u8]>) -> Outcome {
    match op {
        Op::Get => unreachable!("a read makes no entry"),
        Op::Set(_) | Op::Add(_) | Op::Cas { .. } | Op::Append(_) => Outcome::Stored,
        Op::Delete => Outcome::Deleted,
        Op::Incr(_) => {
            let text = std::str::from_utf8(value.expect("incr writes a value")).expect("a number");
            Outcome::Number(text.parse().expect("a number"))
        }
    }
}

impl Data {
    /// Of a log that was read back, nothing of it applied.
    pub fn recovered(frames: Vec<Frame>) -> Self {
        let frames = frames.into_iter().map(|frame| (frame.position().0, frame)).collect();
        Self { frames, ..Self::default() }
    }

    pub const fn items(&self) -> &Items {
        &self.items
    }

    pub const fn applied(&self) -> Mark {
        self.applied
    }

    /// Order-independent, over everything.
    pub fn digest(&self) -> Digest {
        let mut digest = 0u64;
        for (key, item) in &self.items {
            let hash = xxh3_64_with_seed(key, item.cas) ^ xxh3_64_with_seed(&item.value, !item.cas);
            digest = digest.wrapping_add(hash.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        }
        Digest { position: self.applied.position, digest }
    }

    /// The frame was given to the disk.
    pub fn append(&mut self, frame: Frame) {
        self.frames.insert(frame.position().0, frame);
    }

    /// Frames from `from` on, of about so many bytes; nothing when no frame begins there.
    pub fn read_log(&self, from: Position, bytes: usize) -> Vec<Frame> {
        let mut taken = 0;
        let mut frames = Vec::new();
        for (&position, frame) in self.frames.range(from.0..) {
            if (frames.is_empty() && position != from.0) || taken > bytes {
                break;
            }
            taken += frame.bytes().len();
            frames.push(frame.clone());
        }
        frames
    }

    /// Frames that end at or below `upto` and are not applied.
    pub fn unapplied(&self, upto: Position) -> impl Iterator<Item = &Frame> {
        self.frames.range(self.applied.position.0..).map(|(_, frame)| frame).take_while(move |f| f.end() <= upto)
    }

    /// Reads of the frame's keys wait.
    pub fn lock(&mut self, frame: &Frame) {
        let keys = keys(frame);
        for key in &keys {
            *self.locks.entry(key.clone()).or_default() += 1;
        }
        if let Some(before) = self.locked.insert(frame.position().0, keys) {
            self.unlock(&before);
        }
    }

    pub fn is_locked(&self, key: &[u8]) -> bool {
        self.locks.contains_key(key)
    }

    fn unlock(&mut self, keys: &[Vec<u8>]) {
        for key in keys {
            let count = self.locks.get_mut(key).expect("it was locked");
            *count -= 1;
            if *count == 0 {
                self.locks.remove(key);
            }
        }
    }

    /// The log ends with `to`.
    pub fn truncate(&mut self, to: Mark) {
        self.frames.split_off(&to.position.0);
        let cut = self.locked.split_off(&to.position.0);
        let keys: Vec<_> = cut.into_values().flatten().collect();
        if to.position <= self.applied.position {
            self.unlock(&keys);
        } else {
            self.orphans.push(Orphans { below: to.position, keys });
        }
        self.tip = None;
    }

    /// Applies everything up to `upto`.
    pub fn commit(&mut self, upto: Mark, mut each: impl FnMut(Applied)) {
        let due: Vec<Frame> = self.unapplied(upto.position).cloned().collect();
        assert!(due.last().is_some_and(|last| last.end() == upto.position), "a commit ends with a frame of the log");
        for frame in due {
            apply(&mut self.items, &frame, &mut each);
            if let Some(keys) = self.locked.remove(&frame.position().0) {
                self.unlock(&keys);
            }
        }
        self.applied = upto;
        let (done, left) = std::mem::take(&mut self.orphans).into_iter().partition(|o| o.below <= upto.position);
        self.orphans = left;
        let done: Vec<Orphans> = done;
        for orphans in done {
            self.unlock(&orphans.keys);
        }
    }

    /// The write path goes on from here.
    pub fn lead(&mut self, epoch: Epoch, end: Mark, time: Time) {
        let mut items = self.items.clone();
        for frame in self.unapplied(end.position) {
            apply(&mut items, frame, |_| ());
        }
        let (position, next) = (end.position, LogIndex(end.index.0 + 1));
        self.tip = Some(Tip { epoch, position, next, time, items, builder: FrameBuilder::new() });
    }

    pub fn step_down(&mut self) {
        self.tip = None;
    }

    pub const fn leads(&self) -> bool {
        self.tip.is_some()
    }

    /// The index of the newest entry that the write path made or found.
    pub fn newest(&self) -> Option<LogIndex> {
        self.tip.as_ref().map(|tip| LogIndex(tip.next.0 - 1))
    }

    /// Evaluates a write; if it changes something, its entry joins the turn's frame.
    pub fn write(&mut self, now: Time, durable: Position, origin: Option<Origin>, key: Key, op: &Op) -> Decision {
        let tip = self.tip.as_mut().expect("only a leader's write path is asked");
        let key = key_bytes(key);
        let held = tip.items.get(&key);
        let value = match (op, held) {
            (Op::Get, _) => unreachable!("a read is no write"),
            (Op::Set(value), _) | (Op::Add(value), None) => Some(value.clone()),
            (Op::Add(_), Some(_)) | (Op::Append(_), None) => return Decision::Unchanged(Outcome::NotStored),
            (Op::Cas { .. } | Op::Incr(_) | Op::Delete, None) => return Decision::Unchanged(Outcome::NotFound),
            (Op::Cas { id, value }, Some(item)) if item.cas == *id => Some(value.clone()),
            (Op::Cas { .. }, Some(_)) => return Decision::Unchanged(Outcome::Exists),
            (Op::Append(tail), Some(item)) => Some([item.value.as_slice(), tail].concat()),
            (Op::Delete, Some(_)) => None,
            (Op::Incr(delta), Some(item)) => match ringstore::proto::parse_counter(&item.value) {
                None => return Decision::Unchanged(Outcome::NonNumeric),
                Some(old) => Some(old.wrapping_add(*delta).to_string().into_bytes()),
            },
        };
        let index = tip.push(now, durable, origin, &key, value.as_deref());
        Decision::Change(index, answer(op, value.as_deref()))
    }

    /// The turn's frame, if it has entries.
    pub fn finish_turn(&mut self) -> Option<Vec<u8>> {
        let tip = self.tip.as_mut().filter(|tip| !tip.builder.is_empty())?;
        let bytes = tip.builder.take();
        tip.position.0 += bytes.len() as u64;
        Some(bytes)
    }
}

impl Tip {
    fn push(
        &mut self,
        now: Time,
        durable: Position,
        origin: Option<Origin>,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> LogIndex {
        if self.builder.is_empty() {
            self.time = self.time.max(now);
            let (epoch, first_index, position) = (self.epoch, self.next, self.position);
            self.builder.begin(FrameStart { epoch, first_index, position, durable_upto: durable, time: self.time });
        }
        let entry = match value {
            Some(value) => Entry::Put { key, value, flags: 0, expiry: Expiry::NEVER, cas: None, bits: 0 },
            None => Entry::Delete { key, reason: Removed::Deleted },
        };
        let index = match origin {
            Some(origin) => self.builder.push_from(&origin, &entry),
            None => self.builder.push(&entry),
        };
        match value {
            Some(value) => drop(self.items.insert(key.to_vec(), Item { value: value.to_vec(), cas: index.0 })),
            None => drop(self.items.remove(key)),
        }
        self.next = LogIndex(index.0 + 1);
        index
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time(1_700_000_000_000_000_000);

    fn leader() -> Data {
        let mut data = Data::default();
        data.lead(Epoch(1), Mark::default(), NOW);
        data
    }

    fn write(data: &mut Data, op: &Op) -> Decision {
        data.write(NOW, Position(0), None, 0, op)
    }

    /// Ends the turn as a disk and the cluster would.
    fn append(data: &mut Data) -> Frame {
        let frame = Frame::built(data.finish_turn().expect("entries"));
        data.append(frame.clone());
        frame
    }

    #[test]
    fn writes_are_evaluated_against_what_is_prepared() {
        let mut data = leader();
        assert_eq!(write(&mut data, &Op::Incr(1)), Decision::Unchanged(Outcome::NotFound));
        assert_eq!(write(&mut data, &Op::Set(b"5".to_vec())), Decision::Change(LogIndex(1), Outcome::Stored));
        assert_eq!(write(&mut data, &Op::Add(b"6".to_vec())), Decision::Unchanged(Outcome::NotStored));
        let stale = Op::Cas { id: 9, value: Vec::new() };
        assert_eq!(write(&mut data, &stale), Decision::Unchanged(Outcome::Exists));
        append(&mut data);
        assert_eq!(write(&mut data, &Op::Incr(2)), Decision::Change(LogIndex(2), Outcome::Number(7)));
        assert_eq!(data.newest(), Some(LogIndex(2)));
        assert!(data.items().is_empty(), "nothing is committed");
        let frame = append(&mut data);
        data.commit(frame.mark(), |_| ());
        assert_eq!(data.items()[&key_bytes(0)], Item { value: b"7".to_vec(), cas: 2 });
        assert_eq!(write(&mut data, &Op::Delete), Decision::Change(LogIndex(3), Outcome::Deleted));
        assert_eq!(write(&mut data, &Op::Append(b"x".to_vec())), Decision::Unchanged(Outcome::NotStored));
    }

    #[test]
    fn a_key_is_locked_until_its_entry_is_committed() {
        let mut data = leader();
        write(&mut data, &Op::Set(b"1".to_vec()));
        let first = append(&mut data);
        write(&mut data, &Op::Set(b"2".to_vec()));
        let second = append(&mut data);
        data.lock(&first);
        data.lock(&second);
        data.lock(&second);
        data.commit(first.mark(), |_| ());
        assert!(data.is_locked(&key_bytes(0)));
        data.commit(second.mark(), |_| ());
        assert!(!data.is_locked(&key_bytes(0)));
    }

    #[test]
    fn the_lock_of_a_cut_entry_stays_until_what_is_below_is_applied() {
        let mut data = leader();
        write(&mut data, &Op::Set(b"1".to_vec()));
        let first = append(&mut data);
        write(&mut data, &Op::Set(b"2".to_vec()));
        let second = append(&mut data);
        data.lock(&first);
        data.lock(&second);
        data.truncate(first.mark());
        assert!(data.is_locked(&key_bytes(0)) && !data.leads());
        data.commit(first.mark(), |_| ());
        assert!(!data.is_locked(&key_bytes(0)));
        assert_eq!(data.items()[&key_bytes(0)].value, b"1");
    }

    #[test]
    fn two_servers_with_the_same_entries_have_the_same_digest() {
        let mut one = leader();
        write(&mut one, &Op::Set(b"1".to_vec()));
        one.write(NOW, Position(0), None, 1, &Op::Set(b"2".to_vec()));
        let frame = append(&mut one);
        let mut other = Data::recovered(vec![frame.clone()]);
        one.commit(frame.mark(), |_| ());
        assert_ne!(one.digest(), other.digest());
        other.commit(frame.mark(), |_| ());
        assert_eq!(one.digest(), other.digest());
    }

    #[test]
    fn the_log_is_read_from_where_a_frame_begins() {
        let mut data = leader();
        write(&mut data, &Op::Set(b"1".to_vec()));
        let first = append(&mut data);
        write(&mut data, &Op::Set(b"2".to_vec()));
        append(&mut data);
        assert_eq!(data.read_log(Position(0), 1 << 20).len(), 2);
        assert_eq!(data.read_log(Position(0), 1).len(), 1);
        assert_eq!(data.read_log(first.end(), 1 << 20).len(), 1);
        assert!(data.read_log(Position(1), 1 << 20).is_empty());
    }

    #[test]
    fn the_answer_to_a_committed_write_follows_from_its_entry() {
        assert_eq!(answer(&Op::Incr(1), Some(b"12")), Outcome::Number(12));
        assert_eq!(answer(&Op::Delete, None), Outcome::Deleted);
        assert_eq!(answer(&Op::Append(Vec::new()), Some(b"12")), Outcome::Stored);
    }
}
