//! One thread's io_uring: set-up with what the kernel offers, submission, completions.
//!
//! `Sqe` and `Cqe` are named here and in the files that make requests, and nowhere outside `src/ring`.
#![allow(unsafe_code, reason = "requests point at memory that must outlive them")]

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::thread;

use io_uring::{IoUring, cqueue, opcode, squeue, types};

use super::buf_ring::{BufRing, DATAGRAM_BGID};
use super::token::Token;
use crate::config::{CQ_ENTRIES, RING_MEMORY_PAUSE, RING_MEMORY_RETRIES, SQ_ENTRIES};
use crate::time::{Duration, NANOS};

/// A submission queue entry.
pub type Sqe = squeue::Entry;

/// A completion, copied out of the queue.
#[derive(Clone, Copy, Debug)]
pub struct Cqe {
    /// What it is about.
    pub token: Token,
    /// Bytes, a descriptor, or a negative errno.
    pub result: i32,
    /// More completions of the same request will come.
    pub more: bool,
    /// The provided buffer it used.
    pub buffer: Option<u16>,
}

/// A connection's socket as the ring knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Socket {
    /// A slot of the registered-file table.
    Fixed(u32),
    /// A plain descriptor.
    Plain(RawFd),
}

/// Calls `$build` with the socket in the form the opcode wants.
macro_rules! with_socket {
    ($socket:expr, |$fd:ident| $build:expr) => {
        match $socket {
            Socket::Fixed(slot) => {
                let $fd = io_uring::types::Fixed(slot);
                $build
            }
            Socket::Plain(raw) => {
                let $fd = io_uring::types::Fd(raw);
                $build
            }
        }
    };
}
pub(super) use with_socket;

/// Why a ring could not be made.
#[derive(Debug)]
pub struct SetupError {
    call: &'static str,
    error: io::Error,
}

impl SetupError {
    fn new(call: &'static str) -> impl Fn(io::Error) -> Self {
        move |error| Self { call, error }
    }
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { call, error } = self;
        write!(f, "io_uring is refused: {call} failed with {error}; ")?;
        match error.raw_os_error() {
            Some(libc::EPERM) => f.write_str(
                "allow it with `sysctl kernel.io_uring_disabled=0`, or in a container with a seccomp profile that \
                 permits io_uring_setup, io_uring_enter and io_uring_register",
            ),
            Some(libc::ENOSYS) => f.write_str("this kernel has none: Linux 6.1 or newer is needed"),
            Some(libc::ENOMEM) => f.write_str("raise the memory limit, or the locked-memory limit with `ulimit -l`"),
            Some(libc::EMFILE | libc::ENFILE) => f.write_str("raise the open-file limit with `ulimit -n`"),
            Some(libc::EINVAL) => f.write_str("this kernel lacks a feature that is needed: Linux 6.1 or newer is"),
            _ => f.write_str("see `man io_uring_setup` for this error"),
        }
    }
}

/// Tries again for a moment while there is no memory: where it is full of files' pages, the kernel looks for pages of a ring once and
/// gives up, and finds them a moment later.
fn patiently<T>(mut make: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    for _ in 0..RING_MEMORY_RETRIES {
        match make() {
            Err(error) if error.raw_os_error() == Some(libc::ENOMEM) => thread::sleep(RING_MEMORY_PAUSE),
            done => return done,
        }
    }
    make()
}

/// One thread's ring.
pub struct Driver {
    ring: IoUring,
}

/// How long to wait when the kernel is entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Not at all.
    No,
    /// Until something completes.
    Completion,
    /// The same, but not longer than this.
    CompletionFor(Duration),
}

