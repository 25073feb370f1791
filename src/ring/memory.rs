#![allow(unsafe_code, reason = "maps and unmaps memory")]
//! The store's memory: reserved address space that becomes resident as it is touched, in huge pages where allowed.
//!
//! Owns nothing; the regions it makes unmap themselves. The only place that maps memory.

use std::ptr::NonNull;

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

use crate::store::{Region, RegionError};

/// Maps a region of zeroed memory. Nothing of it is resident yet, and it does not count as committed.
///
/// # Errors
/// When the kernel gives no such address space.
pub fn region(bytes: usize) -> Result<Region, RegionError> {
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
    // SAFETY: a new anonymous mapping at an address the kernel chooses touches no existing memory.
    let mapped = unsafe { mmap_anonymous(std::ptr::null_mut(), bytes, ProtFlags::READ | ProtFlags::WRITE, flags) };
    let address = mapped.map_err(|errno| RegionError { errno: errno.raw_os_error(), bytes })?;
    let base = NonNull::new(address.cast::<u8>()).expect("the kernel maps nothing at address zero unasked");
    // SAFETY: the range is the mapping just made; huge pages change nothing but speed, so a refusal does not matter.
    let _ = unsafe { madvise(address, bytes, Advice::LinuxHugepage) };
    // SAFETY: the mapping is page-aligned, zeroed, readable and writable, and nobody else knows of it.
    Ok(unsafe { Region::from_raw(base, bytes, unmap, give_back) })
}

fn unmap(base: NonNull<u8>, len: usize) {
    // SAFETY: called once, by the region that owns this whole mapping.
    let unmapped = unsafe { munmap(base.as_ptr().cast(), len) };
    assert!(unmapped.is_ok(), "a mapping of ours cannot be unmapped: {unmapped:?}");
}

fn give_back(base: NonNull<u8>, len: usize) {
    // SAFETY: a part of a mapping made above that nobody reads; it reads as zeros afterwards.
    let given = unsafe { madvise(base.as_ptr().cast(), len, Advice::LinuxDontNeed) };
    assert!(given.is_ok(), "a range of ours cannot be given back: {given:?}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terabyte_costs_nothing_until_it_is_touched() {
        let region = region(1 << 40).expect("address space");
        assert_eq!(region.len(), 1 << 40);
    }
}
