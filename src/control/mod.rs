//! The tokio-uring shell of the control plane.
//!
//! The client: [`request`] and [`reply`] are the client's side of the protocol and [`output`] what the user sees, all
//! three pure; [`session`] is the connection between them.
//!
//! The load balancer is [`balancer`].

pub mod balancer;
pub mod json;
pub mod output;
pub mod reply;
pub mod request;
pub mod session;

#[cfg(test)]
mod tests;
