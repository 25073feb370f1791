//! A frame as the cluster handles it: built once, then appended, sent, resent and locked from the same bytes.

use std::fmt;
use std::sync::Arc;

use super::configuration::{Epoch, LogIndex, Mark, Position};
use crate::log::{FrameFault, FrameHeader, FrameView};

/// A whole frame whose checksums are right. As small as a pointer, because it travels in messages and effects.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    whole: Arc<Whole>,
}

#[derive(PartialEq, Eq)]
struct Whole {
    bytes: Vec<u8>,
    header: FrameHeader,
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = &self.header().start;
        write!(f, "frame {}..{} of epoch {}", start.position.0, self.end().0, start.epoch.0)?;
        write!(f, ", entries {}..={}", start.first_index.0, self.last_index().0)?;
        // all that tells it from another at the same place
        write!(f, ", durable {}, checksum {:08x}", start.durable_upto.0, self.header().body_checksum)
    }
}

impl Frame {
    /// Checks bytes that were read or received.
    ///
    /// # Errors
    /// When they are not exactly one whole frame.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, FrameFault> {
        let header = FrameView::parse(&bytes)?.header;
        if header.frame_bytes() != bytes.len() {
            return Err(FrameFault::Header);
        }
        Ok(Self { whole: Arc::new(Whole { bytes, header }) })
    }

    /// Takes bytes that a `FrameBuilder` has just made; its body is not read again.
    #[must_use]
    pub fn built(bytes: Vec<u8>) -> Self {
        let header = FrameHeader::decode(&bytes).expect("a builder makes whole headers");
        assert!(header.frame_bytes() == bytes.len(), "a builder makes one frame at a time");
        Self { whole: Arc::new(Whole { bytes, header }) }
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.whole.bytes
    }

    /// Its entries.
    #[must_use]
    pub fn view(&self) -> FrameView<'_> {
        FrameView::parse(&self.whole.bytes).expect("it was checked")
    }

    /// What its header says.
    #[must_use]
    pub fn header(&self) -> &FrameHeader {
        &self.whole.header
    }

    /// The epoch it was made in.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.whole.header.start.epoch
    }

    /// Where it begins.
    #[must_use]
    pub fn position(&self) -> Position {
        self.whole.header.start.position
    }

    /// Where the next one begins.
    #[must_use]
    pub fn end(&self) -> Position {
        self.whole.header.end()
    }

    /// Index of its last entry.
    #[must_use]
    pub fn last_index(&self) -> LogIndex {
        self.whole.header.last_index()
    }

    /// Where a log stands that ends with it.
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark { epoch: self.epoch(), index: self.last_index(), position: self.end() }
    }

    /// Its buffer, when nobody else holds it.
    #[must_use]
    pub fn into_buffer(self) -> Option<Vec<u8>> {
        Arc::try_unwrap(self.whole).ok().map(|whole| whole.bytes)
    }
}
