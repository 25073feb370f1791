//! Reads a keystore from bytes that come in pieces of any size.

use std::fmt;

use super::layout::{self, chunk, header, kind};
use super::{End, Header};
use crate::cluster::{EpochStart, Mark};
use crate::log::layout::{Field, get};
use crate::log::{Entry, EntryFault, Epoch, LogId, LogIndex, Position};
use crate::store::{Item, ItemBits};
use crate::time::{Seconds, Time};

/// Why bytes are not a keystore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeystoreFault {
    /// They start with something else.
    Magic,
    /// Some byte is not what was written.
    Checksum,
    /// A version that this program does not know.
    Version(u16),
    /// A field of the header says what no keystore says.
    Header(&'static str),
    /// A chunk does not follow the one before it.
    Chunk(&'static str),
    /// Epochs are not in order, or not those below the start mark.
    Epochs,
    /// An item is none.
    Item(EntryFault),
    /// An entry that is no item.
    NoItem,
    /// The end does not fit what came before it.
    End(&'static str),
}

impl fmt::Display for KeystoreFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic => f.write_str("this is not a keystore"),
            Self::Checksum => f.write_str("a checksum in the keystore is wrong"),
            Self::Version(version) => {
                write!(f, "the keystore is of version {version}, this program knows version {}", layout::VERSION)
            }
            Self::Header(what) => write!(f, "the keystore's header has {what}"),
            Self::Chunk(what) => write!(f, "a chunk of the keystore has {what}"),
            Self::Epochs => f.write_str("the keystore's epochs are not those below its start mark"),
            Self::Item(fault) => write!(f, "the keystore holds what is no item: {fault}"),
            Self::NoItem => f.write_str("the keystore holds an entry that is no item"),
            Self::End(what) => write!(f, "the keystore's end has {what}"),
        }
    }
}

/// A whole part of a keystore.
#[derive(Clone, Debug)]
pub enum Piece<'a> {
    /// The first.
    Header(Header),
    /// Where some of the epochs begin.
    Epochs(Vec<EpochStart>),
    /// Some of the items.
    Items(Items<'a>),
    /// The last.
    End(End),
}

/// What a step came to.
#[derive(Clone, Debug)]
pub enum Step<'a> {
    /// So many bytes from the same place on are needed, at least.
    Need {
        /// In all, not on top of what is there.
        bytes: usize,
    },
    /// A part, and how many bytes it took.
    Piece {
        /// The part.
        piece: Piece<'a>,
        /// Its bytes.
        consumed: usize,
    },
}

/// What has been read of a keystore. After a fault it is of no use.
#[derive(Debug, Default)]
pub struct Decoder {
    header: Option<Header>,
    /// The next chunk's.
    number: u64,
    epochs: u32,
    last_epoch: Option<EpochStart>,
    items: u64,
    ended: bool,
}

struct ChunkHeader {
    kind: u32,
    count: u32,
    body_bytes: usize,
    body_checksum: u32,
}

fn u32_of(bytes: &[u8], field: Field) -> u32 {
    u32::from_le_bytes(get(bytes, field))
}

fn u64_of(bytes: &[u8], field: Field) -> u64 {
    u64::from_le_bytes(get(bytes, field))
}

fn numbers<const N: usize>(bytes: &[u8]) -> [u64; N] {
    let mut numbers = [0; N];
    for (number, bytes) in numbers.iter_mut().zip(bytes.chunks_exact(8)) {
        *number = u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
    }
    numbers
}

