//! Datagrams between servers: messages go in, datagrams come out, and the other way round. Owns packet numbers, keys, replay
//! windows, acks of datagrams, resending of lost pieces and the congestion window; never touches a socket or a clock and
//! knows nothing of what the messages say.
//!
//! ```text
//!  send(message) --> small: as it is, once        --.
//!                    large, or to be repaired:      |--> datagrams of a turn, as one train --> sealed
//!                    pieces, again when lost      --'        '-- acks ride along
//!  receive(datagram) --> opened --> replayed? --> acks noted, pieces put together --> messages
//! ```
//!
//! A message that fits into a datagram may be sent without repair: beacons and acks of the log are superseded by the next
//! one. Whatever is larger is cut into pieces, and lost pieces are found by the evidence of later acks and sent again, as
//! QUIC does (RFC 9000, RFC 9002). Order is not kept and a message may come twice: the cluster's machines take that.
//!
//! Reading order: `packet`, `key`, `replay`, `chunk`, `outgoing`, `assembly`, `recovery`, `link`, `endpoint`; `stream` for what
//! is too large for messages.

mod acks;
mod assembly;
mod chunk;
mod endpoint;
mod key;
mod link;
mod outgoing;
pub mod packet;
mod ranges;
mod recovery;
mod replay;
pub mod stream;
#[cfg(test)]
mod tests;
mod train;

pub use endpoint::{Endpoint, Identity};
pub use key::ClusterKey;
pub use link::{Counts, Refusal, Repair, whole_bytes_max};
pub use train::Train;
