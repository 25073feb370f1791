//! The tokio-uring shell of the control plane.
//!
//! The client: [`request`] and [`reply`] are the client's side of the protocol and [`output`] what the user sees, all
//! three pure; [`session`] is the connection between them, [`fleet`] all servers of a cluster, [`roster`] what the load
//! balancer knows of them.
//!
//! The load balancer is [`balancer`]. [`survey`] looks at a whole cluster, for [`status`] and [`verify`]; [`demo`] runs one.

pub mod address;
pub mod balancer;
pub mod demo;
pub mod fleet;
pub mod json;
pub mod output;
pub mod reply;
pub mod request;
pub mod roster;
pub mod session;
pub mod status;
pub mod survey;
pub mod verify;

#[cfg(test)]
mod tests;
