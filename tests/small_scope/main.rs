//! The small scope, exhaustively: the cluster's own machines, unchanged, three servers and the coordinator, two writes, one
//! fault, one new configuration, and every order in which messages arrive, disks finish and timers fire. `scope` says what the
//! budgets are, `scopes` which are looked at, `examples/explore.rs` looks at all of them.
//!
//! What is real: `Replica` and `Coordinator`, every message between them, every byte of every frame. What is made simple:
//!
//! - **Time** is a whole number of steps, the same for all: the clocks' rates do not differ (R21 is the simulator's). All waits
//!   are 1 to 4 steps, a promise outlasts its lease by less than one. Time advances by a choice, and in a `prompt` scope only
//!   when what is under way has arrived; what is later is one of the `lost`. States are compared by ages, not instants, and ages
//!   beyond three promises are alike, because no wait is longer.
//! - **Links** keep their order but for the messages that a budget lets go astray: those arrive any time later, or never. A
//!   link holds `queue` messages.
//! - **Reads** are not steps: in every state each server that may answer a read is taken to answer one, so that a read that
//!   shows less than another showed, or than a client was told, is a violation (R17 to R20, R24).
//! - **Disks** are never full or damaged, logs are short and whole: no snapshots, no digests.
//!
//! What makes it small enough, and why nothing is lost by that:
//!
//! - A server's reaction depends on its own state, the input and the time, so it is worked out once (`react`).
//! - Messages that can never change anything again are taken away (`dead`).
//! - Servers 2 and 3 begin alike, and nothing in the machines looks at a name but to compare it: a course of events in which 2
//!   fails is one in which 3 fails by other names, so only 3 fails.
//! - Time that all timers fire at does not tell their order, because each only sends (without `phases`).

pub(crate) mod acts;
pub(crate) mod dead;
pub(crate) mod engine;
pub(crate) mod ghost;
pub(crate) mod node;
pub(crate) mod print;
pub(crate) mod react;
#[cfg(test)]
mod rules;
pub(crate) mod scope;
pub(crate) mod scopes;
pub(crate) mod search;
pub(crate) mod start;
pub(crate) mod step;
pub(crate) mod story;
#[cfg(test)]
mod tests;
pub(crate) mod world;
