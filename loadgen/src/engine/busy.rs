//! How busy a load thread was, as the kernel counted it: what a figure is worth depends on it.

use std::time::{Duration, Instant};

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

/// Measures the calling thread.
pub struct BusyMeter {
    began: Instant,
    before: (Duration, Duration),
}

impl BusyMeter {
    /// From now on.
    pub fn start() -> Self {
        Self { began: Instant::now(), before: times() }
    }

    /// What it was since then.
    pub fn stop(&self) -> Busy {
        let (over, after) = (self.began.elapsed(), times());
        let share = |after: Duration, before: Duration| {
            (after.saturating_sub(before).as_secs_f64() / over.as_secs_f64().max(1e-9)).min(1.0)
        };
        Busy { running: share(after.0, self.before.0), waiting: share(after.1, self.before.1), over }
    }
}

/// Time the calling thread has run, and time it has waited for a core. Nothing of a kernel that does not count it.
fn times() -> (Duration, Duration) {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let mut words = stat.split_whitespace().map(|word| word.parse().map_or(Duration::ZERO, Duration::from_nanos));
    (words.next().unwrap_or_default(), words.next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_works_is_busy_and_one_that_sleeps_is_not() {
        let meter = BusyMeter::start();
        let mut sum = 0_u64;
        while meter.began.elapsed() < Duration::from_millis(100) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        let busy = meter.stop();
        assert!(busy.running + busy.waiting > 0.5, "{busy:?}");
        let meter = BusyMeter::start();
        std::thread::sleep(Duration::from_millis(100));
        assert!(meter.stop().running < 0.5);
    }
}
