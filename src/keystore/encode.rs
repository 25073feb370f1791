//! Writes a keystore piece by piece.

use super::layout::{self, chunk, header, kind};
use super::{End, Header};
use crate::cluster::{EpochStart, Mark};
use crate::config;
use crate::log::Entry;
use crate::log::layout::put;
use crate::store::Item;

/// Makes the bytes of one keystore. Whole chunks leave, so what was given out can be written or sent at any time.
#[derive(Debug)]
pub struct Encoder {
    /// The next chunk's.
    number: u64,
    start: Mark,
    items: u64,
    /// Items of the chunk that is being filled.
    body: Vec<u8>,
    count: u32,
}

impl Encoder {
    /// Begins a keystore whose start mark has these epochs below it.
    #[must_use]
    pub fn begin(keystore: &Header, history: &[EpochStart], out: &mut Vec<u8>) -> Self {
        assert!(history.len() == keystore.epochs as usize, "the header says how many epochs there are");
        let at = out.len();
        out.resize(at + header::BYTES, 0);
        let bytes = &mut out[at..];
        let Header { log_id, start, last_time, flush_at, epochs } = *keystore;
        put(bytes, header::MAGIC, header::MAGIC_BYTES);
        put(bytes, header::VERSION, layout::VERSION.to_le_bytes());
        put(bytes, header::HEADER_BYTES, (header::BYTES as u16).to_le_bytes());
        put(bytes, header::LOG_ID, log_id.0.to_le_bytes());
        put(bytes, header::EPOCH, start.epoch.0.to_le_bytes());
        put(bytes, header::INDEX, start.index.0.to_le_bytes());
        put(bytes, header::POSITION, start.position.0.to_le_bytes());
        put(bytes, header::TIME, last_time.0.to_le_bytes());
        put(bytes, header::FLUSH_AT, flush_at.map_or(0, |at| at.0).to_le_bytes());
        put(bytes, header::EPOCHS, epochs.to_le_bytes());
        let checksum = crc32c::crc32c(&bytes[header::CHECKSUM.end()..]);
        put(bytes, header::CHECKSUM, checksum.to_le_bytes());
        let mut encoder = Self { number: 0, start, items: 0, body: Vec::new(), count: 0 };
        for some in history.chunks(config::KEYSTORE_CHUNK_BYTES / layout::EPOCH_BYTES) {
            for epoch in some {
                for number in [epoch.epoch.0, epoch.first_index.0, epoch.position.0] {
                    encoder.body.extend_from_slice(&number.to_le_bytes());
                }
            }
            encoder.count = some.len() as u32;
            encoder.close(kind::EPOCHS, out);
        }
        encoder
    }

    /// Adds an item.
    pub fn push(&mut self, item: &Item<'_>, out: &mut Vec<u8>) {
        let Item { key, value, flags, expiry, cas, bits } = *item;
        Entry::Put { key, value, flags, expiry, cas: Some(cas), bits: bits.0 }.encode(&mut self.body);
        self.count += 1;
        self.items += 1;
        if self.body.len() >= config::KEYSTORE_CHUNK_BYTES {
            self.close(kind::ITEMS, out);
        }
    }

    /// Ends the keystore: entries up to `consistent` may be in it.
    pub fn end(mut self, consistent: Mark, out: &mut Vec<u8>) -> End {
        assert!(consistent.position >= self.start.position, "a keystore is not consistent before it begins");
        if self.count > 0 {
            self.close(kind::ITEMS, out);
        }
        for number in [consistent.epoch.0, consistent.index.0, consistent.position.0, self.items] {
            self.body.extend_from_slice(&number.to_le_bytes());
        }
        self.count = 1;
        self.close(kind::END, out);
        End { consistent, items: self.items }
    }

    fn close(&mut self, kind: u32, out: &mut Vec<u8>) {
        assert!(self.body.len() <= layout::BODY_BYTES_MAX, "a chunk is closed when it has reached its target");
        let at = out.len();
        out.resize(at + chunk::BYTES, 0);
        let bytes = &mut out[at..];
        put(bytes, chunk::MAGIC, chunk::MAGIC_BYTES);
        put(bytes, chunk::KIND, kind.to_le_bytes());
        put(bytes, chunk::COUNT, self.count.to_le_bytes());
        put(bytes, chunk::BODY_BYTES, (self.body.len() as u32).to_le_bytes());
        put(bytes, chunk::BODY_CHECKSUM, crc32c::crc32c(&self.body).to_le_bytes());
        put(bytes, chunk::NUMBER, self.number.to_le_bytes());
        let checksum = crc32c::crc32c(&bytes[chunk::CHECKSUM.end()..]);
        put(bytes, chunk::CHECKSUM, checksum.to_le_bytes());
        out.append(&mut self.body);
        self.number += 1;
        self.count = 0;
    }
}
