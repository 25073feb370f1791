//! Signals as values: blocked in every thread, taken by one that waits for them.

use std::io;
use std::mem::MaybeUninit;

/// What an operator may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT: stop.
    Interrupt,
    /// SIGTERM: stop.
    Terminate,
    /// SIGUSR1: stop gracefully.
    User1,
    /// SIGHUP: read again what can be read again.
    HangUp,
}

const SIGNALS: [(libc::c_int, Signal); 4] = [
    (libc::SIGINT, Signal::Interrupt),
    (libc::SIGTERM, Signal::Terminate),
    (libc::SIGUSR1, Signal::User1),
    (libc::SIGHUP, Signal::HangUp),
];

fn set() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigemptyset initialises the set it is given; sigaddset then changes an initialised set. Both only fail for
    // signal numbers that do not exist.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for (number, _) in SIGNALS {
            libc::sigaddset(set.as_mut_ptr(), number);
        }
        set.assume_init()
    }
}

/// Blocks the signals in the calling thread and in all that it starts from now on.
///
/// # Errors
/// The kernel's.
pub fn block_signals() -> io::Result<()> {
    let set = set();
    // SAFETY: the set is initialised, and a null pointer for the old mask is allowed.
    match unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) } {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// A file at its size limit (`ulimit -f`) is to fail the write, which is refused like a full disk, and not to kill.
pub fn ignore_file_size() {
    // SAFETY: ignoring a signal installs no code of ours.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

/// Waits until one of the signals arrives. They must be blocked in all threads, see [`block_signals`]: where one is not,
/// it takes its default way and ends the process.
#[must_use]
pub fn wait_for_signal() -> Signal {
    let set = set();
    let mut number = 0;
    loop {
        // SAFETY: both pointers are to initialised locals that outlive the call.
        let failed = unsafe { libc::sigwait(&raw const set, &raw mut number) };
        assert!(failed == 0 || failed == libc::EINTR, "sigwait fails for an invalid set only, and this one is valid");
        if let Some((_, signal)) = SIGNALS.iter().find(|(known, _)| failed == 0 && *known == number) {
            return *signal;
        }
    }
}
