//! The io_uring shell of the data plane: the only place that knows sockets, files, threads and the kernel.
//!
//! Reading order: `server` (from configuration to the end), `thread` (the loop), `driver` and `token` (the ring itself),
//! `buf_ring`, `socket`, `accept` (clients), `mailbox` (threads among themselves), `log_disk` and `disk` (the log's
//! files), `replica_disk` (all files of a cluster's server), `memory`, `process`, `guardian`, `clock` (the operating system). Decides nothing about data: that is `shard`'s.

mod accept;
mod buf_ring;
pub mod clock;
mod cluster;
pub mod disk;
mod driver;
pub mod guardian;
mod log_disk;
mod mailbox;
pub mod memory;
pub mod peer;
pub mod process;
pub mod replica_disk;
pub mod server;
mod socket;
mod thread;
mod token;
