//! The conformance table, by theme. A row reads as a conversation: what a client sends, what it gets back.

pub mod admin;
pub mod arithmetic;
pub mod cas;
pub mod deletion;
pub mod errors;
pub mod expiry;
pub mod flushing;
pub mod limits;
pub mod noreply;
pub mod pipelining;
pub mod retrieval;
pub mod storage;
pub mod touching;
