//! How a cluster's server speaks to the others and to the load balancer: messages over UDP on ring thread 0, lifelines and streams
//! over TCP at the same port, on threads that no ring knows. Knows sockets, addresses and time-outs; never what a message asks for or
//! what a stream carries.
//!
//! ```text
//!  thread 0 --send, flush--> PeerSocket <--------- UDP --------> other servers, load balancer
//!     |  ^---PeerEvent---- Events <-+
//!     +--announce, watch--> Connections: one thread ---- TCP --> lifelines, both ways
//!     '--open, push, ...--> Streams: a thread each ----- TCP --> snapshots
//! ```
//!
//! Reading order: `bind`, `socket`, `sender`; `events`, `connections`, `accepted`, `watch`; `streams`.

mod accepted;
mod bind;
mod connections;
mod events;
mod sender;
mod socket;
mod streams;
#[cfg(test)]
mod tests;
mod watch;

pub use bind::{Bound, PeerError, advertised, bind, datagram_bytes};
pub use connections::Connections;
pub use events::{Events, PeerEvent, StreamId};
pub use socket::{PeerSocket, SocketCounts};
pub use streams::Streams;

use std::os::fd::AsFd;

/// Adds to an eventfd.
fn ring_bell(bell: &impl AsFd) {
    // only a counter near 2^64 refuses, and a bell that was rung so often needs no more
    let _ = rustix::io::write(bell, &1_u64.to_ne_bytes());
}
