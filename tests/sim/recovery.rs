//! Reading a server's log back from its simulated disk, as `ring::disk` does from files: a torn tail is cut, corruption
//! below a watermark is said to be so (D1) and the log cut there.

use ringstore::cluster::{Doubt, EpochStart, Frame, Mark};
use ringstore::log::layout::file;
use ringstore::log::{Epoch, FileHeader, LogId, LogIndex, Position, Recovery, Step};
use ringstore::time::Time;

/// What a log holds.
pub struct Found {
    pub frames: Vec<Frame>,
    pub doubt: Doubt,
    /// Bytes of the file that are good.
    pub keep_bytes: u64,
}

/// The bytes a new log starts with.
pub fn new_log() -> Vec<u8> {
    let (position, index) = (Position(0), LogIndex(1));
    FileHeader { log_id: LogId(1), position, index, epoch: Epoch(1), time: Time(0) }.encode().to_vec()
}

/// Reads a log.
pub fn recover(bytes: &[u8]) -> Found {
    let mut recovery = Recovery::new();
    let mut frames = Vec::new();
    recovery.begin_file(Position(0), bytes.len() as u64);
    let mut at = 0;
    let mut good = file::BYTES as u64;
    let corrupt = loop {
        match recovery.step(&bytes[at..]) {
            Ok(Step::Frame { frame, consumed }) => {
                frames.push(Frame::parse(bytes[at..at + consumed].to_vec()).expect("it was just checked"));
                debug_assert_eq!(frame.header.frame_bytes(), consumed);
                at += consumed;
                good = at as u64;
            }
            Ok(Step::Passed { consumed }) => at += consumed,
            Ok(Step::FileEnd) => break false,
            Ok(Step::Need { .. }) => unreachable!("all bytes are at hand"),
            Err(_) => break true,
        }
    };
    let doubt = if corrupt { Doubt::Corruption } else { Doubt::None };
    if bytes.len() < file::BYTES {
        good = 0;
    }
    Found { frames, doubt, keep_bytes: good }
}

impl Found {
    /// Where each epoch begins.
    pub fn history(&self) -> Vec<EpochStart> {
        let mut starts: Vec<EpochStart> = Vec::new();
        for frame in &self.frames {
            let start = &frame.header().start;
            if starts.last().is_none_or(|last| last.epoch < start.epoch) {
                let (epoch, first_index, position) = (start.epoch, start.first_index, start.position);
                starts.push(EpochStart { epoch, first_index, position });
            }
        }
        starts
    }

    pub fn end(&self) -> Mark {
        self.frames.last().map_or_else(Mark::default, Frame::mark)
    }

    pub fn last_time(&self) -> Time {
        self.frames.last().map_or(Time(0), |frame| frame.header().start.time)
    }
}

#[cfg(test)]
mod tests {
    use ringstore::log::{Entry, FrameBuilder, FrameStart};

    use super::*;

    /// A log of frames with these epochs, each with the one before it durable.
    fn log(epochs: &[u64]) -> Vec<u8> {
        let mut bytes = new_log();
        let mut builder = FrameBuilder::new();
        for (i, &epoch) in epochs.iter().enumerate() {
            let position = Position((bytes.len() - file::BYTES) as u64);
            builder.begin(FrameStart {
                epoch: Epoch(epoch),
                first_index: LogIndex(i as u64 + 1),
                position,
                durable_upto: position,
                time: Time(i as u64),
            });
            builder.push(&Entry::NoOp);
            bytes.extend_from_slice(&builder.take());
        }
        bytes
    }

    #[test]
    fn a_whole_log_comes_back_with_its_epochs() {
        let bytes = log(&[1, 1, 3]);
        let found = recover(&bytes);
        assert_eq!((found.frames.len(), found.doubt), (3, Doubt::None));
        assert_eq!(found.keep_bytes, bytes.len() as u64);
        assert_eq!(found.history().iter().map(|start| start.epoch.0).collect::<Vec<_>>(), [1, 3]);
        assert_eq!((found.end().index, found.last_time()), (LogIndex(3), Time(2)));
        assert_eq!(recover(&new_log()).end(), Mark::default());
    }

    #[test]
    fn a_torn_tail_is_cut_and_no_doubt_is_left() {
        let mut bytes = log(&[1, 1, 1]);
        let last = bytes.len() - 3;
        bytes[last] ^= 1;
        let found = recover(&bytes);
        assert_eq!((found.frames.len(), found.doubt), (2, Doubt::None));
        assert_eq!(found.keep_bytes, log(&[1, 1]).len() as u64);
    }

    #[test]
    fn a_bad_byte_below_a_watermark_is_corruption() {
        let mut bytes = log(&[1, 1, 1]);
        let second = log(&[1, 1]).len() - 1;
        bytes[second] ^= 1;
        let found = recover(&bytes);
        assert_eq!((found.frames.len(), found.doubt), (1, Doubt::Corruption));
        assert_eq!(found.keep_bytes, log(&[1]).len() as u64);
    }
}
