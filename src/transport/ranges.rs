//! A set of numbers kept as ranges: what has come of a message, which datagrams have come.

use std::ops::Range;

/// Invariant: in order, none empty, none touching the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges(Vec<Range<u64>>);

impl Ranges {
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub const fn len(&self) -> usize {
        self.0.len()
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Range<u64>> {
        self.0.iter()
    }

    /// Whether it holds all numbers below `end`.
    pub fn is_all_below(&self, end: u64) -> bool {
        end == 0 || self.0.first().is_some_and(|first| first.start == 0 && first.end >= end)
    }

    /// How many numbers it holds.
    pub fn count(&self) -> u64 {
        self.0.iter().map(|range| range.end - range.start).sum()
    }

    pub fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        // those that overlap or touch it
        let from = self.0.partition_point(|other| other.end < range.start);
        let to = self.0.partition_point(|other| other.start <= range.end);
        if from == to {
            return self.0.insert(from, range);
        }
        self.0[from] = range.start.min(self.0[from].start)..range.end.max(self.0[to - 1].end);
        self.0.drain(from + 1..to);
    }

    pub fn remove(&mut self, range: Range<u64>) {
        let from = self.0.partition_point(|other| other.end <= range.start);
        let to = self.0.partition_point(|other| other.start < range.end);
        if range.is_empty() || from >= to {
            return;
        }
        let (first, last) = (self.0[from].start..range.start, range.end..self.0[to - 1].end);
        self.0.splice(from..to, [first, last].into_iter().filter(|rest| !rest.is_empty()));
    }

    /// The first so many numbers of the first range.
    pub fn take_first(&mut self, count: u64) -> Option<Range<u64>> {
        let first = self.0.first()?;
        let taken = first.start..first.end.min(first.start + count);
        self.remove(taken.clone());
        Some(taken)
    }

    /// Forgets the lowest ranges past `ranges`.
    pub fn keep_newest(&mut self, ranges: usize) {
        let gone = self.0.len().saturating_sub(ranges);
        self.0.drain(..gone);
    }

    pub fn check_invariants(&self) {
        assert!(self.0.iter().all(|range| range.start < range.end), "a range is empty");
        assert!(self.0.windows(2).all(|pair| pair[0].end < pair[1].start), "two ranges touch");
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_holds_what_a_set_holds(steps in proptest::collection::vec((any::<bool>(), 0u64..60, 0u64..12), 1..80)) {
            let (mut ranges, mut oracle) = (Ranges::default(), BTreeSet::new());
            for (insert, start, length) in steps {
                let range = start..start + length;
                if insert {
                    ranges.insert(range.clone());
                    oracle.extend(range);
                } else {
                    ranges.remove(range.clone());
                    oracle.retain(|number| !range.contains(number));
                }
                ranges.check_invariants();
                let held: Vec<u64> = ranges.iter().flat_map(Clone::clone).collect();
                prop_assert_eq!(&held, &oracle.iter().copied().collect::<Vec<_>>());
                prop_assert_eq!(ranges.count(), oracle.len() as u64);
                prop_assert_eq!(ranges.is_all_below(7), (0..7).all(|number| oracle.contains(&number)));
            }
        }
    }
}
