//! One number over everything in the store, the same on every replica that holds the same: the sum of a hash of each item,
//! so that no order matters and a change costs one item's hash. Only kept when it was switched on.

use super::arena::Unit;
use super::index::unit_of;
use super::{Item, writer::Writer};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// An item's part of the digest. Its seed is fixed: servers draw the seeds of their indices each for itself.
#[must_use]
pub fn item_digest(item: &Item<'_>) -> u64 {
    let mut rest = [0; 18];
    rest[..8].copy_from_slice(&item.cas.to_le_bytes());
    rest[8..12].copy_from_slice(&item.flags.to_le_bytes());
    rest[12..16].copy_from_slice(&item.expiry.raw().to_le_bytes());
    rest[16] = item.bits.0;
    // where the key ends and the value begins
    rest[17] = item.key.len() as u8;
    let seed = xxh3_64_with_seed(item.key, xxh3_64_with_seed(&rest, 0));
    xxh3_64_with_seed(item.value, seed)
}

impl Writer {
    /// Keeps the digest from now on. It costs a hash of every item that comes or goes.
    pub fn keep_digest(&mut self) {
        self.digest = Some(self.digest_in_full());
        self.scrub = None;
    }

    /// The digest of all items that no flush has hidden, expired ones included; nothing when it is not kept.
    #[must_use]
    pub const fn digest(&self) -> Option<u64> {
        self.digest
    }

    /// The same, from every item anew.
    #[must_use]
    pub fn digest_in_full(&self) -> u64 {
        let mut digest = 0u64;
        self.table.each(&self.shared.index, |_, slot| {
            let unit = unit_of(slot);
            if self.shared.clock.visible(unit) {
                digest = digest.wrapping_add(item_digest(&self.shared.arena.item(unit)));
            }
        });
        digest
    }

    /// An item came. Only called while the digest is kept, so that a server alone pays for no more than asking.
    #[cold]
    pub(super) fn digest_came(&mut self, unit: Unit) {
        self.digest_changes(unit, u64::wrapping_add);
    }

    /// An item goes.
    #[cold]
    pub(super) fn digest_goes(&mut self, unit: Unit) {
        self.digest_changes(unit, u64::wrapping_sub);
    }

    fn digest_changes(&mut self, unit: Unit, change: fn(u64, u64) -> u64) {
        if self.shared.clock.visible(unit) {
            let of = item_digest(&self.shared.arena.item(unit));
            self.digest = self.digest.map(|digest| change(digest, of));
            if let Some(scrub) = self.scrub.as_mut().filter(|scrub| scrub.has(self.shared.arena.hash(unit))) {
                scrub.sum = change(scrub.sum, of);
            }
        }
    }

    /// A flush has hidden items: mostly all there were.
    pub(super) fn digest_flushed(&mut self) {
        if self.digest.is_some() {
            self.digest = Some(if self.items == 0 { 0 } else { self.digest_in_full() });
            self.scrub = None;
        }
    }
}
