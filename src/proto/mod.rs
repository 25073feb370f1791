//! memcached's classic text protocol: from bytes to commands, from answers to bytes; and the client's side of it, from
//! commands to bytes ([`request`]) and from bytes to answers ([`parse_answer`]), for the client and the load generator.
//!
//! Owns the grammar, its limits and every string a client may read. Borrows from the receive buffer, copies nothing and
//! keeps no state between calls: [`parse`] is a function of the bytes at hand. Never looks at an item, never decides what
//! a command does, and knows no connection.
//!
//! ```text
//! bytes at hand --parse--> Command   a whole command, borrowed from the bytes
//!                      |-> Need      not whole yet: wait for that many bytes
//!                      |-> Invalid   the client's fault: answer, drop, go on
//!                      '-> Close     the client's fault, and there is no going on
//! ```
//!
//! What is emulated is memcached 1.6.45, with two deliberate differences: `delete` refuses three or more words after
//! the key, as older servers and their test suites do, and a command is never recognised by a mere prefix of its name.

mod answer;
mod command;
mod line;
mod number;
mod parse;
pub mod reply;
pub mod request;
mod storage;

pub use answer::{Answer, Answered, Fault, MetaCode, parse_answer};
pub use command::{AdminVerb, Command, Direction, Get, Keys, Store, StoreVerb};
pub use number::parse_counter;
pub use parse::{ParseLimits, Parsed, parse};
pub use reply::Reply;

#[cfg(test)]
mod answer_tests;
#[cfg(test)]
mod tests;
