//! What every thread of a server must know to read: until when it may (R16 to R21), by whose time items expire, and whom to wake
//! when keys are unlocked. Thread 0 writes it, all threads read it, without a lock.
//!
//! **Order.** A reader takes the deadline first, then asks for the key's lock, takes the value, and looks at the clock last
//! (R24, `cluster::read_order`). Thread 0 publishes after each step of the machine and before anything that the step
//! sends can leave.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU64, fence};

use crate::time::{Seconds, Time};

/// In `time`: this server leads, and its own clock counts too.
const LEADS: u64 = 1 << 63;

/// See the module.
#[derive(Debug)]
pub struct Gate {
    strict: bool,
    deadline: AtomicU64,
    time: AtomicU64,
    /// Threads on which reads wait for a key's lock.
    waiting: Box<[AtomicBool]>,
}

impl Gate {
    /// A closed gate; `strict`: reads are confirmed one by one.
    #[must_use]
    pub fn new(threads: usize, strict: bool) -> Self {
        let waiting = (0..threads).map(|_| AtomicBool::new(false)).collect();
        Self { strict, deadline: AtomicU64::new(0), time: AtomicU64::new(0), waiting }
    }

    /// Whether each read needs a permission of its own.
    #[must_use]
    pub const fn is_strict(&self) -> bool {
        self.strict
    }

    /// Until when reads may be answered here; 0 when not at all.
    #[inline]
    #[must_use]
    pub fn deadline(&self) -> Time {
        Time(self.deadline.load(SeqCst))
    }

    /// By which time items have expired, at this instant of this server's clock.
    #[inline]
    #[must_use]
    pub fn seconds(&self, now: Time) -> Seconds {
        let time = self.time.load(Relaxed);
        let newest = Time(time & !LEADS);
        if time & LEADS == 0 { newest.seconds() } else { newest.max(now).seconds() }
    }

    /// Thread 0: what holds from now on.
    pub fn publish(&self, deadline: Option<Time>, newest: Time, leads: bool) {
        self.time.store(newest.0 | if leads { LEADS } else { 0 }, Release);
        self.deadline.store(deadline.unwrap_or(Time(0)).0, SeqCst);
    }

    /// A thread is about to wait for a key's lock, which it asks for once more behind this.
    pub fn wait(&self, thread: u16) {
        self.waiting[usize::from(thread)].store(true, Relaxed);
        fence(SeqCst);
    }

    /// Thread 0, behind the unlocking of keys: the threads that wait for that.
    pub fn to_wake(&self) -> impl Iterator<Item = usize> {
        fence(SeqCst);
        let waits = |waiting: &AtomicBool| waiting.load(Acquire) && waiting.swap(false, Acquire);
        self.waiting.iter().enumerate().filter(move |(_, waiting)| waits(waiting)).map(|(thread, _)| thread)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::NANOS;

    #[test]
    fn a_leaders_own_clock_counts_and_a_followers_does_not() {
        let gate = Gate::new(1, false);
        assert_eq!(gate.deadline(), Time(0), "closed at first");
        gate.publish(Some(Time(7)), Time(5 * NANOS), false);
        assert_eq!((gate.deadline(), gate.seconds(Time(9 * NANOS))), (Time(7), Time(5 * NANOS).seconds()));
        gate.publish(None, Time(5 * NANOS), true);
        assert_eq!((gate.deadline(), gate.seconds(Time(9 * NANOS))), (Time(0), Time(9 * NANOS).seconds()));
        assert_eq!(gate.seconds(Time(NANOS)), Time(5 * NANOS).seconds(), "it never goes back");
    }

    #[test]
    fn who_waits_is_woken_once() {
        let gate = Gate::new(3, false);
        gate.wait(2);
        gate.wait(0);
        assert_eq!(gate.to_wake().collect::<Vec<_>>(), [0, 2]);
        assert_eq!(gate.to_wake().count(), 0);
    }
}
