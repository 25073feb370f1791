//! The small scope, exhaustively: the cluster's own machines, three servers and the coordinator, two writes, one fault, one new
//! configuration, and every order in which messages arrive, disks finish and timers fire.

pub(crate) mod acts;
pub(crate) mod dead;
pub(crate) mod engine;
pub(crate) mod ghost;
pub(crate) mod node;
pub(crate) mod print;
pub(crate) mod react;
pub(crate) mod scope;
pub(crate) mod scopes;
pub(crate) mod search;
pub(crate) mod start;
pub(crate) mod step;
pub(crate) mod story;
pub(crate) mod world;
