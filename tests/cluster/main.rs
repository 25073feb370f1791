//! Clusters of real processes on this machine: a load balancer and servers, clients at each of them, and what happens when
//! they are killed, stopped, wiped and started again. Every history is checked for linearizability, every key is read at
//! every server at the end, and all must hold the same. README.md says what each scenario shows.

mod alone;
mod balancer;
mod followers;
#[path = "../history/mod.rs"]
mod history;
mod leader;
mod machines;
mod restarts;
#[path = "../sim"]
#[allow(dead_code, unused_imports, reason = "the simulator uses more of it than this does")]
mod sim {
    pub(crate) mod dice;
    pub(crate) mod linear;
}
mod writes;

// the simulator's modules call each other by these names, as in its own test binary
use sim::{dice, linear};
