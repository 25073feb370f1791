//! What the cluster owes its clients: for each key which versions were acknowledged, refused, or are of unknown outcome, and
//! from that whether what a server shows is right. Pure: knows no connection and no clock.
//!
//! A key has one writer and at most one set under way, so its versions have an order. When the outcome of a set is unknown it
//! may take effect at any later time, so its key is never written again; a new key takes its place.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};

/// Wrong answers that are told in full.
const TOLD_MAX: usize = 10;

/// A key, by number.
pub type KeyId = usize;

/// What is known of one key.
#[derive(Clone, Debug, Default)]
struct Entry {
    /// The newest version that was acknowledged; 0 before the first.
    acked: u64,
    /// The newest version that a server has shown: what was seen once must not be gone later.
    seen: u64,
    /// The newest version that was sent.
    issued: u64,
    /// Versions that were refused, of which none may be seen.
    refused: Vec<u64>,
    /// A set of unknown outcome, if there was one.
    unknown: Option<u64>,
}

/// A set to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Write {
    /// Which key.
    pub key: KeyId,
    /// Which version of its value.
    pub version: u64,
}

/// Why what a server showed is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// Nothing, though a set was acknowledged.
    Lost,
    /// A value older than one that was acknowledged, or seen, before it was asked for.
    Stale,
    /// A value that was refused, that nobody sent, or that belongs to another key.
    Foreign,
}

/// All that was asked back so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdicts {
    /// Values, or their absence, that were looked at.
    pub reads: u64,
    /// Of these, acknowledged sets that were not there.
    pub lost: u64,
    /// Of these, values older than acknowledged ones.
    pub stale: u64,
    /// Of these, values that must not be there.
    pub foreign: u64,
}

/// All keys.
pub struct Ledger {
    prefix: String,
    value_bytes: usize,
    entries: Vec<Entry>,
    /// Keys without a set under way, the one that was written least lately first.
    free: VecDeque<KeyId>,
    /// Sets acknowledged, of all keys.
    pub acked: u64,
    /// What was read so far.
    pub verdicts: Verdicts,
    /// Some of what was wrong, in words.
    pub told: Vec<String>,
    /// Where the next read looks.
    next_read: KeyId,
}

impl Ledger {
    /// So many keys of which nothing was sent yet. `prefix` tells the keys of this run from those of earlier ones.
    pub fn new(prefix: String, keys: usize, value_bytes: usize) -> Self {
        Self {
            prefix,
            value_bytes,
            entries: vec![Entry::default(); keys],
            free: (0..keys).collect(),
            acked: 0,
            verdicts: Verdicts::default(),
            told: Vec::new(),
            next_read: 0,
        }
    }

    /// How many keys there are by now.
    pub fn keys(&self) -> usize {
        self.entries.len()
    }

    /// The next set; of a new key when all others have one under way.
    pub fn write(&mut self) -> Write {
        let key = self.free.pop_front().unwrap_or_else(|| {
            self.entries.push(Entry::default());
            self.entries.len() - 1
        });
        let entry = &mut self.entries[key];
        entry.issued += 1;
        Write { key, version: entry.issued }
    }

    /// The key of the next read. Keys are walked through, in steps that lead everywhere.
    pub fn read(&mut self) -> KeyId {
        /// Prime: it leads to every key unless their number is a multiple of it.
        const STEP: usize = 7_919;
        self.next_read = (self.next_read + STEP) % self.entries.len();
        self.next_read
    }

    /// The version that a read that is sent now must show at least.
    pub fn floor(&self, key: KeyId) -> u64 {
        self.entries[key].acked.max(self.entries[key].seen)
    }

    /// It was acknowledged.
    pub fn acked(&mut self, write: Write) {
        self.entries[write.key].acked = write.version;
        self.acked += 1;
        self.free.push_back(write.key);
    }

    /// It was refused: the server has promised not to have done it.
    pub fn refused(&mut self, write: Write) {
        self.entries[write.key].refused.push(write.version);
        self.free.push_back(write.key);
    }

    /// Nobody knows whether it was done, or will be.
    pub fn unknown(&mut self, write: Write) {
        self.entries[write.key].unknown = Some(write.version);
        self.entries.push(Entry::default());
        self.free.push_back(self.entries.len() - 1);
    }

    /// The key's name.
    pub fn name(&self, key: KeyId) -> String {
        format!("{}:{key}", self.prefix)
    }

    /// The value of this version: key and version in clear, and a filling that no other version of any key has.
    pub fn value(&self, write: Write) -> Vec<u8> {
        let mut text = format!("{} {} ", self.name(write.key), write.version);
        let mut state = (write.key as u64) << 32 ^ write.version;
        while text.len() < self.value_bytes {
            state = split_mix(state);
            write!(text, "{state:016x}").expect("a string takes what it is given");
        }
        text.truncate(self.value_bytes.max(self.least_bytes(write)));
        text.into_bytes()
    }

    fn least_bytes(&self, write: Write) -> usize {
        format!("{} {} ", self.name(write.key), write.version).len()
    }

    /// Judges what a server showed for a key: its value, or nothing. `floor` is what [`Self::floor`] was when the read was
    /// sent, `whom` the server, for the words.
    pub fn judge(
        &mut self,
        key: KeyId,
        floor: u64,
        value: Option<&[u8]>,
        whom: &dyn fmt::Display,
    ) -> Result<(), Wrong> {
        self.verdicts.reads += 1;
        let shown = match value {
            None => Ok(0),
            Some(value) => self.version_of(key, value).ok_or(Wrong::Foreign),
        };
        let judged = shown.and_then(|version| self.judge_version(key, floor, version));
        if let Err(wrong) = judged {
            match wrong {
                Wrong::Lost => self.verdicts.lost += 1,
                Wrong::Stale => self.verdicts.stale += 1,
                Wrong::Foreign => self.verdicts.foreign += 1,
            }
            if self.told.len() < TOLD_MAX {
                let shown =
                    value.map_or("nothing".into(), |value| value[..value.len().min(60)].escape_ascii().to_string());
                let name = self.name(key);
                self.told.push(format!("{whom} shows {shown} for {name}, version {floor} or newer was due: {wrong}"));
            }
        }
        judged
    }

