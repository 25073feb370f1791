//! The clocks: read once a turn by the shell, and nowhere else.
#![allow(unsafe_code, reason = "getrusage fills a struct of ours")]

use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

use crate::time::{NANOS, Time};

/// Now: what the wall clock said when the process first asked, and since then by a clock that nobody sets. If the wall
/// clock is put back, syncs and timeouts that are due by it would wait until it has caught up.
#[must_use]
pub fn now() -> Time {
    static BOOT: OnceLock<u64> = OnceLock::new();
    let since_boot = since_boot();
    let boot = *BOOT.get_or_init(|| wall().saturating_sub(since_boot));
    Time(boot + since_boot)
}

/// Nanoseconds since the machine was started, those in which it slept included.
fn since_boot() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    time.tv_sec.cast_unsigned() * NANOS + time.tv_nsec.cast_unsigned()
}

fn wall() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_is_the_wall_clock_and_goes_on() {
        let first = now();
        let off = first.0.abs_diff(wall());
        assert!(off < NANOS, "it is off by {off} ns");
        std::thread::sleep(std::time::Duration::from_millis(2));
        assert!(now().since(first).0 >= 2_000_000);
    }
}
