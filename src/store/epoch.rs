//! Quiescence: when memory that left the index may be used again.
//!
//! Each reader has a word that only it writes: the newest epoch it has seen while it held no item, or `PARKED`.
//!
//! The writer takes a segment's items out of the index, then advances the epoch to `e` (Release). A reader that reads
//! `e` (Acquire) sees those removals in everything it looks up later; it then stores `e` into its word (Release), behind
//! all its earlier reads. So when every word is at least `e`, no reader can reach the segment: the writer's Acquire
//! loads of the words order their reads before its reuse.
//!
//! A parked reader promises to hold nothing and to look up nothing. Ending that promise is the one place where a store
//! must be seen before later loads: the reader stores its epoch, fences SeqCst, then looks up; the writer removes,
//! fences SeqCst, then looks at the words. Whichever fence comes first, either the writer sees that the reader is
//! awake, or the reader sees the removals.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicU64, fence};

/// A value on a cache line of its own.
#[repr(align(128))]
pub(super) struct Line<T>(pub T);

/// The word of a reader that holds nothing back.
const PARKED: u64 = u64::MAX;

/// The store's epoch, and how far each reader has seen it.
pub(super) struct Epochs {
    global: Line<AtomicU64>,
    readers: Box<[Line<AtomicU64>]>,
}

impl Epochs {
    /// All readers are parked.
    pub fn new(readers: usize) -> Self {
        let readers = (0..readers).map(|_| Line(AtomicU64::new(PARKED))).collect();
        Self { global: Line(AtomicU64::new(1)), readers }
    }

    /// The reader holds no item at this moment.
    #[inline]
    pub fn quiesce(&self, reader: usize) {
        let epoch = self.global.0.load(Acquire);
        self.readers[reader].0.store(epoch, Release);
    }

    /// The reader holds nothing and looks up nothing until `unpark`.
    pub fn park(&self, reader: usize) {
        self.readers[reader].0.store(PARKED, Release);
    }

    /// The reader is about to look things up.
    pub fn unpark(&self, reader: usize) {
        self.quiesce(reader);
        fence(SeqCst);
    }

    /// Writer: what left the index so far may be reused once `passed` has reached the epoch returned.
    pub fn advance(&self) -> u64 {
        let epoch = self.global.0.load(Relaxed) + 1;
        self.global.0.store(epoch, Release);
        epoch
    }

    /// Writer: the newest epoch all readers have passed.
    pub fn passed(&self) -> u64 {
        fence(SeqCst);
        self.readers.iter().map(|reader| reader.0.load(Acquire)).min().unwrap_or(PARKED)
    }
}
