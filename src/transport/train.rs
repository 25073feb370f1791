//! The datagrams of one turn to one peer, one behind the other, so that the kernel takes many in one call (`UDP_SEGMENT`).

use std::ops::Range;

/// See the module.
#[derive(Debug, Default)]
pub struct Train {
    /// All of them.
    pub bytes: Vec<u8>,
    ends: Vec<usize>,
}

/// Neighbours that one call sends: all of `segment` bytes but the last, which may be shorter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Where they stand in the train.
    pub range: Range<usize>,
    /// Bytes of each but the last.
    pub segment: usize,
}

impl Train {
    /// Empties it and keeps its memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// Whether nothing is in it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// What was written since the last end is a datagram.
    pub(super) fn end(&mut self) {
        assert!(self.bytes.len() > self.start(), "a datagram has bytes");
        self.ends.push(self.bytes.len());
    }

    /// Where the next datagram begins.
    pub(super) fn start(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }

    /// Each datagram.
    pub fn datagrams(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| &self.bytes[start..end])
    }

    /// The runs that the kernel takes, of at most so many datagrams and bytes each.
    pub fn runs(&self, datagrams_max: usize, bytes_max: usize) -> impl Iterator<Item = Run> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let start = if at == 0 { 0 } else { self.ends[at - 1] };
            let mut end = *self.ends.get(at)?;
            let segment = end - start;
            let first = at;
            at += 1;
            while at < self.ends.len() && at - first < datagrams_max {
                let next = self.ends[at] - end;
                let whole = end - start == (at - first) * segment;
                if next > segment || !whole || self.ends[at] - start > bytes_max {
                    break;
                }
                end = self.ends[at];
                at += 1;
            }
            Some(Run { range: start..end, segment })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn train(lengths: &[usize]) -> Train {
        let mut train = Train::default();
        for &length in lengths {
            train.bytes.resize(train.bytes.len() + length, 0);
            train.end();
        }
        train
    }

    #[test]
    fn a_run_is_of_equal_datagrams_and_a_shorter_last_one() {
        let runs = |lengths: &[usize]| -> Vec<(usize, usize)> {
            train(lengths).runs(4, 1000).map(|run| (run.range.len(), run.segment)).collect()
        };
        assert_eq!(runs(&[]), []);
        assert_eq!(runs(&[10]), [(10, 10)]);
        assert_eq!(runs(&[10, 10, 4]), [(24, 10)]);
        assert_eq!(runs(&[10, 4, 10, 10]), [(14, 10), (20, 10)], "nothing follows a short one");
        assert_eq!(runs(&[4, 10, 10]), [(4, 4), (20, 10)]);
        assert_eq!(runs(&[10; 9]), [(40, 10), (40, 10), (10, 10)], "so many datagrams");
        assert_eq!(runs(&[400; 5]), [(800, 400), (800, 400), (400, 400)], "so many bytes");
        assert_eq!(train(&[3, 5]).datagrams().map(<[u8]>::len).collect::<Vec<_>>(), [3, 5]);
    }
}
