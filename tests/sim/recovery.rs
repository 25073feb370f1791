//! Reading a server's log back from its simulated disk, as `ring::disk` does from files: a torn tail is cut, corruption
//! below a watermark is said to be so (D1) and the log cut there.

use ringstore::cluster::{Doubt, EpochStart, Frame, Mark, Snapshot};
use ringstore::keystore::{Decoder, Piece, Step};
use ringstore::log::layout::file;
use ringstore::log::{self, Epoch, FileHeader, LogId, LogIndex, Position, Recovery};
use ringstore::time::Time;

/// What a log holds.
pub struct Found {
    pub frames: Vec<Frame>,
    pub doubt: Doubt,
    /// Bytes of the file that are good.
    pub keep_bytes: u64,
}

/// Where in a log's bytes that ends of which its frames say that it is durable.
pub fn watermark(bytes: &[u8]) -> usize {
    let Ok(header) = FileHeader::decode(bytes) else { return 0 };
    let found = recover(bytes);
    let upto = found.frames.last().map_or(0, |frame| frame.header().start.durable_upto.0);
    file::BYTES + upto.saturating_sub(header.position.0) as usize
}

/// The log that all servers' files belong to.
pub const LOG: LogId = LogId(1);

/// The bytes a log starts with that begins at `start`.
pub fn new_log(start: Mark, time: Time) -> Vec<u8> {
    let (position, index, epoch) = (start.position, LogIndex(start.index.0 + 1), Epoch(start.epoch.0.max(1)));
    FileHeader { log_id: LOG, position, index, epoch, time }.encode().to_vec()
}

/// What a keystore holds but its items.
pub fn keystore(bytes: &[u8], mut each: impl FnMut(Piece<'_>)) -> Option<Snapshot> {
    let (mut start, mut consistent, mut history, mut last_time) = (None, None, Vec::new(), Time(0));
    let (mut decoder, mut at) = (Decoder::new(), 0);
    while at < bytes.len() && !decoder.is_whole() {
        let (piece, consumed) = match decoder.step(&bytes[at..]) {
            Ok(Step::Piece { piece, consumed }) => (piece, consumed),
            other => panic!("a damaged keystore: {other:?}"),
        };
        at += consumed;
        match &piece {
            Piece::Header(header) => (start, last_time) = (Some(header.start), header.last_time),
            Piece::Epochs(epochs) => history.extend_from_slice(epochs),
            Piece::Items(_) => {}
            Piece::End(end) => consistent = Some(end.consistent),
        }
        each(piece);
    }
    Some(Snapshot { start: start?, consistent: consistent?, history, last_time })
}

/// Reads a log.
pub fn recover(bytes: &[u8]) -> Found {
    let mut recovery = Recovery::new();
    let mut frames = Vec::new();
    let base = FileHeader::decode(bytes).map_or(Position(0), |header| header.position);
    recovery.begin_file(base, bytes.len() as u64);
    let mut at = 0;
    let mut good = file::BYTES as u64;
    let corrupt = loop {
        match recovery.step(&bytes[at..]) {
            Ok(log::Step::Frame { frame, consumed }) => {
                frames.push(Frame::parse(bytes[at..at + consumed].to_vec()).expect("it was just checked"));
                debug_assert_eq!(frame.header.frame_bytes(), consumed);
                at += consumed;
                good = at as u64;
            }
            Ok(log::Step::Passed { consumed }) => at += consumed,
            Ok(log::Step::FileEnd) => break false,
            Ok(log::Step::Need { .. }) => unreachable!("all bytes are at hand"),
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
    /// The log goes on behind a snapshot: frames below its start are not needed. A log that does not reach it is not the log
    /// that goes on there, because the server ended between the two.
    pub fn behind(&mut self, start: Mark) {
        self.frames.retain(|frame| frame.position() >= start.position);
        if self.frames.first().is_some_and(|first| first.position() > start.position) {
            self.frames.clear();
        }
    }

    /// Where each epoch begins.
    pub fn history(&self, mut starts: Vec<EpochStart>) -> Vec<EpochStart> {
        for frame in &self.frames {
            let start = &frame.header().start;
            if starts.last().is_none_or(|last| last.epoch < start.epoch) {
                let (epoch, first_index, position) = (start.epoch, start.first_index, start.position);
                starts.push(EpochStart { epoch, first_index, position });
            }
        }
        starts
    }

    pub fn end(&self, start: Mark) -> Mark {
        self.frames.last().map_or(start, Frame::mark)
    }

    pub fn last_time(&self, start: Time) -> Time {
        self.frames.last().map_or(start, |frame| frame.header().start.time)
    }
}

#[cfg(test)]
mod tests {
    use ringstore::log::{Entry, FrameBuilder, FrameStart};

    use super::*;

    /// A log of frames with these epochs, each with the one before it durable.
    fn log(epochs: &[u64]) -> Vec<u8> {
        let mut bytes = new_log(Mark::default(), Time(0));
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
        assert_eq!(found.history(Vec::new()).iter().map(|start| start.epoch.0).collect::<Vec<_>>(), [1, 3]);
        assert_eq!((found.end(Mark::default()).index, found.last_time(Time(0))), (LogIndex(3), Time(2)));
        assert_eq!(recover(&new_log(Mark::default(), Time(0))).end(Mark::default()), Mark::default());
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
