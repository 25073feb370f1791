//! The in-memory store: one writer, readers on every ring thread.
//!
//! ```text
//!   index (linear hashing)                arena (segments of 1 MiB)
//!   +--------------------+               +---------------------------+
//!   | bucket: 8 slots of |  tag, offset  | item | item | dead | item |  closed, oldest first
//!   | 64 bits, one line  | ------------> +---------------------------+
//!   +--------------------+               | item | item | ->          |  open: the next reserve goes here
//!   ^ Reader::get, no lock               +---------------------------+
//!   | Writer::publish, remove            |   free, or waiting until every reader has passed a quiescent point
//! ```
//!
//! Owns items, their memory and the index over them, and the locks of keys that are about to change. Never reads a clock, never maps memory itself (a [`Region`] is
//! handed in), never starts a thread, never waits.

mod arena;
mod clock;
mod digest;
mod epoch;
mod index;
mod item;
mod locks;
mod memory;
mod reader;
mod reclaim;
mod scrub;
mod segments;
mod sweep;
mod table;
#[cfg(test)]
mod tests;
mod walk;
mod writer;

pub use arena::{Region, RegionCall};
pub use clock::FlushMark;
pub use digest::item_digest;
pub use reader::Reader;
pub use walk::Walk;
pub use writer::{Reserved, Writer};

use std::sync::Arc;

use self::arena::Arena;
use self::clock::Clock;
use self::epoch::Epochs;
use self::index::Index;
use self::locks::Locks;
use crate::config::SEGMENT_BYTES;
use crate::time::{Expiry, Seconds};

/// A key's hash, the same for every reader and the writer of one store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyHash(pub u64);

/// Marks an item carries for the meta commands; none by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ItemBits(pub u8);

/// A stored item, read where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item<'a> {
    /// Its key.
    pub key: &'a [u8],
    /// Its value.
    pub value: &'a [u8],
    /// The client's flags.
    pub flags: u32,
    /// When it ends.
    pub expiry: Expiry,
    /// Its cas id.
    pub cas: u64,
    /// Its marks.
    pub bits: ItemBits,
}

/// An item to be stored.
#[derive(Clone, Copy, Debug)]
pub struct Put<'a> {
    /// The hash of `key`.
    pub hash: KeyHash,
    /// 1 to 250 bytes.
    pub key: &'a [u8],
    /// The client's flags.
    pub flags: u32,
    /// When it ends.
    pub expiry: Expiry,
    /// Its cas id.
    pub cas: u64,
    /// Its marks.
    pub bits: ItemBits,
    /// The value in two parts, stored as one.
    pub value: [&'a [u8]; 2],
}

/// Why an item was not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// The memory limit is reached and nothing may be evicted.
    OutOfMemory,
    /// The item is larger than any item may be.
    TooLarge,
}

/// Why an item left, or is to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// Its time was over.
    Expired,
    /// Its memory was needed.
    Evicted,
    /// A flush made it invisible before.
    Flushed,
}

/// Numbers about the store, for `stats`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Items that can be found; expired ones count until they are swept, flushed ones do not.
    pub items: u64,
    /// Bytes of these items, headers included.
    pub bytes: u64,
    /// Bytes of segments in use and of the index.
    pub memory_bytes: u64,
    /// Bytes of the index.
    pub index_bytes: u64,
    /// Binary logarithm of the index's buckets, rounded down.
    pub hash_power: u64,
    /// Whether the index is behind its growth.
    pub growing: bool,
    /// Items that left because their memory was needed.
    pub evictions: u64,
    /// Of those that expired, the ones nobody had ever fetched.
    pub expired_unfetched: u64,
    /// Of those evicted, the ones nobody had ever fetched.
    pub evicted_unfetched: u64,
    /// Expired items whose memory came back.
    pub reclaimed: u64,
    /// Segments that hold items or wait for readers.
    pub segments_used: u64,
    /// Segments that could be taken within the memory limit.
    pub segments_free: u64,
    /// Bytes of items that were moved to make dead space usable.
    pub moved_bytes: u64,
}

/// What a store is made of.
pub struct StoreConfig<'a> {
    /// `-m`: bytes of segments.
    pub memory_bytes: u64,
    /// The memory limit may be raised up to here: so much address space is reserved for items.
    pub address_bytes: u64,
    /// Whether a full store drops what was not used lately, or refuses.
    pub evict: bool,
    /// Largest item, key, value and header together.
    pub item_bytes_max: usize,
    /// Seed of the key hash.
    pub hash_seed: u64,
    /// How many readers there will be: one for each thread.
    pub readers: usize,
    /// Makes regions of zeroed memory of at least the asked length.
    pub region: &'a mut dyn FnMut(usize) -> Result<Region, RegionError>,
}

/// No address space for the store; the shell knows the kernel's reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegionError {
    /// The kernel's error number, 0 when there is none.
    pub errno: i32,
    /// How many bytes were asked for.
    pub bytes: usize,
}

/// What readers and the writer share.
struct Shared {
    arena: Arena,
    index: Index,
    clock: Clock,
    epochs: Epochs,
    locks: Locks,
}

impl Shared {
    /// The item under `key` that nothing hides.
    #[inline]
    fn get(&self, hash: KeyHash, key: &[u8], now: Seconds) -> Option<Item<'_>> {
        let unit = self.index.find(hash, |unit| self.arena.key_is(unit, key))?;
        let item = self.arena.item(unit);
        if item.expiry.expired(now) || !self.clock.visible(unit) {
            return None;
        }
        self.arena.note_read(unit);
        Some(item)
    }
}

/// Makes a store: its writer, and a reader for each thread.
///
/// # Errors
/// When there is no address space.
pub fn create(config: StoreConfig<'_>) -> Result<(Writer, Vec<Reader>), RegionError> {
    let StoreConfig { memory_bytes, address_bytes, evict, item_bytes_max, hash_seed, readers, region } = config;
    let least = 2 * memory::SEGMENTS_MIN * SEGMENT_BYTES as u64;
    let wanted = address_bytes.max(memory_bytes.saturating_mul(4) / 3 + least).next_multiple_of(SEGMENT_BYTES as u64);
    let arena_bytes = usize::try_from(wanted).map_err(|_| RegionError { errno: 0, bytes: usize::MAX })?;
    // were all memory taken by the smallest of items, the index would need this much
    let arena = Arena::new(region(arena_bytes)?, hash_seed);
    let index = Index::new(region(arena_bytes)?, region(arena_bytes / 2)?, table::FIRST_BUCKETS);
    let clock = Clock::new(arena_bytes / SEGMENT_BYTES);
    let shared = Arc::new(Shared { arena, index, clock, epochs: Epochs::new(readers), locks: Locks::new() });
    let readers = (0..readers).map(|number| Reader::new(Arc::clone(&shared), number)).collect();
    let mut writer = Writer::new(shared, evict, item_bytes_max);
    writer.set_memory_limit(memory_bytes);
    Ok((writer, readers))
}
