//! Histories of real servers: clients over TCP that note what they asked and what they were told, and the check that some
//! order of it all explains every answer. `tests/cluster` uses it inside a test, `examples/history.rs` from a shell. It
//! starts and ends no server, and it measures only to tell: no figure decides anything here.
//!
//! ```text
//! Load: one thread for each client --Entry--> History --by key--> verdict (tests/sim/linear.rs)
//!          | Connection: one command, one answer     + read_everywhere: every key at every server, at rest
//! ```

pub mod connection;
pub mod load;
pub mod record;
pub mod standing;
pub mod verdict;
