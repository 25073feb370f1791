//! ringstore: a durable key-value store that any memcached client can use unchanged.
//!
//! The modules in reading order, which is the way of a request:
//!
//! ```text
//!            ring (io_uring)                      pure: no socket, file, clock, thread
//!   client --bytes--> thread --Input--> shard --parse--> proto
//!                                         |--get-------> store::Reader   (any thread, no lock)
//!                                         |--write-----> writes ---> store::Writer, log::FrameBuilder (thread 0)
//!   client <--bytes-- thread <-Effects----'                  |
//!   disk   <--frames- disk <---------------------------------'
//! ```

pub mod config;
pub mod contact;
pub mod lifeline;
pub mod time;

pub mod proto;

pub mod store;

pub mod log;

pub mod cluster;

pub mod keystore;
pub mod node;
pub mod transport;

pub mod conn;
pub mod shard;
pub mod stats;
pub mod writes;

pub mod ring;

pub mod control;