impl Driver {
    /// Makes a ring; on the thread that will use it, and on no other.
    ///
    /// # Errors
    /// When the kernel or a container refuses.
    pub fn new() -> Result<Self, SetupError> {
        let full = |no_sqarray: bool| {
            let mut builder = IoUring::builder();
            builder.setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag();
            builder.setup_submit_all().setup_cqsize(CQ_ENTRIES);
            if no_sqarray {
                builder.setup_no_sqarray();
            }
            builder.build(SQ_ENTRIES)
        };
        // NO_SQARRAY came with 6.6; all else is there since 6.1
        let either =
            || full(true).or_else(|e| if e.raw_os_error() == Some(libc::EINVAL) { full(false) } else { Err(e) });
        let ring = patiently(either).map_err(SetupError::new("io_uring_setup"))?;
        // saves a descriptor look-up per call; nothing depends on it
        let _ = ring.submitter().register_ring_fd();
        Ok(Self { ring })
    }

    /// A small ring for a thread that only calls others.
    ///
    /// # Errors
    /// When the kernel or a container refuses.
    pub fn small() -> Result<Self, SetupError> {
        IoUring::new(8).map(|ring| Self { ring }).map_err(SetupError::new("io_uring_setup"))
    }

    /// Makes the receive buffers.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn register_buffers(&self) -> Result<BufRing, SetupError> {
        BufRing::register(&self.ring).map_err(SetupError::new("io_uring_register of the buffer ring"))
    }

    /// Makes the receive buffers for other servers' datagrams.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn register_datagram_buffers(&self, count: u16, bytes: usize) -> Result<BufRing, SetupError> {
        BufRing::register_group(&self.ring, DATAGRAM_BGID, count, bytes)
            .map_err(SetupError::new("io_uring_register of the datagrams' buffer ring"))
    }

    /// The ring's descriptor, for other threads to call.
    #[must_use]
    pub fn descriptor(&self) -> RawFd {
        self.ring.as_raw_fd()
    }

    /// Room for registered files; whether the kernel gave it.
    #[must_use]
    pub fn register_files(&self, slots: u32) -> bool {
        self.ring.submitter().register_files_sparse(slots).is_ok()
    }

    /// Puts a descriptor into a slot of the table; the caller may close it then.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn register_file(&self, slot: u32, descriptor: RawFd) -> io::Result<()> {
        self.ring.submitter().register_files_update(slot, &[descriptor]).map(drop)
    }

    /// Queues a request; hands the queue to the kernel when it is full.
    ///
    /// # Safety
    /// What the entry points at stays where it is until its completion.
    pub unsafe fn push(&mut self, sqe: &Sqe) {
        loop {
            // SAFETY: the caller's promise
            if unsafe { self.ring.submission().push(sqe) }.is_ok() {
                return;
            }
            self.submit();
        }
    }

    /// Hands everything queued to the kernel; completions wait for the next `enter`.
    pub fn submit(&mut self) {
        match self.ring.submit() {
            Ok(_) => {}
            Err(e) if matches!(e.raw_os_error(), Some(libc::EINTR | libc::EAGAIN | libc::EBUSY)) => {}
            Err(e) => panic!("io_uring_enter failed: {e}"),
        }
    }

    /// Hands everything queued to the kernel and, if asked, waits for a completion. Then copies out all completions.
    pub fn enter(&mut self, mut wait: Wait, completions: &mut Vec<Cqe>) {
        loop {
            let entered = match wait {
                Wait::No => self.ring.submit(),
                Wait::Completion => self.ring.submit_and_wait(1),
                Wait::CompletionFor(time) => {
                    let time = types::Timespec::new().nsec((time.0 % NANOS) as u32).sec(time.0 / NANOS);
                    self.ring.submitter().submit_with_args(1, &types::SubmitArgs::new().timespec(&time))
                }
            };
            match entered {
                Ok(_) => {}
                Err(e) if matches!(e.raw_os_error(), Some(libc::EINTR | libc::EAGAIN | libc::EBUSY | libc::ETIME)) => {}
                Err(e) => panic!("io_uring_enter failed: {e}"),
            }
            for cqe in self.ring.completion() {
                completions.push(Cqe {
                    token: Token::unpack(cqe.user_data()),
                    result: cqe.result(),
                    more: cqueue::more(cqe.flags()),
                    buffer: cqueue::buffer_select(cqe.flags()),
                });
            }
            // the caller concludes from completions that are missing: everything must have been taken, and been told
            let queue = self.ring.submission();
            if queue.is_empty() && !queue.cq_overflow() {
                return;
            }
            wait = Wait::No;
        }
    }

    /// Completes with `Token::Tick` once `after` has passed.
    pub fn tick(&mut self, after: &'static types::Timespec) {
        let sqe = opcode::Timeout::new(after).build().user_data(Token::Tick.pack());
        // SAFETY: the timespec is static
        unsafe { self.push(&sqe) }
    }

    /// Syncs a file's data; completes with `token`.
    pub fn fdatasync(&mut self, descriptor: RawFd, token: Token) {
        let sqe = opcode::Fsync::new(types::Fd(descriptor)).flags(types::FsyncFlags::DATASYNC);
        // SAFETY: points at no memory; whoever asks keeps the file open while a sync is in flight
        unsafe { self.push(&sqe.build().user_data(token.pack())) }
    }

    /// Completes with `token` whenever the descriptor becomes readable, again and again.
    pub fn poll(&mut self, descriptor: RawFd, token: Token) {
        let sqe = opcode::PollAdd::new(types::Fd(descriptor), libc::POLLIN as u32).multi(true).build();
        // SAFETY: points at no memory; what the descriptor is of outlives the ring
        unsafe { self.push(&sqe.user_data(token.pack())) }
    }

    /// Makes another thread's ring complete with `Token::Mail`.
    pub fn call(&mut self, ring: RawFd, thread: u32) {
        let sqe = opcode::MsgRingData::new(types::Fd(ring), 0, Token::Mail.pack(), None)
            .build()
            .flags(squeue::Flags::SKIP_SUCCESS)
            .user_data(Token::Call(thread).pack());
        // SAFETY: points at no memory
        unsafe { self.push(&sqe) }
    }

    /// Cancels one request.
    pub fn cancel_request(&mut self, request: Token, token: Token) {
        let sqe = opcode::AsyncCancel::new(request.pack()).build().user_data(token.pack());
        // SAFETY: points at no memory
        unsafe { self.push(&sqe) }
    }

    /// Cancels all requests on a socket.
    pub fn cancel(&mut self, socket: Socket, token: Token) {
        let builder = with_socket!(socket, |fd| types::CancelBuilder::fd(fd)).all();
        let sqe = opcode::AsyncCancel2::new(builder).build().user_data(token.pack());
        // SAFETY: points at no memory
        unsafe { self.push(&sqe) }
    }

    /// Closes a socket; behind everything queued before.
    pub fn close(&mut self, socket: Socket, token: Token) {
        let sqe = with_socket!(socket, |fd| opcode::Close::new(fd).build()).user_data(token.pack());
        // SAFETY: points at no memory
        unsafe { self.push(&sqe) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_without_memory_is_tried_again_and_nothing_else_is() {
        let mut tries = 0;
        let mut fails = |errno: i32, times: u32| {
            tries = 0;
            let made = patiently(|| {
                tries += 1;
                if tries > times { Ok(tries) } else { Err(io::Error::from_raw_os_error(errno)) }
            });
            made.map_err(|error| (error.raw_os_error().expect("a system error"), tries))
        };
        assert_eq!(fails(libc::ENOMEM, 0), Ok(1));
        assert_eq!(fails(libc::ENOMEM, 3), Ok(4));
        assert_eq!(fails(libc::ENOMEM, u32::MAX), Err((libc::ENOMEM, RING_MEMORY_RETRIES + 1)));
        assert_eq!(fails(libc::EPERM, 3), Err((libc::EPERM, 1)));
    }
}
