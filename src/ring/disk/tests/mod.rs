//! Tests of the log's files: on a real directory, and on a disk that fails in every way a log must stand.

mod crash;
mod directory;
mod faults;
mod faulty;
mod room;

use super::{LogStorage, LogWriter, recover};
use crate::config::Fsync;
use crate::log::{Entry, Epoch, FrameBuilder, FrameStart, LogId, LogIndex, Position, Recovered};
use crate::time::{Expiry, Time};

const LOG: LogId = LogId(42);

/// The entries of a log as text.
type Read = Vec<(LogIndex, String)>;

fn reopen<S: LogStorage>(storage: S, fsync: Fsync) -> (LogWriter<S>, Recovered, Read) {
    let mut read = Vec::new();
    let (writer, recovered) = recover(storage, fsync, LOG, &mut |_, index, entry| {
        read.push((index, format!("{entry:?}")));
        Ok(())
    })
    .unwrap_or_else(|error| panic!("{error}"));
    (writer, recovered, read)
}

/// Makes the frames that the write path would make, and keeps what they say.
struct Source {
    builder: FrameBuilder,
    position: Position,
    durable: Position,
    index: LogIndex,
    epoch: Epoch,
    /// Every entry, with the end of its frame.
    made: Vec<(Position, LogIndex, String)>,
}

impl Source {
    fn new(recovered: &Recovered) -> Self {
        Self {
            builder: FrameBuilder::new(),
            position: recovered.end,
            durable: recovered.end,
            index: recovered.last_index,
            epoch: recovered.epoch,
            made: Vec::new(),
        }
    }

    /// A frame of `entries` sets with values of `value_bytes`.
    fn frame(&mut self, entries: usize, value_bytes: usize) -> Vec<u8> {
        let start = FrameStart {
            epoch: self.epoch,
            first_index: LogIndex(self.index.0 + 1),
            position: self.position,
            durable_upto: self.durable,
            time: Time(self.index.0 + 1),
        };
        self.builder.begin(start);
        let mut texts = Vec::new();
        for _ in 0..entries {
            self.index.0 += 1;
            let value = vec![b'a' + (self.index.0 % 26) as u8; value_bytes];
            let entry = Entry::Put { key: b"key", value: &value, flags: 0, expiry: Expiry::NEVER, cas: None, bits: 0 };
            self.builder.push(&entry);
            texts.push((self.index, format!("{entry:?}")));
        }
        let bytes = self.builder.take();
        self.position.0 += bytes.len() as u64;
        self.made.extend(texts.into_iter().map(|(index, text)| (self.position, index, text)));
        bytes
    }

    /// Takes back what was not written.
    fn refuse(&mut self, written: Position) {
        self.made.retain(|(end, ..)| *end <= written);
        self.position = written;
        self.index = LogIndex(self.made.last().map_or(0, |(_, index, _)| index.0));
    }

    fn read(&self) -> Read {
        self.made.iter().map(|(_, index, text)| (*index, text.clone())).collect()
    }
}
