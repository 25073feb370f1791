//! Up to where the log is known to be committed, as a hint for the next start: what is below is applied while it is read, the rest
//! is kept until the cluster says what became of it. It is written now and then and never synced: an old one costs memory at the next
//! start and nothing else.

use std::io;

use super::named::{open_error, overwrite, read_small};
use super::storage::{Name, ReplicaStorage};
use crate::cluster::Mark;
use crate::config;
use crate::log::{Epoch, LogIndex, Position};
use crate::ring::disk::OpenError;
use crate::ring::disk::writer::is_full;

/// The first eight bytes of the file.
pub const MAGIC: [u8; 8] = *b"ringcomm";
/// Bytes of the file: magic, checksum 4 of what follows it, version 2, two of nothing, epoch, index and position 8 each.
const BYTES: usize = 40;

/// What the file says.
#[derive(Default)]
pub struct Committed {
    told: Mark,
}

/// What the file says, if it is whole.
///
/// # Errors
/// When it cannot be read.
pub fn read<S: ReplicaStorage>(storage: &mut S) -> Result<Option<Mark>, OpenError> {
    let read = read_small(storage, Name::Committed).map_err(open_error(storage, "read", Name::Committed))?;
    Ok(read.as_deref().and_then(decode))
}

fn encode(mark: Mark) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[12..14].copy_from_slice(&1_u16.to_le_bytes());
    bytes[16..24].copy_from_slice(&mark.epoch.0.to_le_bytes());
    bytes[24..32].copy_from_slice(&mark.index.0.to_le_bytes());
    bytes[32..].copy_from_slice(&mark.position.0.to_le_bytes());
    let checksum = crc32c::crc32c(&bytes[12..]);
    bytes[8..12].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<Mark> {
    let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
    let whole = bytes.len() == BYTES && bytes[..8] == MAGIC && bytes[12..14] == 1_u16.to_le_bytes();
    if !whole || bytes[8..12] != crc32c::crc32c(&bytes[12..]).to_le_bytes() {
        return None;
    }
    let mark = Mark { epoch: Epoch(number(16)), index: LogIndex(number(24)), position: Position(number(32)) };
    mark.fault().is_none().then_some(mark)
}

impl Committed {
    /// The file says so.
    pub const fn new(told: Mark) -> Self {
        Self { told }
    }

    /// Everything up to there is committed; written when that is much news.
    pub fn on_commit<S: ReplicaStorage>(&mut self, storage: &mut S, upto: Mark) -> io::Result<()> {
        let news = upto.position.0.saturating_sub(self.told.position.0);
        if news >= config::COMMITTED_BYTES { self.write(storage, upto) } else { Ok(()) }
    }

    /// Everything up to there is committed.
    pub fn write<S: ReplicaStorage>(&mut self, storage: &mut S, upto: Mark) -> io::Result<()> {
        if upto.position <= self.told.position {
            return Ok(());
        }
        self.told = upto;
        match overwrite(storage, Name::Committed, &encode(upto)) {
            // a hint: without room there is none
            Err(error) if !is_full(&error) => Err(error),
            _ => Ok(()),
        }
    }

    /// Nothing is known any more.
    pub fn forget<S: ReplicaStorage>(&mut self, storage: &mut S) -> io::Result<()> {
        self.told = Mark::default();
        storage.remove_named(Name::Committed).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_back_whole_or_not_at_all() {
        let mark = Mark { epoch: Epoch(2), index: LogIndex(3), position: Position(400) };
        let bytes = encode(mark);
        assert_eq!(decode(&bytes), Some(mark));
        for at in 0..bytes.len() {
            let mut other = bytes;
            other[at] ^= 1;
            assert_eq!(decode(&other), None, "byte {at}");
            assert_eq!(decode(&bytes[..at]), None);
        }
    }
}
