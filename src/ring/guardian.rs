//! The guardian: a tiny process that tells the others at once when this one dies (R25).
//!
//! When a process is killed the kernel cancels its ring requests, then frees its memory, and closes its files last: with
//! gigabytes resident its peers hear of it hundreds of milliseconds later. The guardian is a process of its own that shares
//! the address space, so that nobody waits for it to be freed, and the file table, so that it can end the connections. It
//! sleeps on a pidfd of the server, which the kernel makes readable when the last thread of the server will never run
//! again: that, and not silence, is the proof which a FIN on a lifeline stands for.
//!
//! It allocates nothing, takes no lock and has no thread-local storage of its own: it runs on memory that a dead server left in the
//! middle of anything. It survives every signal but SIGKILL; when it is killed together with the server, leases decide
//! (R16 to R21), as for a lost machine.

#![allow(unsafe_code, reason = "a process that shares this one's memory is made and ended with raw calls")]

use std::ffi::c_void;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::AtomicI32;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{PidfdFlags, getpid, pidfd_open};

use crate::config;

/// What the guardian calls itself in lists of processes.
const NAME: &std::ffi::CStr = c"guardian";
/// No descriptor.
const NONE: RawFd = -1;
/// Below are standard input, output and error.
const FIRST_OWN: RawFd = 3;
/// After ending so many connections of clients the guardian lets others run that it has just woken.
const ENDED_AT_ONCE: i32 = 16;

/// What an election takes, and more.
const AFTER_THE_ELECTION: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
/// The niceness of who can wait.
const LAST: i32 = 19;

/// The largest descriptor of a connection or listener that clients have had.
static HIGHEST: AtomicI32 = AtomicI32::new(NONE);

/// To be called with each listener and each connection of a client: a guardian ends those it was told of, and the kernel the
/// others, when it has taken the rings apart.
pub fn reaches(connection: BorrowedFd<'_>) {
    HIGHEST.fetch_max(connection.as_raw_fd(), Relaxed);
}

/// What server and guardian both see.
struct Shared {
    /// The server, as the kernel tells of its end.
    server: OwnedFd,
    /// To be ended before all others.
    lifelines: [AtomicI32; config::LIFELINES_MAX],
}

/// A running guardian. Dropping it ends it and ends no connection: the server stops in order.
pub struct Guardian {
    shared: &'static Shared,
    process: libc::pid_t,
}

impl Guardian {
    /// Starts the guardian of this process.
    ///
    /// # Errors
    /// When the kernel gives no pidfd, no memory or no process.
    pub fn start() -> io::Result<Self> {
        let server = pidfd_open(getpid(), PidfdFlags::empty())?;
        let lifelines = [const { AtomicI32::new(NONE) }; config::LIFELINES_MAX];
        // never freed: a server has one, and the guardian reads it when the server is no more
        let shared: &'static Shared = Box::leak(Box::new(Shared { server, lifelines }));
        let stack: &'static mut [Line] = Box::leak(vec![Line([0; 64]); config::GUARDIAN_STACK_BYTES / 64].into());
        let process = with_signals_blocked(|| spawn(shared, stack))?;
        Ok(Self { shared, process })
    }

    /// From now on the death of this server is told on this connection first. False when there are too many.
    #[must_use]
    pub fn add_lifeline(&self, connection: BorrowedFd<'_>) -> bool {
        let descriptor = connection.as_raw_fd();
        self.shared.lifelines.iter().any(|line| line.compare_exchange(NONE, descriptor, Release, Acquire).is_ok())
    }

    /// To be called before the descriptor is closed: its number will be another file's.
    pub fn remove_lifeline(&self, connection: BorrowedFd<'_>) {
        let descriptor = connection.as_raw_fd();
        for line in &self.shared.lifelines {
            let _ = line.compare_exchange(descriptor, NONE, Release, Acquire);
        }
    }

    /// The guardian's process id.
    #[must_use]
    pub const fn process(&self) -> i32 {
        self.process
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        // SAFETY: both take numbers; the process is a child that nobody else waits for. It has no exit signal, which is
        // why the wait names clones.
        unsafe {
            libc::kill(self.process, libc::SIGKILL);
            libc::waitpid(self.process, std::ptr::null_mut(), libc::__WALL);
        }
    }
}

/// A part of the stack, aligned as any ABI asks.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line(#[allow(dead_code, reason = "it is room and nothing reads it by name")] [u8; 64]);

/// Makes the process. All signals are blocked in it as they are in the caller now.
fn spawn(shared: &'static Shared, stack: &'static mut [Line]) -> io::Result<libc::pid_t> {
    let top = stack.as_mut_ptr_range().end.cast::<c_void>();
    let flags = libc::CLONE_VM | libc::CLONE_FILES;
    let argument = std::ptr::from_ref(shared).cast_mut().cast::<c_void>();
    // SAFETY: the stack and the argument live for ever and only the new process uses the stack. What runs there shares the
    // caller's thread-local storage, so it must not touch it while the caller runs: see `guard`.
    let process = unsafe { libc::clone(guard, top, flags, argument) };
    if process == -1 { Err(io::Error::last_os_error()) } else { Ok(process) }
}

fn with_signals_blocked<T>(work: impl FnOnce() -> T) -> T {
    let mut all = std::mem::MaybeUninit::uninit();
    let mut before = std::mem::MaybeUninit::uninit();
    // SAFETY: the first call fills `all`, the second reads it and fills `before`; neither can fail with these arguments.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
    }
    let done = work();
    // SAFETY: `before` was filled above.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), std::ptr::null_mut()) };
    done
}

/// The guardian's whole life. Until the server is dead it makes system calls without libc, which would write `errno` into
/// the server's thread-local storage.
extern "C" fn guard(argument: *mut c_void) -> i32 {
    // SAFETY: `spawn` gave a `&'static Shared`.
    let shared = unsafe { &*argument.cast::<Shared>() };
    let _ = rustix::thread::set_name(NAME);
    // not with the server's terminal or group: what is sent to all of them is not for the guardian
    let _ = rustix::process::setsid();
    let mut server = [PollFd::from_borrowed_fd(shared.server.as_fd(), PollFlags::IN)];
    while !matches!(poll(&mut server, None), Ok(1..)) {}
    for line in &shared.lifelines {
        end_connection(line.load(Acquire));
    }
    for descriptor in FIRST_OWN..=HIGHEST.load(Relaxed) {
        if (descriptor - FIRST_OWN) % ENDED_AT_ONCE == 0 {
            // who was told first is to elect another leader meanwhile, perhaps on this core
            rustix::thread::sched_yield();
        }
        end_connection(descriptor);
    }
    // SAFETY: nobody uses a descriptor any more: every thread but this one is dead. Listeners and the lock of the
    // directory go with it.
    unsafe { libc::syscall(libc::SYS_close_range, FIRST_OWN, u32::MAX, 0) };
    // The memory is freed by whoever lets go of it last, for milliseconds in which a kernel without preemption lets nobody else
    // have this core: after the others have elected another leader, and behind everybody else.
    let _ = rustix::thread::nanosleep(&AFTER_THE_ELECTION);
    let _ = rustix::process::nice(LAST);
    0
}

/// Tells the other end that nothing comes any more; nothing happens when this is no connection.
fn end_connection(descriptor: RawFd) {
    if descriptor >= FIRST_OWN {
        // SAFETY: shutdown takes numbers. `errno` is written into storage of a dead thread.
        unsafe { libc::shutdown(descriptor, libc::SHUT_RDWR) };
    }
}
