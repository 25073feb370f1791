//! The io_uring shell of the data plane.

pub mod process;
