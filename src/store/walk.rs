//! Walks over all items in slices, while the store changes in between.
//!
//! The walk goes through the buckets upwards. An item that lives for the whole walk is missed by no slice: it leaves a bucket
//! only by a split, which moves it into a bucket behind all there were, so that the walk still comes to it; and when its memory
//! is moved, its entry stays where it is. It may be met twice. What comes, goes or changes meanwhile may be met or not.

use super::index::unit_of;
use super::table;
use super::{Item, writer::Writer};
use crate::config::STORE_WALK_BUCKET_BYTES;

/// How far a walk has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Walk {
    bucket: u64,
    /// Buckets there were at the last slice; 0 before the first.
    seen: u64,
}

impl Writer {
    /// Goes on for about so many bytes of items, by one bucket at least: a bucket is not parted. Where the index has grown since the
    /// last slice it goes by more than was added, so that the walk comes to an end. Whether there is more.
    pub fn walk(&self, walk: &mut Walk, bytes: usize, mut visit: impl FnMut(Item<'_>)) -> bool {
        let index = &self.shared.index;
        let added = index.count() - if walk.seen == 0 { index.count() } else { walk.seen };
        let least = walk.bucket + 2 * added;
        walk.seen = index.count();
        let mut walked = 0;
        while walk.bucket < index.count() && (walked < bytes || walk.bucket < least) {
            walked += STORE_WALK_BUCKET_BYTES;
            table::each(index, walk.bucket, |slot| {
                let unit = unit_of(slot);
                if self.shared.clock.visible(unit) {
                    walked += self.shared.arena.head(unit).bytes;
                    visit(self.shared.arena.item(unit));
                }
            });
            walk.bucket += 1;
        }
        walk.bucket < index.count()
    }
}
