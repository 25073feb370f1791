//! Versions of what one thread writes, and how old a value may be that is read: what a write was known to have replaced
//! before the read was sent must not come back. Judges only where the order is certain; writes of one key that
//! overlapped, or whose outcome nobody knows, settle nothing.

/// Versions of one thread's writes.
pub struct Freshness {
    next_version: u64,
    /// By key number; empty when nothing is to be judged.
    keys: Vec<Key>,
}

#[derive(Clone, Copy, Default)]
struct Key {
    /// Versions of ours below this one were replaced.
    floor: u64,
    /// Writes sent and not settled; those with unknown outcomes stay for ever.
    unsettled: u32,
}

/// A write that was given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Write {
    /// Of this thread's writes, the how manyth, from 1.
    pub version: u64,
    /// No other write of the key was under way when it was sent, so it replaces all that came before it.
    alone: bool,
}

impl Freshness {
    /// For so many keys; none when nothing is to be judged.
    pub fn new(keys: usize) -> Self {
        Self { next_version: 1, keys: vec![Key::default(); keys] }
    }

    /// A write of this key is sent.
    #[inline]
    pub fn write(&mut self, key: u32) -> Write {
        let version = self.next_version;
        self.next_version += 1;
        let alone = self.keys.get_mut(key as usize).is_none_or(|key| {
            key.unsettled = key.unsettled.saturating_add(1);
            key.unsettled == 1
        });
        Write { version, alone }
    }

    /// The write took place and was acknowledged.
    #[inline]
    pub fn acknowledged(&mut self, key: u32, write: Write) {
        if let Some(key) = self.keys.get_mut(key as usize) {
            key.unsettled -= 1;
            if write.alone {
                key.floor = key.floor.max(write.version);
            }
        }
    }

    /// The write did not take place.
    pub fn refused(&mut self, key: u32) {
        if let Some(key) = self.keys.get_mut(key as usize) {
            key.unsettled -= 1;
        }
    }

    /// The oldest version of ours that a read sent now may return; 0 when any may be.
    #[inline]
    pub fn floor(&self, key: u32) -> u64 {
        self.keys.get(key as usize).map_or(0, |key| key.floor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_was_alone_replaces_what_came_before_once_it_is_acknowledged() {
        let mut freshness = Freshness::new(2);
        let first = freshness.write(1);
        assert_eq!((first.version, freshness.floor(1)), (1, 0));
        freshness.acknowledged(1, first);
        assert_eq!((freshness.floor(0), freshness.floor(1)), (0, 1));
        let second = freshness.write(1);
        freshness.refused(1);
        assert_eq!(freshness.floor(1), 1, "{second:?} did not take place");
    }

    #[test]
    fn writes_that_overlap_settle_nothing_about_each_other() {
        let mut freshness = Freshness::new(1);
        let (first, second) = (freshness.write(0), freshness.write(0));
        freshness.acknowledged(0, second);
        assert_eq!(freshness.floor(0), 0, "the first may have come after it");
        freshness.acknowledged(0, first);
        assert_eq!(freshness.floor(0), 1, "both came after all that was before the first");
        let third = freshness.write(0);
        freshness.acknowledged(0, third);
        assert_eq!(freshness.floor(0), 3);
    }

    #[test]
    fn a_write_of_unknown_outcome_may_take_place_at_any_time() {
        let mut freshness = Freshness::new(1);
        let _lost = freshness.write(0);
        let next = freshness.write(0);
        freshness.acknowledged(0, next);
        assert_eq!(freshness.floor(0), 0);
    }

    #[test]
    fn without_keys_versions_are_given_all_the_same() {
        let mut freshness = Freshness::new(0);
        let write = freshness.write(9);
        freshness.acknowledged(9, write);
        assert_eq!((write.version, freshness.write(9).version, freshness.floor(9)), (1, 2, 0));
    }
}