impl Decoder {
    /// Of a keystore of which nothing was read.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether its end was read.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.ended
    }

    /// Reads the part at the start of `bytes`.
    ///
    /// # Errors
    /// When what is there is no part of a keystore, or not the next.
    pub fn step<'a>(&mut self, bytes: &'a [u8]) -> Result<Step<'a>, KeystoreFault> {
        assert!(!self.ended, "nothing follows the end");
        let Some(keystore) = self.header else {
            let Some(bytes) = bytes.get(..header::BYTES) else { return Ok(Step::Need { bytes: header::BYTES }) };
            let keystore = decode_header(bytes)?;
            self.header = Some(keystore);
            return Ok(Step::Piece { piece: Piece::Header(keystore), consumed: header::BYTES });
        };
        let Some(head) = bytes.get(..chunk::BYTES) else { return Ok(Step::Need { bytes: chunk::BYTES }) };
        let head = self.decode_chunk(head)?;
        let consumed = chunk::BYTES + head.body_bytes;
        let Some(body) = bytes.get(chunk::BYTES..consumed) else { return Ok(Step::Need { bytes: consumed }) };
        if crc32c::crc32c(body) != head.body_checksum {
            return Err(KeystoreFault::Checksum);
        }
        self.number += 1;
        let piece = match head.kind {
            kind::EPOCHS => Piece::Epochs(self.decode_epochs(&keystore, body)?),
            kind::ITEMS => {
                self.items += u64::from(head.count);
                Piece::Items(Items { rest: body, left: head.count })
            }
            _ => Piece::End(self.decode_end(&keystore, body)?),
        };
        Ok(Step::Piece { piece, consumed })
    }

    fn decode_chunk(&self, head: &[u8]) -> Result<ChunkHeader, KeystoreFault> {
        if get(head, chunk::MAGIC) != chunk::MAGIC_BYTES {
            return Err(KeystoreFault::Chunk("another beginning"));
        }
        if u32_of(head, chunk::CHECKSUM) != crc32c::crc32c(&head[chunk::CHECKSUM.end()..]) {
            return Err(KeystoreFault::Checksum);
        }
        let (kind, count) = (u32_of(head, chunk::KIND), u32_of(head, chunk::COUNT));
        let body_bytes = u32_of(head, chunk::BODY_BYTES) as usize;
        let epochs_left = self.header.expect("a chunk follows the header").epochs - self.epochs;
        let fits = match kind {
            kind::EPOCHS => count <= epochs_left && body_bytes == count as usize * layout::EPOCH_BYTES,
            kind::ITEMS => epochs_left == 0,
            kind::END => epochs_left == 0 && count == 1 && body_bytes == layout::END_BYTES,
            _ => return Err(KeystoreFault::Chunk("a kind that this version does not know")),
        };
        if !fits || count == 0 || body_bytes > layout::BODY_BYTES_MAX {
            return Err(KeystoreFault::Chunk("a size that its kind cannot have here"));
        }
        if u64_of(head, chunk::NUMBER) != self.number {
            return Err(KeystoreFault::Chunk("another number than the next"));
        }
        Ok(ChunkHeader { kind, count, body_bytes, body_checksum: u32_of(head, chunk::BODY_CHECKSUM) })
    }

    fn decode_epochs(&mut self, keystore: &Header, body: &[u8]) -> Result<Vec<EpochStart>, KeystoreFault> {
        let mut starts = Vec::with_capacity(body.len() / layout::EPOCH_BYTES);
        for bytes in body.chunks_exact(layout::EPOCH_BYTES) {
            let [epoch, first_index, position] = numbers(bytes);
            let start =
                EpochStart { epoch: Epoch(epoch), first_index: LogIndex(first_index), position: Position(position) };
            let grows = match self.last_epoch {
                None => epoch > 0 && first_index > 0,
                Some(last) => {
                    start.epoch > last.epoch && start.first_index > last.first_index && start.position > last.position
                }
            };
            let below = start.position < keystore.start.position && start.first_index <= keystore.start.index;
            if !grows || !below {
                return Err(KeystoreFault::Epochs);
            }
            self.last_epoch = Some(start);
            self.epochs += 1;
            starts.push(start);
        }
        let whole = self.epochs == keystore.epochs;
        if whole && self.last_epoch.is_none_or(|last| last.epoch != keystore.start.epoch) {
            return Err(KeystoreFault::Epochs);
        }
        Ok(starts)
    }

    fn decode_end(&mut self, keystore: &Header, body: &[u8]) -> Result<End, KeystoreFault> {
        let [epoch, index, position, items] = numbers(body);
        let consistent = Mark { epoch: Epoch(epoch), index: LogIndex(index), position: Position(position) };
        if consistent.fault().is_some() {
            return Err(KeystoreFault::End("a mark that is none"));
        }
        let Mark { epoch, index, position } = keystore.start;
        let behind = consistent.epoch >= epoch && consistent.index >= index && consistent.position >= position;
        if !behind || (consistent.index == index) != (consistent.position == position) {
            return Err(KeystoreFault::End("a mark before the start"));
        }
        if items != self.items {
            return Err(KeystoreFault::End("another number of items than there were"));
        }
        self.ended = true;
        Ok(End { consistent, items })
    }
}

