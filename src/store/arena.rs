#![allow(unsafe_code, reason = "publishes item memory to other threads; everything that dereferences it stands here")]
//! Item memory: one region of address space, read and written as items.
//!
//! Owns the region. Knows nothing of segments, of what is live, of who may read: its callers, all within this store,
//! keep the contract below, and that is why its functions can be called without `unsafe`.
//!
//! A [`Unit`] handed in is either freshly allocated and known to the writer alone (then only the writer touches it,
//! with [`Arena::write`] and [`Arena::copy`]), or was read from the index by a thread whose epoch pins it (then its
//! bytes do not change, except the shape byte and the expiry, which are only ever accessed atomically here).
//!
//! Why a reader sees whole items: the writer fills an item with plain stores, then stores its index slot with Release;
//! a reader that finds the slot fences with Acquire before it comes here. Why it never sees reused memory: see epoch.rs.

use std::alloc::Layout;
use std::ptr::NonNull;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU8, AtomicU32};

use super::item::{self, BITS, DEAD, EXPIRY, FETCHED, FLAGS, LONG, Plan, RECENT, UNIT_BYTES, WIDE_CAS};
use super::{Item, ItemBits, KeyHash, Put, RegionError};
use crate::time::Expiry;

/// Zeroed memory at a fixed address, resident as far as it was touched. Made by the shell, or on the heap for tests.
pub struct Region {
    base: NonNull<u8>,
    len: usize,
    owner: Owner,
}

enum Owner {
    Heap { allocated: NonNull<u8>, layout: Layout },
    Mapped { unmap: RegionCall, give_back: RegionCall },
}

/// What the shell does with a range of a region it made.
pub type RegionCall = fn(NonNull<u8>, usize);

/// Regions begin on a cache line.
const REGION_ALIGN: usize = 64;

// SAFETY: a region is an address range it owns alone; what is done with the memory is up to its user.
unsafe impl Send for Region {}
// SAFETY: as above; `&Region` gives out nothing but the address and the length.
unsafe impl Sync for Region {}

impl Region {
    /// A region on the heap. The allocator's zeroed memory is resident only when touched, as far as it comes from the
    /// kernel directly.
    ///
    /// # Errors
    /// When the allocator has no such memory.
    pub fn heap(len: usize) -> Result<Self, RegionError> {
        let failed = RegionError { errno: 0, bytes: len };
        assert!(len > 0, "an empty region");
        // a larger alignment would make the allocator touch all of it
        let layout = Layout::from_size_align(len + REGION_ALIGN, 16).map_err(|_| failed)?;
        // SAFETY: the layout's size is not zero.
        let allocated = NonNull::new(unsafe { std::alloc::alloc_zeroed(layout) }).ok_or(failed)?;
        let skip = allocated.as_ptr().align_offset(REGION_ALIGN);
        assert!(skip < REGION_ALIGN, "bytes can be aligned");
        // SAFETY: `skip` is less than the REGION_ALIGN bytes the allocation has above `len`.
        let base = unsafe { allocated.add(skip) };
        Ok(Self { base, len, owner: Owner::Heap { allocated, layout } })
    }

    /// A region the shell has mapped. `unmap` ends it; `give_back` lets the kernel take the pages of a part of it,
    /// which read as zeros or as before afterwards.
    ///
    /// # Safety
    /// `base` is on a cache line and begins `len` bytes of zeroed, readable and writable memory that nobody else uses
    /// until `unmap` is called.
    #[must_use]
    pub unsafe fn from_raw(base: NonNull<u8>, len: usize, unmap: RegionCall, give_back: RegionCall) -> Self {
        assert!(base.as_ptr().align_offset(REGION_ALIGN) == 0, "a region begins on a cache line");
        Self { base, len, owner: Owner::Mapped { unmap, give_back } }
    }

    /// Its first byte.
    pub(super) const fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// Its length in bytes.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "a region is never empty")]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Lets the kernel take a part's pages. Nobody may be reading it.
    pub(super) fn give_back(&self, at: usize, len: usize) {
        assert!(at + len <= self.len, "outside the region");
        if let Owner::Mapped { give_back, .. } = self.owner {
            // SAFETY: within the region, just checked.
            give_back(unsafe { self.base.add(at) }, len);
        }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        match self.owner {
            // SAFETY: allocated in `heap` with this layout, freed once.
            Owner::Heap { allocated, layout } => unsafe { std::alloc::dealloc(allocated.as_ptr(), layout) },
            Owner::Mapped { unmap, .. } => unmap(self.base, self.len),
        }
    }
}

/// Address of an item, in units from the arena's beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Unit(pub u64);

impl Unit {
    pub const fn at(byte: usize) -> Self {
        Self((byte / UNIT_BYTES) as u64)
    }

    pub const fn byte(self) -> usize {
        self.0 as usize * UNIT_BYTES
    }
}

