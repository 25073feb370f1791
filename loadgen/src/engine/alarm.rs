//! Wakes a load thread at a moment to the microsecond: the runtime's own timers know milliseconds.

use std::cell::Cell;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use rustix::time::{timerfd_create, timerfd_settime};

use crate::failure::{Failure, While};

/// Nothing is waited for longer, so that what else is to be looked at is.
const WAIT_NS_MAX: u64 = 20_000_000;

/// A timer of the kernel, read by the ring. Moments are in nanoseconds since the load began.
pub struct Alarm {
    timer: OwnedFd,
    file: tokio_uring::fs::File,
    /// When it goes off.
    set_for: Cell<u64>,
}

impl Alarm {
    /// Not set.
    ///
    /// # Errors
    /// When the kernel has no more descriptors.
    pub fn new() -> Result<Self, Failure> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC).during("making a timer")?;
        let file = File::from(timer.try_clone().during("making a timer")?);
        Ok(Self { timer, file: tokio_uring::fs::File::from_std(file), set_for: Cell::new(u64::MAX) })
    }

    /// Makes sure that it goes off no later than this, also for who waits already.
    #[inline]
    pub fn set_no_later(&self, at: u64, now: u64) {
        if at < self.set_for.get() {
            self.set(at, now);
        }
    }

    fn set(&self, at: u64, now: u64) {
        self.set_for.set(at);
        let time = Duration::from_nanos(at.saturating_sub(now).max(1));
        let value = Timespec { tv_sec: time.as_secs() as i64, tv_nsec: i64::from(time.subsec_nanos()) };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once).expect("the timer is one, the time is above 0");
    }

    /// Waits until this moment, at most for [`WAIT_NS_MAX`].
    ///
    /// # Errors
    /// When the kernel refuses, which it does not.
    pub async fn wait(&self, at: u64, now: u64) -> Result<(), Failure> {
        self.set(at.min(now + WAIT_NS_MAX), now);
        self.file.read_at(Vec::with_capacity(8), 0).await.0.during("waiting for a timer")?;
        self.set_for.set(0);
        Ok(())
    }
}
