//! Checks what rests in the store: adds the digest up anew from every item, in slices, while the store changes, and compares it
//! with the one that is kept. They differ when something is there that no change put there, a flipped bit of memory.
//!
//! The index as it was when a round began parts all hashes into as many parts as there were buckets. The parts are added up one
//! after the other, each with all the buckets that its bucket was split into since; whatever comes or goes in a part that was added
//! up already changes the sum as it changes the digest. So growth moves nothing between what was counted and what was not.

use super::index::{part_of, parts_stride, unit_of};
use super::writer::Writer;
use super::{KeyHash, item_digest, table};
use crate::config::STORE_WALK_BUCKET_BYTES;

/// A round under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scrub {
    /// Buckets there were when it began.
    parts: u64,
    /// All parts below are added up.
    part: u64,
    pub sum: u64,
}

impl Scrub {
    /// Whether items of this hash are in the sum.
    pub const fn has(&self, hash: KeyHash) -> bool {
        part_of(hash, self.parts) < self.part
    }
}

impl Writer {
    /// Goes on for about so many bytes of items. At the end of a round: by how much the digest of what is there is above the one
    /// that is kept, 0 when all is well.
    pub fn scrub(&mut self, bytes: usize) -> Option<u64> {
        let kept = self.digest.expect("what is checked is kept");
        let index = &self.shared.index;
        let mut scrub = self.scrub.unwrap_or(Scrub { parts: index.count(), part: 0, sum: 0 });
        let mut walked = 0;
        while scrub.part < scrub.parts && walked < bytes {
            let stride = parts_stride(scrub.part, scrub.parts);
            for bucket in (scrub.part..index.count()).step_by(stride) {
                walked += STORE_WALK_BUCKET_BYTES;
                table::each(index, bucket, |slot| {
                    let unit = unit_of(slot);
                    if self.shared.clock.visible(unit) {
                        walked += self.shared.arena.head(unit).bytes;
                        scrub.sum = scrub.sum.wrapping_add(item_digest(&self.shared.arena.item(unit)));
                    }
                });
            }
            scrub.part += 1;
        }
        let done = scrub.part == scrub.parts;
        self.scrub = (!done).then_some(scrub);
        done.then(|| scrub.sum.wrapping_sub(kept))
    }
}