    fn judge_version(&mut self, key: KeyId, floor: u64, version: u64) -> Result<(), Wrong> {
        let entry = &mut self.entries[key];
        if version < floor {
            return Err(if version == 0 { Wrong::Lost } else { Wrong::Stale });
        }
        if version > entry.issued || entry.refused.contains(&version) {
            return Err(Wrong::Foreign);
        }
        entry.seen = entry.seen.max(version);
        Ok(())
    }

    /// The version that this is a value of, if it is one of this key to the last byte.
    fn version_of(&self, key: KeyId, value: &[u8]) -> Option<u64> {
        let text = std::str::from_utf8(value).ok()?;
        let version = text.split(' ').nth(1)?.parse().ok().filter(|version| *version > 0)?;
        (self.value(Write { key, version }) == value).then_some(version)
    }

    /// Keys whose newest set is of unknown outcome.
    pub fn unknown_keys(&self) -> usize {
        self.entries.iter().filter(|entry| entry.unknown.is_some()).count()
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lost => "an acknowledged set is lost",
            Self::Stale => "it is stale",
            Self::Foreign => "it must not be there",
        })
    }
}

/// The next number of Steele, Lea and Flood's `SplitMix64`.
fn split_mix(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger() -> Ledger {
        Ledger::new("t".to_owned(), 2, 60)
    }

    /// What a server that holds `version` of the key shows is judged so.
    fn show(ledger: &mut Ledger, key: KeyId, floor: u64, version: u64) -> Result<(), Wrong> {
        let value = (version > 0).then(|| ledger.value(Write { key, version }));
        ledger.judge(key, floor, value.as_deref(), &"a server")
    }

    #[test]
    fn what_was_acknowledged_must_be_there_and_not_older() {
        let mut ledger = ledger();
        let (first, _) = (ledger.write(), ledger.write());
        assert_eq!(show(&mut ledger, 0, 0, 0), Ok(()), "it is under way");
        assert_eq!(show(&mut ledger, 0, 0, 1), Ok(()), "it may be there before its answer is");
        ledger.acked(first);
        let second = ledger.write();
        ledger.acked(second);
        assert_eq!((second.key, second.version, ledger.floor(0)), (0, 2, 2));
        assert_eq!(show(&mut ledger, 0, 2, 2), Ok(()));
        assert_eq!(show(&mut ledger, 0, 2, 1), Err(Wrong::Stale));
        assert_eq!(show(&mut ledger, 0, 1, 1), Ok(()), "asked for before the second was acknowledged");
        assert_eq!(show(&mut ledger, 0, 2, 0), Err(Wrong::Lost));
        assert_eq!(show(&mut ledger, 0, 2, 3), Err(Wrong::Foreign), "nobody sent it");
        let verdicts = ledger.verdicts;
        assert_eq!((verdicts.reads, verdicts.lost, verdicts.stale, verdicts.foreign), (7, 1, 1, 1));
        assert!(ledger.told.len() == 3);
    }

    #[test]
    fn an_unknown_set_may_or_may_not_be_there_but_not_come_and_go() {
        let mut ledger = ledger();
        let first = ledger.write();
        ledger.acked(first);
        ledger.write();
        let second = ledger.write();
        assert_eq!(second, Write { key: 0, version: 2 });
        ledger.unknown(second);
        assert_eq!(show(&mut ledger, 0, 1, 1), Ok(()));
        assert_eq!(show(&mut ledger, 0, 1, 2), Ok(()));
        assert_eq!(ledger.floor(0), 2, "it was seen");
        assert_eq!(show(&mut ledger, 0, 2, 1), Err(Wrong::Stale));
        assert_eq!((ledger.keys(), ledger.unknown_keys()), (3, 1), "another key takes its place");
        assert_eq!(ledger.write().key, 2, "its key is not written again");
    }

    #[test]
    fn a_refused_set_must_not_be_there() {
        let mut ledger = ledger();
        let write = ledger.write();
        ledger.refused(write);
        assert_eq!(show(&mut ledger, 0, 0, 1), Err(Wrong::Foreign));
        assert_eq!(show(&mut ledger, 0, 0, 0), Ok(()));
    }

    #[test]
    fn a_value_is_known_to_its_last_byte() {
        let mut ledger = ledger();
        let write = ledger.write();
        ledger.acked(write);
        let mut value = ledger.value(write);
        assert_eq!(value.len(), 60);
        value[59] ^= 1;
        assert_eq!(ledger.judge(0, 1, Some(&value), &"a server"), Err(Wrong::Foreign));
        let other = ledger.value(Write { key: 1, version: 1 });
        assert_eq!(ledger.judge(0, 1, Some(&other), &"a server"), Err(Wrong::Foreign));
    }

    #[test]
    fn reads_come_to_every_key() {
        let mut ledger = Ledger::new("t".to_owned(), 100, 60);
        let mut read = (0..100).map(|_| ledger.read()).collect::<Vec<_>>();
        read.sort_unstable();
        assert_eq!(read, (0..100).collect::<Vec<_>>());
    }
}
