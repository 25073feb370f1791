//! What stands in a payload, one chunk behind the other: an ack of datagrams, a whole message, a piece of a message.

use super::ranges::Ranges;
use crate::config;

/// Kinds of chunks, their first byte.
const ACK: u8 = 1;
const MESSAGE: u8 = 2;
const PIECE: u8 = 3;

/// Bytes before the ranges of an ack, and of each range.
const ACK_BYTES: usize = 2;
const RANGE_BYTES: usize = 16;
/// Bytes before the bytes of a message.
pub const MESSAGE_BYTES: usize = 5;
/// Bytes before the bytes of a piece.
pub const PIECE_BYTES: usize = 21;

/// Where a piece stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The message's number, counted by its sender for this receiver.
    pub message: u64,
    /// Bytes of the whole message.
    pub total: u32,
    /// The piece's first byte.
    pub offset: u32,
}

/// See the module.
#[derive(Debug, PartialEq, Eq)]
pub enum Chunk<'a> {
    Ack(Ranges),
    Message(&'a [u8]),
    Piece(Place, &'a [u8]),
}

pub const fn ack_bytes(ranges: usize) -> usize {
    ACK_BYTES + ranges * RANGE_BYTES
}

/// At most `config::ACK_RANGES_MAX` ranges, at least one.
pub fn put_ack(out: &mut Vec<u8>, ranges: &Ranges) {
    assert!((1..=config::ACK_RANGES_MAX).contains(&ranges.len()), "the caller keeps so many");
    out.extend_from_slice(&[ACK, ranges.len() as u8]);
    for range in ranges.iter() {
        out.extend_from_slice(&range.start.to_le_bytes());
        out.extend_from_slice(&range.end.to_le_bytes());
    }
}

pub fn put_message(out: &mut Vec<u8>, message: &[u8]) {
    out.push(MESSAGE);
    out.extend_from_slice(&(message.len() as u32).to_le_bytes());
    out.extend_from_slice(message);
}

pub fn put_piece(out: &mut Vec<u8>, place: Place, bytes: &[u8]) {
    out.push(PIECE);
    out.extend_from_slice(&place.message.to_le_bytes());
    for word in [place.total, place.offset, bytes.len() as u32] {
        out.extend_from_slice(&word.to_le_bytes());
    }
    out.extend_from_slice(bytes);
}

/// The chunks of a payload; `Err` where it is none of ours.
pub struct Chunks<'a>(pub &'a [u8]);

impl<'a> Chunks<'a> {
    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take(4).map(|bytes| u32::from_le_bytes(bytes.try_into().expect("four bytes")))
    }

    fn u64(&mut self) -> Option<u64> {
        self.take(8).map(|bytes| u64::from_le_bytes(bytes.try_into().expect("eight bytes")))
    }

    fn ack(&mut self) -> Option<Chunk<'a>> {
        let count = usize::from(self.take(1)?[0]);
        if !(1..=config::ACK_RANGES_MAX).contains(&count) {
            return None;
        }
        let mut ranges = Ranges::default();
        for _ in 0..count {
            let (start, end) = (self.u64()?, self.u64()?);
            if start >= end {
                return None;
            }
            ranges.insert(start..end);
        }
        (ranges.len() == count).then_some(Chunk::Ack(ranges))
    }

    fn message(&mut self) -> Option<Chunk<'a>> {
        let bytes = self.u32()?;
        self.take(bytes as usize).map(Chunk::Message)
    }

    fn piece(&mut self) -> Option<Chunk<'a>> {
        let place = Place { message: self.u64()?, total: self.u32()?, offset: self.u32()? };
        let length = self.u32()?;
        let bytes = self.take(length as usize)?;
        let within = place.offset.checked_add(length).is_some_and(|end| end <= place.total);
        let bounded = place.total as usize <= config::MESSAGE_BYTES_MAX;
        (length > 0 && within && bounded).then_some(Chunk::Piece(place, bytes))
    }
}

/// A payload that no sender makes.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed;

impl<'a> Iterator for Chunks<'a> {
    type Item = Result<Chunk<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let kind = *self.take(1)?.first()?;
        let chunk = match kind {
            ACK => self.ack(),
            MESSAGE => self.message(),
            PIECE => self.piece(),
            _ => None,
        };
        if chunk.is_none() {
            self.0 = &[];
        }
        Some(chunk.ok_or(Malformed))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn chunks_come_back_as_they_were() {
        let mut payload = Vec::new();
        let mut ranges = Ranges::default();
        ranges.insert(1..4);
        ranges.insert(7..8);
        put_ack(&mut payload, &ranges);
        assert_eq!(payload.len(), ack_bytes(2));
        put_message(&mut payload, b"beacon");
        let place = Place { message: 3, total: 10, offset: 4 };
        put_piece(&mut payload, place, b"xy");
        assert_eq!(payload.len(), ack_bytes(2) + MESSAGE_BYTES + 6 + PIECE_BYTES + 2);
        let chunks: Vec<_> = Chunks(&payload).collect();
        let expected = [Ok(Chunk::Ack(ranges)), Ok(Chunk::Message(b"beacon")), Ok(Chunk::Piece(place, b"xy"))];
        assert_eq!(chunks, expected);
        for cut in 1..payload.len() {
            let whole = Chunks(&payload[..cut]).all(|chunk| chunk.is_ok());
            let at_an_end = [ack_bytes(2), ack_bytes(2) + MESSAGE_BYTES + 6].contains(&cut);
            assert_eq!(whole, at_an_end, "cut at {cut}");
        }
    }

    #[test]
    fn what_no_sender_says_is_refused() {
        let piece = |total: u32, offset: u32, bytes: &[u8]| {
            let mut out = Vec::new();
            put_piece(&mut out, Place { message: 1, total, offset }, bytes);
            Chunks(&out).all(|chunk| chunk.is_ok())
        };
        assert!(piece(4, 2, b"ab"));
        assert!(!piece(4, 3, b"ab"), "beyond the message's end");
        assert!(!piece(4, u32::MAX, b"ab"), "an offset that overflows");
        assert!(!piece(4, 2, b""), "an empty piece");
        assert!(!piece(u32::MAX, 0, b"ab"), "a message larger than any");
        assert_eq!(Chunks(&[9]).next(), Some(Err(Malformed)));
        assert_eq!(Chunks(&[ACK, 0]).next(), Some(Err(Malformed)), "an ack of nothing");
    }

    proptest! {
        #[test]
        fn no_payload_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let chunks = Chunks(&bytes).count();
            prop_assert!(chunks <= bytes.len());
        }
    }
}
