//! `-u`: giving up root.

use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;

use super::ProcessError;

/// Largest entry of the user database that is read.
const ENTRY_BYTES_MAX: usize = 1 << 20;

/// A user of this system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    name: CString,
    uid: libc::uid_t,
    gid: libc::gid_t,
}

/// Looks a user up by name.
///
/// # Errors
/// When there is none of that name, or the user database cannot be read.
pub fn find_user(name: &str) -> Result<User, ProcessError> {
    let c_name = CString::new(name).map_err(|_| ProcessError::NoSuchUser(name.to_owned()))?;
    let mut buffer: Vec<libc::c_char> = vec![0; 1024];
    loop {
        let mut entry = MaybeUninit::<libc::passwd>::uninit();
        let mut found = std::ptr::null_mut();
        // SAFETY: all pointers are to locals that outlive the call, and the length given is the buffer's.
        let failed = unsafe {
            libc::getpwnam_r(c_name.as_ptr(), entry.as_mut_ptr(), buffer.as_mut_ptr(), buffer.len(), &raw mut found)
        };
        match failed {
            libc::ERANGE if buffer.len() < ENTRY_BYTES_MAX => buffer.resize(buffer.len() * 2, 0),
            0 if !found.is_null() => {
                // SAFETY: the call succeeded and its result is not null, so the entry is initialised.
                let entry = unsafe { entry.assume_init() };
                return Ok(User { name: c_name, uid: entry.pw_uid, gid: entry.pw_gid });
            }
            0 | libc::ENOENT | libc::ESRCH => return Err(ProcessError::NoSuchUser(name.to_owned())),
            errno => return Err(ProcessError::BecomeUser(name.to_owned(), io::Error::from_raw_os_error(errno))),
        }
    }
}

/// Becomes that user, in all threads, for good. Files opened and locks taken before stay.
///
/// # Errors
/// When the process may not; it is then of no use to go on, part of the way may be done.
pub fn become_user(user: &User) -> Result<(), ProcessError> {
    let failed = |error| ProcessError::BecomeUser(user.name.to_string_lossy().into_owned(), error);
    // the C library's calls, because they change all threads; the groups go first, while that is still permitted
    // SAFETY: the name is a C string that outlives the call; the rest are numbers.
    let done = unsafe {
        libc::initgroups(user.name.as_ptr(), user.gid) == 0
            && libc::setgid(user.gid) == 0
            && libc::setuid(user.uid) == 0
    };
    if !done {
        return Err(failed(io::Error::last_os_error()));
    }
    assert!(user.uid == 0 || !rustix::process::geteuid().is_root(), "root is given up for good");
    Ok(())
}
