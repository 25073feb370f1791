//! The receive buffers of a ring thread: one ring of provided buffers for its clients, and on thread 0 of a cluster's server one
//! for other servers' datagrams. The kernel takes a buffer for each receive.
//!
//! ```text
//! kernel: head --takes--> [ entry | entry | entry ] <--gives back-- tail: us
//! ```
//!
//! Owns the memory of the buffers. A buffer belongs to the kernel from `publish` until a completion names it, and to
//! us from then until it is given back and published again.
#![allow(unsafe_code, reason = "memory shared with the kernel")]

use std::alloc::{Layout, alloc_zeroed, handle_alloc_error};
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::IoUring;
use io_uring::types::BufRingEntry;

use crate::config::{RECV_BUFFER_BYTES, RECV_BUFFERS};

/// The buffer group of client connections.
pub const BGID: u16 = 0;
/// The buffer group of other servers' datagrams.
pub const DATAGRAM_BGID: u16 = 1;

const PAGE_BYTES: usize = 4096;
const ENTRY_BYTES: usize = size_of::<BufRingEntry>();

/// A ring of receive buffers. Its memory is never freed: the kernel may write into it until the process ends.
pub struct BufRing {
    entries: NonNull<BufRingEntry>,
    memory: NonNull<u8>,
    /// How many buffers, a power of two, and how large each is.
    count: u16,
    bytes: usize,
    /// Where the next buffer is given back; published by `publish`.
    tail: u16,
}

impl BufRing {
    /// Makes the buffers of client connections and registers them with `ring`.
    ///
    /// # Errors
    /// When the kernel refuses the registration.
    pub fn register(ring: &IoUring) -> io::Result<Self> {
        Self::register_group(ring, BGID, RECV_BUFFERS, RECV_BUFFER_BYTES)
    }

    /// Makes so many buffers, a power of two, of so many bytes each, and registers them with `ring`.
    ///
    /// # Errors
    /// When the kernel refuses the registration.
    pub fn register_group(ring: &IoUring, bgid: u16, count: u16, bytes: usize) -> io::Result<Self> {
        assert!(count.is_power_of_two() && bytes > 0, "a ring of buffers");
        let entries = allocate(ENTRY_BYTES * count as usize).cast::<BufRingEntry>();
        let memory = allocate(bytes * count as usize);
        let mut buffers = Self { entries, memory, count, bytes, tail: 0 };
        // SAFETY: the entries are page aligned, hold `count` entries and are never freed.
        unsafe {
            ring.submitter().register_buf_ring_with_flags(entries.as_ptr() as u64, count, bgid, 0)?;
        }
        for bid in 0..count {
            buffers.give_back(bid);
        }
        buffers.publish();
        Ok(buffers)
    }

    /// The first `len` bytes of a buffer that a completion has named.
    #[must_use]
    pub fn bytes(&self, bid: u16, len: u32) -> &[u8] {
        assert!(bid < self.count && len as usize <= self.bytes, "the kernel named no buffer of ours");
        // SAFETY: in bounds by the assertion; the buffer is ours until it is given back, which takes `&mut self`.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr().add(bid as usize * self.bytes), len as usize) }
    }

    /// The same, to be changed in place.
    #[must_use]
    pub fn bytes_mut(&mut self, bid: u16, len: u32) -> &mut [u8] {
        assert!(bid < self.count && len as usize <= self.bytes, "the kernel named no buffer of ours");
        // SAFETY: in bounds by the assertion; the buffer is ours until it is given back, and nobody else has it, as this
        // borrows all of them.
        unsafe { std::slice::from_raw_parts_mut(self.memory.as_ptr().add(bid as usize * self.bytes), len as usize) }
    }

    /// Gives a buffer back; the kernel sees it with the next `publish`.
    pub fn give_back(&mut self, bid: u16) {
        assert!(bid < self.count, "no buffer of ours");
        let at = (self.tail & (self.count - 1)) as usize;
        // SAFETY: both offsets are in bounds by the mask and the assertion; the kernel reads an entry only after `publish`
        // has moved the tail past it. The first entry's last field is the tail itself and is not written here.
        unsafe {
            let entry = &mut *self.entries.as_ptr().add(at);
            entry.set_addr(self.memory.as_ptr().add(bid as usize * self.bytes) as u64);
            entry.set_len(self.bytes as u32);
            entry.set_bid(bid);
        }
        self.tail = self.tail.wrapping_add(1);
    }

    /// Lets the kernel see all buffers given back so far.
    pub fn publish(&mut self) {
        // SAFETY: the tail is the aligned 16-bit field that the kernel reads; nobody else writes it.
        let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(self.entries.as_ptr()).cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }
}

fn allocate(bytes: usize) -> NonNull<u8> {
    let layout = Layout::from_size_align(bytes, PAGE_BYTES).expect("a size from constants");
    // SAFETY: the layout is not empty.
    let memory = unsafe { alloc_zeroed(layout) };
    NonNull::new(memory).unwrap_or_else(|| handle_alloc_error(layout))
}
