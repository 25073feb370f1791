//! The cluster: pure machines for the coordinator (the load balancer's brain) and for a server's roles, and what they say to
//! each other. Owns configurations, replication of frames by position, leases, elections. Never touches a socket, a file or a
//! clock, and knows nothing of memcached: an entry is bytes in a frame.
//!
//! ```text
//!            Register, ChangeAsked                    Append (frames, beacons)
//!  server ----------------------> coordinator leader <------------------------> follower, learner
//!         <---------------------- configuration        Ack (durable position)
//!          Announce, Heartbeat    by compare-and-swap
//! ```
//!
//! Reading order: `configuration`, `message`, `effect`, `quorum`, `lease`, `history`.

mod ahead;
pub mod codec;
pub mod configuration;
pub mod congestion;
pub mod coordinator;
pub mod effect;
mod election;
mod flight;
mod follower;
mod forwards;
pub mod frame;
pub mod history;
mod intake;
mod journal;
mod leader;
mod learner;
pub mod lease;
pub mod message;
mod pace;
mod progress;
pub mod quorum;
mod reads;
mod receiver;
pub mod replica;
pub mod rules;
mod server;
mod tail;
#[cfg(test)]
mod tests;

pub use configuration::{COORDINATOR, Configuration, Doubt, Mark, Member, NodeRecord};
pub use coordinator::{Coordinator, CoordinatorBoot, CoordinatorEffect, CoordinatorInput, ForceRefusal, RecoverFault};
pub use effect::{Boot, Effect, Input, Outcome, Report, Snapshot};
pub use frame::Frame;
pub use history::EpochStart;
pub use lease::{ReadStep, Timing, read_order};
pub use message::{Body, Digest, Header, Message};
pub use pace::Lengths;
pub use replica::{Replica, WritePlace, WriteRefusal};
pub use rules::{Rule, Rules};
