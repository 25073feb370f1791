//! How busy a load thread was, as the kernel counted it: what a figure is worth depends on it.

use std::time::{Duration, Instant};

use rustix::process::Pid;

/// A load thread that had no more of its core than this to spare was the limit.
pub const LIMIT_SHARE: f64 = 0.95;

/// Shares of a time, each from 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Busy {
    /// It was running.
    pub running: f64,
    /// It could have run, and waited for a core.
    pub waiting: f64,
    /// The time.
    pub over: Duration,
}

impl Busy {
    /// The part of the time in which it had something to do, from 0 to 1: what is left of it was to spare.
    pub fn share(self) -> f64 {
        (self.running + self.waiting).min(1.0)
    }
}

/// Measures one thread.
pub struct BusyMeter {
    /// Where the kernel tells of it.
    stat: String,
    began: Instant,
    before: (Duration, Duration),
}

impl BusyMeter {
    /// The calling thread from now on.
    pub fn start() -> Self {
        Self::at("/proc/thread-self/schedstat".to_owned())
    }

    /// Another thread of this process from now on.
    pub fn of(thread: Pid) -> Self {
        Self::at(format!("/proc/self/task/{}/schedstat", thread.as_raw_nonzero()))
    }

    fn at(stat: String) -> Self {
        let before = times(&stat);
        Self { stat, began: Instant::now(), before }
    }

    /// What it was since then.
    pub fn stop(&self) -> Busy {
        let (over, after) = (self.began.elapsed(), times(&self.stat));
        let share = |after: Duration, before: Duration| {
            (after.saturating_sub(before).as_secs_f64() / over.as_secs_f64().max(1e-9)).min(1.0)
        };
        Busy { running: share(after.0, self.before.0), waiting: share(after.1, self.before.1), over }
    }
}

/// Time a thread has run, and time it has waited for a core. Nothing of a kernel that does not count it.
fn times(stat: &str) -> (Duration, Duration) {
    let stat = std::fs::read_to_string(stat).unwrap_or_default();
    let mut words = stat.split_whitespace().map(|word| word.parse().map_or(Duration::ZERO, Duration::from_nanos));
    (words.next().unwrap_or_default(), words.next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_works_is_busy_and_one_that_sleeps_is_not() {
        let (meter, other) = (BusyMeter::start(), BusyMeter::of(rustix::thread::gettid()));
        let mut sum = 0_u64;
        while meter.began.elapsed() < Duration::from_millis(100) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        let busy = meter.stop();
        assert!(busy.share() > 0.5, "{busy:?}");
        assert!(other.stop().share() > 0.5, "seen from another thread it is the same");
        let meter = BusyMeter::start();
        std::thread::sleep(Duration::from_millis(100));
        assert!(meter.stop().running < 0.5);
    }
}
