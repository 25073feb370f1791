//! Tests of the log's bytes: the format, the round trip, and every small damage there is.

mod damage;
mod format;
mod round_trip;

use super::layout::{file, frame};
use super::{
    Corruption, Entry, Epoch, FileHeader, FrameBuilder, FrameStart, LogId, LogIndex, Position, Recovered, Recovery,
    Removed, Step,
};
use crate::time::{Expiry, Seconds, Time};

const LOG: LogId = LogId(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);

/// One entry of each kind.
const ENTRIES: [Entry<'static>; 7] = [
    Entry::Put { key: b"a", value: b"1", flags: 0, expiry: Expiry::NEVER, cas: None, bits: 0 },
    Entry::Put { key: b"key", value: b"value", flags: 7, expiry: Expiry::from_raw(99), cas: Some(3), bits: 2 },
    Entry::Delete { key: b"a", reason: Removed::Evicted },
    Entry::Touch { key: b"key", expiry: Expiry::NEVER },
    Entry::Flush,
    Entry::FlushAt { time: Seconds(1_700_000_000) },
    Entry::NoOp,
];

/// A log in memory: files by the position of their first frame.
#[derive(Clone, Debug, Default)]
struct Files(Vec<(Position, Vec<u8>)>);

/// What was read of it: each entry as text, with its index.
type Read = Vec<(LogIndex, String)>;

impl Files {
    fn begin(&mut self, position: Position, index: LogIndex, epoch: Epoch, time: Time) {
        let header = FileHeader { log_id: LOG, position, index, epoch, time };
        self.0.push((position, header.encode().to_vec()));
    }

    fn read(&self) -> (Read, Result<Recovered, Corruption>) {
        self.read_by(usize::MAX)
    }

    /// Hands the machine `step` bytes at first and then as many as it asks for.
    fn read_by(&self, step: usize) -> (Read, Result<Recovered, Corruption>) {
        let mut read = Vec::new();
        let mut recovery = Recovery::new();
        for (name, bytes) in &self.0 {
            recovery.begin_file(*name, bytes.len() as u64);
            let mut window = step;
            loop {
                let at = recovery.offset() as usize;
                let end = at.saturating_add(window).min(bytes.len());
                match recovery.step(&bytes[at..end]) {
                    Err(corruption) => return (read, Err(corruption)),
                    Ok(Step::Need { bytes: needed }) => {
                        assert!(needed > end - at && at + needed <= bytes.len(), "it asks for what there is");
                        window = needed;
                    }
                    Ok(Step::Passed { consumed }) => {
                        assert!(consumed > 0 || bytes.is_empty(), "it goes on");
                        window = step;
                    }
                    Ok(Step::FileEnd) => break,
                    Ok(Step::Frame { frame, .. }) => {
                        for entry in frame.entries() {
                            match entry {
                                Ok((index, entry)) => read.push((index, format!("{entry:?}"))),
                                Err(fault) => return (read, Err(recovery.entry_corruption(&frame.header, fault))),
                            }
                        }
                        window = step;
                    }
                }
            }
        }
        (read, Ok(recovery.finish()))
    }
}

/// Frames of one to three entries, `per_file` of them in each file. Each frame's watermark is the end of the frame that is
/// `lag` before it. Also what a reader should find, and where each frame starts.
fn small_log(frames: usize, per_file: usize, lag: usize) -> (Files, Read, Vec<Position>) {
    let mut files = Files::default();
    let (mut read, mut positions) = (Vec::new(), Vec::new());
    let mut builder = FrameBuilder::new();
    let (mut position, mut index) = (Position(0), LogIndex(1));
    for number in 0..frames {
        let (epoch, time) = (Epoch(1 + number as u64 / 3), Time(10 + number as u64));
        if number % per_file == 0 {
            files.begin(position, index, epoch, time);
        }
        let durable_upto = number
            .checked_sub(lag)
            .map_or(Position(0), |before| positions.get(before + 1).copied().unwrap_or(position));
        builder.begin(FrameStart { epoch, first_index: index, position, durable_upto, time });
        positions.push(position);
        for entry in ENTRIES.iter().cycle().skip(number).take(1 + number % 3) {
            assert_eq!(builder.push(entry), index);
            read.push((index, format!("{entry:?}")));
            index.0 += 1;
        }
        let bytes = builder.take();
        position.0 += bytes.len() as u64;
        files.0.last_mut().expect("a file was begun").1.extend_from_slice(&bytes);
        builder.reuse(bytes);
    }
    (files, read, positions)
}

/// The byte of its file that `position` stands at.
fn offset_in(name: Position, position: Position) -> usize {
    (position.0 - name.0) as usize + file::BYTES
}
