//! Messages on their way in, put together from their pieces. Each is handed out once; what is never completed is dropped
//! when others need the room.

use std::collections::{BTreeMap, BTreeSet};

use super::chunk::Place;
use super::ranges::Ranges;
use crate::config;

#[derive(Debug)]
struct Part {
    /// As long as the message: memory that nothing was written to costs nothing yet.
    bytes: Vec<u8>,
    there: Ranges,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Assembly {
    parts: BTreeMap<u64, Part>,
    /// Bytes of the messages in parts.
    bytes: usize,
    /// All messages up to here are done or given up.
    done_upto: u64,
    /// Done beyond it.
    done: BTreeSet<u64>,
}

impl Assembly {
    /// Takes a piece; the message when that was all of it. `Err` when the piece contradicts an earlier one.
    pub fn take(&mut self, place: Place, bytes: &[u8]) -> Result<Option<Vec<u8>>, super::chunk::Malformed> {
        let Place { message, total, offset } = place;
        if message <= self.done_upto || self.done.contains(&message) {
            return Ok(None);
        }
        if offset == 0 && bytes.len() == total as usize {
            self.finish(message);
            return Ok(Some(bytes.to_vec()));
        }
        let part = self.parts.entry(message).or_insert_with(|| {
            self.bytes += total as usize;
            Part { bytes: vec![0; total as usize], there: Ranges::default() }
        });
        if part.bytes.len() != total as usize {
            return Err(super::chunk::Malformed);
        }
        let (start, end) = (offset as usize, offset as usize + bytes.len());
        part.bytes[start..end].copy_from_slice(bytes);
        part.there.insert(start as u64..end as u64);
        if part.there.is_all_below(u64::from(total)) {
            let part = self.finish(message).expect("it is there");
            return Ok(Some(part.bytes));
        }
        self.make_room(message);
        Ok(None)
    }

    /// `message` comes no more.
    fn finish(&mut self, message: u64) -> Option<Part> {
        let part = self.parts.remove(&message);
        self.bytes -= part.as_ref().map_or(0, |part| part.bytes.len());
        self.done.insert(message);
        if self.done.len() > config::MESSAGES_OUT_OF_ORDER_MAX {
            // the sender has given up those that are missing
            self.done_upto = self.done.pop_first().expect("it is not empty");
        }
        while self.done.first() == Some(&(self.done_upto + 1)) {
            self.done_upto = self.done.pop_first().expect("it was there");
        }
        part
    }

    /// Drops the oldest messages but `newest` while too much is held.
    fn make_room(&mut self, newest: u64) {
        while self.bytes > config::ASSEMBLY_BYTES_MAX {
            let Some(&oldest) = self.parts.keys().find(|&&message| message != newest) else { return };
            self.finish(oldest);
        }
    }

    pub fn check_invariants(&self) {
        self.parts.values().for_each(|part| part.there.check_invariants());
        assert!(self.bytes == self.parts.values().map(|part| part.bytes.len()).sum::<usize>(), "bytes are counted");
        assert!(self.done.first().is_none_or(|&first| first > self.done_upto), "done twice");
    }
}