fn decode_header(bytes: &[u8]) -> Result<Header, KeystoreFault> {
    if get(bytes, header::MAGIC) != header::MAGIC_BYTES {
        return Err(KeystoreFault::Magic);
    }
    if u32_of(bytes, header::CHECKSUM) != crc32c::crc32c(&bytes[header::CHECKSUM.end()..]) {
        return Err(KeystoreFault::Checksum);
    }
    let version = u16::from_le_bytes(get(bytes, header::VERSION));
    let header_bytes = u16::from_le_bytes(get(bytes, header::HEADER_BYTES));
    if version != layout::VERSION || usize::from(header_bytes) != header::BYTES {
        return Err(KeystoreFault::Version(version));
    }
    let start = Mark {
        epoch: Epoch(u64_of(bytes, header::EPOCH)),
        index: LogIndex(u64_of(bytes, header::INDEX)),
        position: Position(u64_of(bytes, header::POSITION)),
    };
    let (flush_at, epochs) = (u32_of(bytes, header::FLUSH_AT), u32_of(bytes, header::EPOCHS));
    if start.fault().is_some() {
        return Err(KeystoreFault::Header("a start mark that is none"));
    }
    if (epochs == 0) != (start.epoch.0 == 0) || u64::from(epochs) > start.epoch.0 {
        return Err(KeystoreFault::Header("another number of epochs than its start mark can have"));
    }
    Ok(Header {
        log_id: LogId(u128::from_le_bytes(get(bytes, header::LOG_ID))),
        start,
        last_time: Time(u64_of(bytes, header::TIME)),
        flush_at: (flush_at != 0).then_some(Seconds(flush_at)),
        epochs,
    })
}

/// The items of a chunk. After a fault it ends.
#[derive(Clone, Debug)]
pub struct Items<'a> {
    rest: &'a [u8],
    left: u32,
}

impl<'a> Items<'a> {
    /// Those that are left, as bytes, and how many they are: `resume` goes on with them.
    #[must_use]
    pub const fn rest(&self) -> (&'a [u8], u32) {
        (self.rest, self.left)
    }

    /// Goes on with what `rest` said.
    #[must_use]
    pub const fn resume(rest: &'a [u8], left: u32) -> Self {
        Self { rest, left }
    }

    fn take(&mut self) -> Result<Item<'a>, KeystoreFault> {
        let (entry, rest) = Entry::decode(self.rest).map_err(KeystoreFault::Item)?;
        let Entry::Put { key, value, flags, expiry, cas: Some(cas), bits } = entry else {
            return Err(KeystoreFault::NoItem);
        };
        self.rest = rest;
        self.left -= 1;
        if self.left == 0 && !rest.is_empty() {
            return Err(KeystoreFault::Item(EntryFault::Surplus(rest.len())));
        }
        Ok(Item { key, value, flags, expiry, cas, bits: ItemBits(bits) })
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Result<Item<'a>, KeystoreFault>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        let taken = self.take();
        if taken.is_err() {
            self.left = 0;
        }
        Some(taken)
    }
}
