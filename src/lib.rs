//! ringstore: a durable key-value store that any memcached client can use unchanged.

pub mod config;
pub mod time;

pub mod log;
pub mod proto;
pub mod store;

pub mod ring;

pub mod control;
