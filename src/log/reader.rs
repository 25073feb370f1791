//! Reads frames and entries where they lie, without a copy.

use super::layout::frame as at;
use super::{Entry, EntryFault, FrameFault, FrameHeader, LogIndex, Origin};

/// A frame whose checksums are right.
#[derive(Clone, Copy, Debug)]
pub struct FrameView<'a> {
    /// What its header says.
    pub header: FrameHeader,
    body: &'a [u8],
}

impl<'a> FrameView<'a> {
    /// The frame at the start of `bytes`.
    ///
    /// # Errors
    /// When they do not start with a whole frame whose checksums are right.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FrameFault> {
        let header = FrameHeader::decode(bytes)?;
        let body = bytes.get(at::BYTES..header.frame_bytes()).ok_or(FrameFault::Short)?;
        if crc32c::crc32c(body) != header.body_checksum {
            return Err(FrameFault::BodyChecksum);
        }
        Ok(Self { header, body })
    }

    /// Its entries in order.
    #[must_use]
    pub const fn entries(&self) -> Entries<'a> {
        Entries { rest: self.body, next: self.header.start.first_index, left: self.header.entries, origin: None }
    }
}

/// The entries of a frame with their indices. After a fault it ends.
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    rest: &'a [u8],
    next: LogIndex,
    left: u32,
    origin: Option<Origin>,
}

impl Entries<'_> {
    /// Who asked for the entry that was taken last, if it came through another server.
    #[must_use]
    pub const fn origin(&self) -> Option<Origin> {
        self.origin
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<(LogIndex, Entry<'a>), EntryFault>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        let index = self.next;
        self.next.0 += 1;
        let taken = Origin::decode(self.rest).and_then(|(origin, rest)| {
            self.origin = origin;
            Entry::decode(rest)
        });
        let taken = taken.and_then(|(entry, rest)| {
            // the last entry ends where the frame does, or the count is not the one that was written
            if self.left == 0 && !rest.is_empty() { Err(EntryFault::Surplus(rest.len())) } else { Ok((entry, rest)) }
        });
        match taken {
            Ok((entry, rest)) => {
                self.rest = rest;
                Some(Ok((index, entry)))
            }
            Err(fault) => {
                self.left = 0;
                Some(Err(fault))
            }
        }
    }
}

/// The frames that follow each other in `bytes`, until they end or one is not whole.
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    rest: &'a [u8],
}

impl<'a> Frames<'a> {
    /// Over bytes that start with a frame.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<FrameView<'a>, FrameFault>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let parsed = FrameView::parse(self.rest);
        self.rest = match &parsed {
            Ok(frame) => &self.rest[frame.header.frame_bytes()..],
            Err(_) => &[],
        };
        Some(parsed)
    }
}