/// What a walk over a segment needs to know of an item.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub shape: u8,
    /// Bytes to the next item.
    pub bytes: usize,
    /// No item, or none the index leads to.
    pub dead: bool,
}

/// Item memory.
pub(super) struct Arena {
    region: Region,
    hash_seed: u64,
}

impl Arena {
    pub const fn new(region: Region, hash_seed: u64) -> Self {
        Self { region, hash_seed }
    }

    /// The hash of a key, seeded so that nobody outside can aim at a bucket.
    #[inline]
    pub fn hash_of(&self, key: &[u8]) -> KeyHash {
        KeyHash(xxhash_rust::xxh3::xxh3_64_with_seed(key, self.hash_seed))
    }

    /// The hash of an item's key.
    pub fn hash(&self, unit: Unit) -> KeyHash {
        self.hash_of(self.key(unit))
    }

    pub const fn bytes(&self) -> usize {
        self.region.len()
    }

    /// The item's first byte; at least `header` bytes follow within the region.
    #[inline]
    fn base(&self, unit: Unit, header: usize) -> *mut u8 {
        let at = unit.byte();
        assert!(at + header <= self.region.len(), "outside the arena");
        // SAFETY: within the region, just checked.
        unsafe { self.region.base().as_ptr().add(at) }
    }

    #[inline]
    fn shape(&self, unit: Unit) -> &AtomicU8 {
        let base = self.base(unit, UNIT_BYTES);
        // SAFETY: byte 1 is within the region and is accessed atomically wherever others may see it.
        unsafe { AtomicU8::from_ptr(base.add(1)) }
    }

    #[inline]
    fn expiry_word(&self, unit: Unit) -> &AtomicU32 {
        let base = self.base(unit, 8);
        // SAFETY: within the region; units and offset 4 are multiples of four; accessed atomically once published.
        unsafe { AtomicU32::from_ptr(base.add(4).cast()) }
    }

    /// A word of the header.
    #[inline]
    fn word(&self, unit: Unit, at: usize) -> u32 {
        let base = self.base(unit, at + 4);
        // SAFETY: within the region, aligned as all header words are; immutable once published.
        unsafe { base.add(at).cast::<u32>().read() }
    }

    #[inline]
    fn key_len(&self, unit: Unit) -> usize {
        // SAFETY: within the region; immutable once published.
        usize::from(unsafe { self.base(unit, UNIT_BYTES).read() })
    }

    #[inline]
    fn value_len(&self, unit: Unit, shape: u8) -> usize {
        if shape & LONG != 0 {
            return self.word(unit, item::long_at(shape)) as usize;
        }
        // SAFETY: bytes 2 and 3 are within the region, aligned, immutable once published.
        usize::from(unsafe { self.base(unit, UNIT_BYTES).add(2).cast::<u16>().read() })
    }

    /// Bytes of the item; they do not change while the caller may read.
    #[inline]
    fn bytes_at(&self, unit: Unit, at: usize, len: usize) -> &[u8] {
        let base = self.base(unit, at + len);
        // SAFETY: within the region; key and value are immutable from publication until nobody can read them.
        unsafe { std::slice::from_raw_parts(base.add(at), len) }
    }

    /// Whether the item has this key.
    #[inline]
    pub fn key_is(&self, unit: Unit, key: &[u8]) -> bool {
        let shape = self.shape(unit).load(Relaxed);
        self.key_len(unit) == key.len() && self.bytes_at(unit, item::header_bytes(shape), key.len()) == key
    }

    /// The item's key.
    pub fn key(&self, unit: Unit) -> &[u8] {
        let shape = self.shape(unit).load(Relaxed);
        self.bytes_at(unit, item::header_bytes(shape), self.key_len(unit))
    }

