//! A lifeline: a connection that a server keeps open as long as it lives and on which it says one thing, who it is. Its orderly end
//! is the proof that this incarnation is dead (R25); a reset or a refusal proves nothing.

use crate::log::{Incarnation, NodeId};

/// The first bytes on a lifeline.
const MAGIC: [u8; 8] = *b"ringlife";
/// Bytes of a hello: magic, server, incarnation.
pub const HELLO_BYTES: usize = 24;

/// What a server says on a lifeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Who it is.
    pub node: NodeId,
    /// Which start of it.
    pub incarnation: Incarnation,
}

impl Hello {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; HELLO_BYTES] {
        let mut bytes = [0; HELLO_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..16].copy_from_slice(&self.node.0.to_le_bytes());
        bytes[16..].copy_from_slice(&self.incarnation.0.to_le_bytes());
        bytes
    }

    /// From its bytes, if that is what they are.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; HELLO_BYTES] = bytes.try_into().ok()?;
        let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        bytes.starts_with(&MAGIC).then(|| Self { node: NodeId(word(8)), incarnation: Incarnation(word(16)) })
    }
}
