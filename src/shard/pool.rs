//! Buffers without content, for the next replies and for values that come in pieces. Keeping large ones saves the page faults of fresh memory, which
//! cost more than copying a large value does.

use crate::config;

/// Empty buffers of a thread.
#[derive(Default)]
pub(super) struct Pool {
    buffers: Vec<Vec<u8>>,
    /// The sum of their capacities; invariant: at most `POOLED_BYTES_MAX`.
    bytes: usize,
}

impl Pool {
    /// An empty buffer, with room if there is one.
    #[inline]
    pub(super) fn take(&mut self) -> Vec<u8> {
        let buffer = self.buffers.pop().unwrap_or_default();
        self.bytes -= buffer.capacity();
        buffer
    }

    /// Keeps a buffer's memory, unless there is enough of it.
    #[inline]
    pub(super) fn give(&mut self, mut buffer: Vec<u8>) {
        let bytes = self.bytes + buffer.capacity();
        if buffer.capacity() > 0 && bytes <= config::POOLED_BYTES_MAX && self.buffers.len() < config::POOLED_BUFFERS_MAX
        {
            buffer.clear();
            self.bytes = bytes;
            self.buffers.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_what_it_may_and_no_more() {
        let mut pool = Pool::default();
        let half = config::POOLED_BYTES_MAX / 2;
        for _ in 0..3 {
            pool.give(Vec::with_capacity(half));
        }
        assert_eq!((pool.buffers.len(), pool.bytes), (2, 2 * half));
        assert_eq!(pool.take().capacity(), half);
        pool.give(vec![1; 8]);
        assert!(pool.take().is_empty());
        assert_eq!((pool.take().capacity(), pool.take().capacity(), pool.bytes), (half, 0, 0));
    }
}
