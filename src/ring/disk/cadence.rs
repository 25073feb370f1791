//! When the next sync of a log begins: at once, or in a cadence when a crowd waits and the disk stops syncs for long.
//!
//! A sync that begins when the last one has ended carries what came meanwhile, and of a crowd that is a part. But some disks do
//! a limited number of operations a second, volumes of clouds by quota, and some virtual machines have a quota of processor time
//! of which the host's work for their disk takes its part: when it is used up, everything is stopped for milliseconds. A sync
//! that begins a little later carries more, and there are fewer. (Helland and others, "Group commit timers and high volume
//! transaction systems", 1987.) How much later is found as TCP finds its rate: while more than a twentieth of the time is lost
//! with stops the interval grows by what a sync takes, and while less than half of that is, it shrinks by as much.

use crate::config;
use crate::time::{Duration, Time};

/// The part of a new sample in the smoothed time of a sync.
const SMOOTHING: u64 = 8;
/// A sync was stopped when it took so many times what others take.
const STOPPED: u64 = 8;
/// So often it is looked at how much of the time was lost.
const WINDOW: Duration = Duration::from_millis(250);
/// The interval grows when more than this part was, and shrinks when less than half of it was.
const LOST_PART: u64 = 20;

/// See the module.
#[derive(Debug, Default)]
pub struct Cadence {
    /// What no sync has carried yet.
    waiting: Load,
    /// What the last sync carried, and when it began.
    carried: Load,
    began: Time,
    /// What a sync takes, smoothed; one that was stopped says little about the next.
    took: Duration,
    /// Longer than a sync takes is the interval from one's begin to the next by so many times that; 0 waits for nothing.
    longer: u64,
    /// Time lost with stops since the window began.
    lost: Duration,
    window: Time,
}

#[derive(Clone, Copy, Debug, Default)]
struct Load {
    frames: u64,
    bytes: u64,
}

impl Load {
    /// One turn's frame is of clients that all wait for it, however much they write; and a few small ones have little to gain.
    const fn is_of_a_crowd(self) -> bool {
        self.frames > 1 && self.bytes > config::SYNC_CROWD_BYTES
    }
}

impl Cadence {
    /// A frame was written, by one turn of the loop.
    pub const fn on_written(&mut self, bytes: usize) {
        self.waiting.frames += 1;
        self.waiting.bytes += bytes as u64;
    }

    /// A sync of all of them began.
    pub const fn on_begun(&mut self, now: Time) {
        (self.carried, self.waiting, self.began) = (self.waiting, Load { frames: 0, bytes: 0 }, now);
    }

    /// Bytes that the last sync carried.
    pub const fn carried_bytes(&self) -> u64 {
        self.carried.bytes
    }

    /// It has ended.
    pub fn on_ended(&mut self, now: Time) {
        let (took, smoothed) = (now.since(self.began).0, self.took.0);
        if smoothed > 0 && took >= STOPPED * smoothed {
            self.lost.0 += took - smoothed;
        }
        self.look_at_lost(now);
        self.took = Duration(match smoothed {
            0 => took,
            _ => smoothed - smoothed / SMOOTHING + took.min(2 * smoothed) / SMOOTHING,
        });
    }

    fn look_at_lost(&mut self, now: Time) {
        let elapsed = now.since(self.window);
        if elapsed < WINDOW {
            return;
        }
        let most = elapsed.0 / LOST_PART;
        if self.lost.0 > most {
            self.longer = (self.longer + 1).min(config::SYNC_CADENCE_TIMES_MAX - 1);
        } else if self.lost.0 < most / 2 {
            self.longer = self.longer.saturating_sub(1);
        }
        (self.lost, self.window) = (Duration(0), now);
    }

    /// Not before this instant shall the next one begin.
    pub fn earliest(&self) -> Time {
        if self.longer == 0 || !self.carried.is_of_a_crowd() {
            return Time(0);
        }
        self.began.after(Duration((1 + self.longer) * self.took.0).min(config::SYNC_CADENCE_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYNC: u64 = 300_000;
    /// More than a page, by two turns.
    const CROWD: (usize, usize) = (2, config::SYNC_CROWD_BYTES as usize);

    /// Syncs one after the other, each as early as it may be.
    struct World {
        cadence: Cadence,
        now: Time,
    }

    impl World {
        fn new() -> Self {
            let mut world = Self { cadence: Cadence::default(), now: Time(1_000_000_000) };
            world.syncs(CROWD, SYNC, 20);
            world
        }

        /// So many syncs of so many frames of so many bytes: how long from the last one's begin until the next may begin.
        fn syncs(&mut self, (frames, bytes): (usize, usize), took: u64, times: u64) -> u64 {
            let mut began = self.now;
            for _ in 0..times {
                began = self.now.max(self.cadence.earliest());
                (0..frames).for_each(|_| self.cadence.on_written(bytes));
                self.cadence.on_begun(began);
                self.now = began.after(Duration(took));
                self.cadence.on_ended(self.now);
            }
            self.cadence.earliest().since(began).0
        }
    }

    /// For a second, with a stop of so many milliseconds in each 100: how long until the next sync may begin.
    fn a_second(world: &mut World, load: (usize, usize), stop_millis: u64) -> u64 {
        let end = world.now.after(Duration::from_millis(1_000));
        let mut interval = 0;
        while world.now < end {
            let stopped = world.now.after(Duration::from_millis(100));
            if stop_millis > 0 {
                world.syncs(load, Duration::from_millis(stop_millis).0, 1);
            }
            while world.now < stopped {
                interval = world.syncs(load, SYNC, 1);
            }
        }
        interval
    }

    #[test]
    fn a_disk_that_stops_little_is_never_waited_for() {
        let mut world = World::new();
        for _ in 0..5 {
            assert_eq!(a_second(&mut world, CROWD, 0), 0);
            assert_eq!(a_second(&mut world, CROWD, 4), 0, "waiting would cost more");
        }
    }

    #[test]
    fn stops_make_room_and_time_takes_it_back() {
        let mut world = World::new();
        let interval = a_second(&mut world, CROWD, 14);
        assert!(interval >= 4 * SYNC, "one longer in each of four windows: {interval}");
        assert!(a_second(&mut world, CROWD, 4) >= 4 * SYNC, "it is as it should be");
        a_second(&mut world, CROWD, 0);
        assert_eq!(a_second(&mut world, CROWD, 0), 0);
    }

    #[test]
    fn it_never_waits_for_longer_than_is_worth_it() {
        let mut world = World::new();
        for _ in 0..5 {
            let interval = a_second(&mut world, CROWD, 40);
            assert!(interval > 0 && interval <= config::SYNC_CADENCE_MAX.0, "{interval}");
        }
    }

    #[test]
    fn who_is_alone_and_few_wait_for_nobody() {
        for load in [(1, 1 << 20), (10, 100)] {
            assert_eq!(a_second(&mut World::new(), load, 20), 0);
        }
    }
}
