//! The records on disk: a server's and the coordinator's. Each is written whole, into a new file that replaces the old one.

use super::wire::{Rest, Writer};
use super::{CodecFault, VERSION};
use crate::cluster::configuration::{Configuration, Doubt, Incarnation, NodeId, NodeRecord};

/// The first eight bytes of a server's record.
pub const NODE_MAGIC: [u8; 8] = *b"ringnode";
/// The first eight bytes of the coordinator's record.
pub const COORDINATOR_MAGIC: [u8; 8] = *b"ringconf";
/// Bytes before what the record says: magic, checksum of all that follows it, version.
const START_BYTES: usize = 8 + 4 + 2;

/// A server's record as a file.
#[must_use]
pub fn encode_node(record: &NodeRecord) -> Vec<u8> {
    seal(NODE_MAGIC, |writer| {
        writer.u64(record.node.0);
        writer.u64(record.incarnation.0);
        writer.u8(doubt_code(record.doubt));
        writer.flag(record.configuration.is_some());
        if let Some(configuration) = &record.configuration {
            writer.configuration(configuration);
        }
    })
}

/// A server's record from its file.
///
/// # Errors
/// When it is not what this version wrote.
pub fn decode_node(bytes: &[u8]) -> Result<NodeRecord, CodecFault> {
    let mut rest = open(NODE_MAGIC, bytes)?;
    let (node, incarnation) = (NodeId(rest.u64()?), Incarnation(rest.u64()?));
    let code = rest.u8()?;
    let doubt =
        DOUBTS.into_iter().find(|&doubt| doubt_code(doubt) == code).ok_or(CodecFault::Field("a doubt that is none"))?;
    let configuration = if rest.flag()? { Some(rest.configuration()?) } else { None };
    rest.end()?;
    Ok(NodeRecord { node, incarnation, configuration, doubt })
}

const DOUBTS: [Doubt; 5] = [Doubt::None, Doubt::Tail, Doubt::Corruption, Doubt::Snapshot, Doubt::Data];

const fn doubt_code(doubt: Doubt) -> u8 {
    match doubt {
        Doubt::None => 0,
        Doubt::Tail => 1,
        Doubt::Corruption => 2,
        Doubt::Snapshot => 3,
        Doubt::Data => 4,
    }
}

/// The coordinator's record as a file.
#[must_use]
pub fn encode_configuration(configuration: &Configuration) -> Vec<u8> {
    seal(COORDINATOR_MAGIC, |writer| writer.configuration(configuration))
}

/// The coordinator's record from its file.
///
/// # Errors
/// When it is not what this version wrote.
pub fn decode_configuration(bytes: &[u8]) -> Result<Configuration, CodecFault> {
    let mut rest = open(COORDINATOR_MAGIC, bytes)?;
    let configuration = rest.configuration()?;
    rest.end()?;
    Ok(configuration)
}

fn seal(magic: [u8; 8], write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut bytes = magic.to_vec();
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    write(&mut Writer(&mut bytes));
    let checksum = crc32c::crc32c(&bytes[12..]);
    bytes[8..12].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

fn open(magic: [u8; 8], bytes: &[u8]) -> Result<Rest<'_>, CodecFault> {
    if bytes.len() < START_BYTES {
        return Err(CodecFault::Short);
    }
    if bytes[..8] != magic {
        return Err(CodecFault::Magic);
    }
    if bytes[8..12] != crc32c::crc32c(&bytes[12..]).to_le_bytes() {
        return Err(CodecFault::Checksum);
    }
    let version = u16::from_le_bytes([bytes[12], bytes[13]]);
    if version == VERSION { Ok(Rest(&bytes[START_BYTES..])) } else { Err(CodecFault::Version(version)) }
}
