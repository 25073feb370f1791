//! Children that do not outlive this process.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Has the kernel kill the child that `command` starts when the thread that starts it ends, however it ends.
pub fn die_with_parent(command: &mut Command) {
    let parent = rustix::process::getpid();
    let bind = move || {
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
        // it may have ended before that
        if rustix::process::getppid() == Some(parent) { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::ESRCH)) }
    };
    // SAFETY: between fork and exec only async-signal-safe things may be done. `bind` makes two system calls, allocates
    // nothing and takes no lock.
    unsafe { command.pre_exec(bind) };
}
