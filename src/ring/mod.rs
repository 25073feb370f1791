//! The io_uring shell of the data plane: the only place that knows sockets, files, threads and the kernel.

pub mod disk;
pub mod process;
