//! Real server processes behind real sockets: the conformance table on every deployment shape, what a process does on
//! errors, signals and full disks, and the crash test.
//!
//! `RINGSTORE_SERVER="memcached -u root"` runs the table against another server, to prove the table rather than us.

mod client;
mod conformance;
mod connections;
mod crash;
mod disk_full;
mod order;
mod process;
mod restart;
mod script;
mod server;
mod slow_reader;
mod statistics;
mod table;
