//! `-d`: into the background.
//!
//! The call that the operator made returns when the server is ready, with its status when it could not start: the parent
//! waits at a pipe for one byte. A pipe that closes without a byte says that the server died.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsRawFd;
use std::sync::Mutex;

/// sysexits: a fault of the program.
const EX_SOFTWARE: i32 = 70;

/// The way to the waiting parent, and whether standard output and error stay open.
struct Parent {
    pipe: PipeWriter,
    keep_output: bool,
}

// one process has one parent; nothing when it runs in the foreground or has said its word
static PARENT: Mutex<Option<Parent>> = Mutex::new(None);

/// Goes on in a child that has no terminal and no parent; the caller's process waits for its word and ends.
///
/// Standard error stays open until the server is ready, so that the operator reads why it could not start.
pub(super) fn enter(keep_output: bool) -> io::Result<()> {
    let threads = std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    assert_eq!(threads, 1, "a fork takes along the calling thread only, so there must be no other");
    let (reader, writer) = io::pipe()?;
    if fork()? {
        drop(writer);
        wait_for_word(reader);
    }
    drop(reader);
    rustix::process::setsid()?;
    // the leader of a session could get a terminal again: its child cannot
    if fork()? {
        exit_now(0);
    }
    rustix::process::chdir("/")?;
    redirect_to_null(&[0])?;
    *PARENT.lock().expect("no thread panicked with it") = Some(Parent { pipe: writer, keep_output });
    Ok(())
}

/// True in the parent.
fn fork() -> io::Result<bool> {
    // SAFETY: the process has a single thread (asserted by the caller), so the child inherits no lock that is held.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(false),
        _ => Ok(true),
    }
}

/// Ends the process and runs nothing of its own first: the buffers it shares with its child are the child's.
fn exit_now(status: i32) -> ! {
    // SAFETY: _exit takes a number and does not return.
    unsafe { libc::_exit(status) }
}

fn wait_for_word(mut reader: PipeReader) -> ! {
    let mut word = [0u8];
    match reader.read_exact(&mut word) {
        Ok(()) => exit_now(i32::from(word[0])),
        Err(_) => exit_now(EX_SOFTWARE),
    }
}

fn redirect_to_null(descriptors: &[i32]) -> io::Result<()> {
    let null = std::fs::File::options().read(true).write(true).open("/dev/null")?;
    for &descriptor in descriptors {
        // SAFETY: both are descriptors of this process; those replaced are the standard streams, which nobody owns.
        if unsafe { libc::dup2(null.as_raw_fd(), descriptor) } == -1 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// The server answers clients now. With `-d` the waiting call returns, and the terminal is let go unless `-v` was given.
/// Without `-d`, and at any later time, this does nothing.
pub fn announce_ready() {
    let Some(mut parent) = PARENT.lock().expect("no thread panicked with it").take() else { return };
    if !parent.keep_output
        && let Err(error) = redirect_to_null(&[1, 2])
    {
        tracing::warn!("standard output stays open: {error}");
    }
    // the operator may have stopped waiting
    let _ = parent.pipe.write_all(&[0]);
}

/// The server could not start: with `-d` the waiting call returns this status. Otherwise this does nothing.
pub fn announce_failure(status: u8) {
    if let Some(mut parent) = PARENT.lock().expect("no thread panicked with it").take() {
        let _ = parent.pipe.write_all(&[status]);
    }
}
