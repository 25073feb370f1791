//! What every server's store must hold: the committed log applied to a map, by the naive reading of FORMAT.md. The simulated
//! servers run on the real store and write path; this is what they are compared with, at every commit by digest and at the end
//! of a run item by item.

use std::collections::BTreeMap;

use ringstore::cluster::Frame;
use ringstore::log::{Entry, LogIndex};
use ringstore::store::{self, ItemBits};
use ringstore::time::{Expiry, Seconds};

/// What a key holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    pub value: Vec<u8>,
    pub flags: u32,
    pub expiry: Expiry,
    pub cas: u64,
    pub bits: u8,
}

pub type Items = BTreeMap<Vec<u8>, Item>;

impl Item {
    /// Of the store.
    pub fn of(item: &store::Item<'_>) -> Self {
        let (flags, expiry, cas, bits) = (item.flags, item.expiry, item.cas, item.bits.0);
        Self { value: item.value.to_vec(), flags, expiry, cas, bits }
    }

    fn digest(&self, key: &[u8]) -> u64 {
        let Self { value, flags, expiry, cas, bits } = self;
        let (flags, expiry, cas, bits) = (*flags, *expiry, *cas, ItemBits(*bits));
        store::item_digest(&store::Item { key, value, flags, expiry, cas, bits })
    }
}

/// The committed log, applied.
#[derive(Debug, Default)]
pub struct Oracle {
    items: Items,
    flush_at: Option<Seconds>,
}

impl Oracle {
    /// What is there.
    pub const fn items(&self) -> &Items {
        &self.items
    }

    /// The next frame of the log.
    pub fn apply(&mut self, frame: &Frame) {
        for entry in frame.view().entries() {
            let (index, entry) = entry.expect("a whole entry");
            self.apply_entry(index, &entry);
        }
    }

    fn apply_entry(&mut self, index: LogIndex, entry: &Entry<'_>) {
        match *entry {
            Entry::Put { key, value, flags, expiry, cas, bits } => {
                let (value, cas) = (value.to_vec(), cas.unwrap_or(index.0));
                self.items.insert(key.to_vec(), Item { value, flags, expiry, cas, bits });
            }
            Entry::Delete { key, .. } => drop(self.items.remove(key)),
            Entry::Touch { key, expiry } => {
                if let Some(item) = self.items.get_mut(key) {
                    item.expiry = expiry;
                }
            }
            Entry::Flush => {
                self.items.clear();
                self.flush_at = None;
            }
            Entry::FlushAt { time } => self.flush_at = Some(time),
            Entry::NoOp => {}
        }
    }

    /// The digest of everything, from every item anew.
    pub fn digest(&self) -> u64 {
        self.items.iter().fold(0, |digest, (key, item)| item.digest(key).wrapping_add(digest))
    }
}

#[cfg(test)]
mod tests {
    use ringstore::log::{Epoch, FrameBuilder, FrameStart, Position, Removed};
    use ringstore::time::Time;

    use super::*;

    #[test]
    fn entries_do_what_they_say() {
        let mut builder = FrameBuilder::new();
        builder.begin(FrameStart {
            epoch: Epoch(1),
            first_index: LogIndex(1),
            position: Position(0),
            durable_upto: Position(0),
            time: Time(1),
        });
        let put = |key, value, cas| Entry::Put { key, value, flags: 7, expiry: Expiry::NEVER, cas, bits: 0 };
        builder.push(&put(b"a", b"old", None));
        builder.push(&Entry::Flush);
        builder.push(&put(b"a", b"1", None));
        builder.push(&put(b"b", b"2", Some(1)));
        builder.push(&put(b"c", b"3", None));
        builder.push(&Entry::Touch { key: b"b", expiry: Expiry::from_raw(9) });
        builder.push(&Entry::Touch { key: b"nobody", expiry: Expiry::from_raw(9) });
        builder.push(&Entry::Delete { key: b"c", reason: Removed::Deleted });
        builder.push(&Entry::NoOp);
        let mut oracle = Oracle::default();
        let empty = oracle.digest();
        oracle.apply(&Frame::built(builder.take()));
        let item = |value: &[u8], expiry, cas| Item { value: value.to_vec(), flags: 7, expiry, cas, bits: 0 };
        let expected =
            [(b"a".to_vec(), item(b"1", Expiry::NEVER, 3)), (b"b".to_vec(), item(b"2", Expiry::from_raw(9), 1))];
        assert_eq!(oracle.items(), &Items::from(expected));
        assert_ne!(oracle.digest(), empty);
    }
}
