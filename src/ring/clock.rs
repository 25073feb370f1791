//! The clocks: read once a turn by the shell, and nowhere else.
#![allow(unsafe_code, reason = "getrusage fills a struct of ours")]

use std::time::{SystemTime, UNIX_EPOCH};

use crate::time::Time;

/// Now, by the wall clock.
#[must_use]
pub fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

/// Microseconds of CPU time that this process has used: user, system.
#[must_use]
pub fn cpu_times_us() -> (u64, u64) {
    // SAFETY: all-zero is a valid rusage, and the call writes no more than that
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
        usage
    };
    let micros = |t: libc::timeval| t.tv_sec.cast_unsigned() * 1_000_000 + t.tv_usec.cast_unsigned();
    (micros(usage.ru_utime), micros(usage.ru_stime))
}