    /// The whole item.
    #[inline]
    pub fn item(&self, unit: Unit) -> Item<'_> {
        let shape = self.shape(unit).load(Relaxed);
        let header = item::header_bytes(shape);
        let (key_len, value_len) = (self.key_len(unit), self.value_len(unit, shape));
        let (key, value) = self.bytes_at(unit, header, key_len + value_len).split_at(key_len);
        let flags = if shape & FLAGS != 0 { self.word(unit, item::flags_at(shape)) } else { 0 };
        let mut cas = u64::from(self.word(unit, item::cas_at(shape)));
        if shape & WIDE_CAS != 0 {
            cas |= u64::from(self.word(unit, item::cas_at(shape) + 4)) << 32;
        }
        let bits = if shape & BITS != 0 { self.bytes_at(unit, header - 1, 1)[0] } else { 0 };
        Item { key, value, flags, expiry: self.expiry_of(unit, shape), cas, bits: ItemBits(bits) }
    }

    #[inline]
    fn expiry_of(&self, unit: Unit, shape: u8) -> Expiry {
        if shape & EXPIRY == 0 { Expiry::NEVER } else { Expiry::from_raw(self.expiry_word(unit).load(Relaxed)) }
    }

    /// When the item ends.
    #[inline]
    pub fn expiry(&self, unit: Unit) -> Expiry {
        self.expiry_of(unit, self.shape(unit).load(Relaxed))
    }

    /// Sets the expiry in place, if there is room for one.
    pub fn set_expiry(&self, unit: Unit, expiry: Expiry) -> bool {
        if self.shape(unit).load(Relaxed) & EXPIRY == 0 {
            return expiry == Expiry::NEVER;
        }
        self.expiry_word(unit).store(expiry.raw(), Relaxed);
        true
    }

    /// Notes that the item was read: a store only the first time, so that hot items stay in every core's cache.
    #[inline]
    pub fn note_read(&self, unit: Unit) {
        let shape = self.shape(unit);
        if shape.load(Relaxed) & RECENT == 0 {
            shape.fetch_or(RECENT | FETCHED, Relaxed);
        }
    }

    /// Forgets that the item was read lately.
    pub fn forget_read(&self, unit: Unit) {
        self.shape(unit).fetch_and(!RECENT, Relaxed);
    }

    /// Marks an item no index entry leads to.
    pub fn set_dead(&self, unit: Unit) {
        self.shape(unit).fetch_or(DEAD, Relaxed);
    }

    /// What stands at `unit`, for a walk.
    #[inline]
    pub fn head(&self, unit: Unit) -> Head {
        let key_len = self.key_len(unit);
        if key_len == 0 {
            return Head { shape: DEAD, bytes: UNIT_BYTES, dead: true };
        }
        let shape = self.shape(unit).load(Relaxed);
        let bytes = item::item_bytes(shape, key_len, self.value_len(unit, shape));
        Head { shape, bytes, dead: shape & DEAD != 0 }
    }

    /// Writes an item into memory only the writer knows.
    pub fn write(&self, unit: Unit, put: &Put<'_>, plan: Plan) {
        let base = self.base(unit, plan.bytes);
        let (header, length) = item::header(put, plan.shape);
        let mut at = 0;
        for part in [&header[..length], put.key, put.value[0], put.value[1]] {
            assert!(at + part.len() <= plan.bytes, "an item larger than planned");
            // SAFETY: the target is within the region, just checked, and known to the writer alone; the source is
            // a borrowed slice, which the arena's unpublished memory never is.
            unsafe { std::ptr::copy_nonoverlapping(part.as_ptr(), base.add(at), part.len()) };
            at += part.len();
        }
    }

    /// Flips a bit of an item's value, as failing memory would.
    #[cfg(any(test, feature = "mutations"))]
    pub fn flip_bit(&self, unit: Unit, bit: usize) {
        let shape = self.shape(unit).load(Relaxed);
        assert!(bit / 8 < self.value_len(unit, shape), "outside the value");
        let at = item::header_bytes(shape) + self.key_len(unit) + bit / 8;
        let base = self.base(unit, at + 1);
        // SAFETY: within the region and the item. Others may be reading it, which is what failing memory does to them: only
        // tests call this, in one thread.
        unsafe { *base.add(at) ^= 1 << (bit % 8) };
    }

    /// Copies an item into memory only the writer knows; the copy has not been read lately.
    pub fn copy(&self, from: Unit, to: Unit, bytes: usize) {
        let shape = self.shape(from).load(Relaxed) & !RECENT;
        let (source, target) = (self.base(from, bytes), self.base(to, bytes));
        assert!(from.byte().abs_diff(to.byte()) >= bytes, "an item is copied onto itself");
        // SAFETY: both within the region, apart from each other; the target is known to the writer alone. Of the
        // source only the shape byte may be changed by others, and it is left out.
        unsafe {
            target.write(source.read());
            std::ptr::copy_nonoverlapping(source.add(2), target.add(2), bytes - 2);
            target.add(1).write(shape);
        }
    }

    /// Writes a filler into memory only the writer knows.
    pub fn fill(&self, unit: Unit) {
        // SAFETY: within the region, aligned, known to the writer alone.
        unsafe { self.base(unit, UNIT_BYTES).cast::<u32>().write(0) };
    }

    /// Has the first two lines of an item fetched.
    #[inline]
    pub fn prefetch(&self, unit: Unit) {
        let base = self.region.base().as_ptr().wrapping_add(unit.byte());
        prefetch(base);
        prefetch(base.wrapping_add(64));
    }

    /// Lets the kernel take the pages of memory nobody reads.
    pub fn give_back(&self, at: usize, len: usize) {
        self.region.give_back(at, len);
    }
}

/// Asks for the cache line `address` lies in; any address will do.
#[inline]
pub(super) fn prefetch(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch is a hint and faults on no address; the instruction is part of the architecture's baseline.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}
