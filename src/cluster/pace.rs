//! How soon silence means something: short while everything is calm, long as soon as something was late. A failure detector whose
//! time-out follows what it sees (Chen, Toueg, Aguilera, "On the quality of service of failure detectors", 2002), in two steps:
//! where the time-out is a lease, others have to be told of it before it can grow.

use crate::config;
use crate::time::{Duration, Time};

/// How long a time-out may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lengths {
    /// While nothing is late; `longest` if that is shorter.
    pub calm: Duration,
    /// As soon as something was late.
    pub longest: Duration,
}

impl Lengths {
    /// The same whatever happens.
    #[must_use]
    pub const fn always(length: Duration) -> Self {
        Self { calm: length, longest: length }
    }
}

/// A time-out that has two lengths.
#[derive(Clone, Debug)]
pub struct Pace {
    calm: Duration,
    longest: Duration,
    /// When it is calm, if nothing is late until then.
    calm_from: Time,
    /// Since when it is long; nothing while it is short.
    long_since: Option<Time>,
}

impl Pace {
    /// Begins long.
    #[must_use]
    pub fn new(now: Time, lengths: Lengths) -> Self {
        let Lengths { calm, longest } = lengths;
        if calm >= longest {
            // nothing changes it, and nothing is noted
            return Self { calm: longest, longest, calm_from: Time(u64::MAX), long_since: None };
        }
        Self { calm, longest, calm_from: now.after(config::PACE_BEGINNING), long_since: Some(now) }
    }

    /// The time-out for what is sent now.
    #[must_use]
    pub const fn length(&self) -> Duration {
        if self.long_since.is_some() { self.longest } else { self.calm }
    }

    /// The time-out that what was sent at `sent` was sent with, or a shorter one.
    #[must_use]
    pub fn relied(&self, sent: Time) -> Duration {
        // at the instant of the change both were sent
        if self.long_since.is_some_and(|since| sent > since) { self.longest } else { self.calm }
    }

    /// An answer took this long: a good part of a short time-out is too much of it.
    pub fn on_round_trip(&mut self, now: Time, took: Duration) {
        if took.0 > self.calm.0 / 2 && self.changes() {
            self.lengthen(now, config::PACE_LATE);
        }
    }

    /// The time-out ended, and nobody had failed.
    pub fn on_false_alarm(&mut self, now: Time) {
        if self.changes() {
            self.lengthen(now, config::PACE_FALSE_ALARM);
        }
    }

    /// There is nothing to judge by: it takes longer until it is calm.
    pub fn on_nothing_heard(&mut self, now: Time) {
        self.calm_from = self.calm_from.max(now.after(config::PACE_BEGINNING));
    }

    const fn changes(&self) -> bool {
        self.calm.0 < self.longest.0
    }

    fn lengthen(&mut self, now: Time, length: Duration) {
        self.calm_from = self.calm_from.max(now.after(length));
        self.long_since.get_or_insert(now);
    }

    /// Time has passed.
    pub fn on_ticked(&mut self, now: Time) {
        if now >= self.calm_from {
            self.long_since = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(80);
    const LONG: Duration = Duration::from_millis(200);
    const LENGTHS: Lengths = Lengths { calm: SHORT, longest: LONG };

    fn at(millis: u64) -> Time {
        Time(1_000_000_000_000 + millis * 1_000_000)
    }

    #[test]
    fn it_is_short_when_nothing_was_late_for_a_while() {
        let mut pace = Pace::new(at(0), LENGTHS);
        let beginning = config::PACE_BEGINNING.0 / 1_000_000;
        pace.on_ticked(at(beginning - 1));
        assert_eq!(pace.length(), LONG);
        pace.on_round_trip(at(beginning), Duration::from_millis(40));
        pace.on_ticked(at(beginning));
        assert_eq!(pace.length(), SHORT);
        pace.on_round_trip(at(2000), Duration::from_millis(41));
        assert_eq!(pace.length(), LONG);
        let late = config::PACE_LATE.0 / 1_000_000;
        pace.on_ticked(at(2000 + late - 1));
        assert_eq!(pace.length(), LONG);
        pace.on_ticked(at(2000 + late));
        assert_eq!(pace.length(), SHORT);
    }

    #[test]
    fn a_false_alarm_is_remembered_longer_than_a_late_answer() {
        let mut pace = Pace::new(at(0), LENGTHS);
        pace.on_false_alarm(at(1000));
        pace.on_round_trip(at(1001), LONG);
        pace.on_ticked(at(1001 + config::PACE_LATE.0 / 1_000_000));
        assert_eq!(pace.length(), LONG);
        pace.on_ticked(at(1000 + config::PACE_FALSE_ALARM.0 / 1_000_000));
        assert_eq!(pace.length(), SHORT);
    }

    #[test]
    fn nothing_is_relied_on_for_longer_than_was_asked_for() {
        let mut pace = Pace::new(at(0), LENGTHS);
        // what was sent, and for how long its receiver promised
        let mut sent = Vec::new();
        for millis in 0..30_000 {
            let now = at(millis);
            sent.push((now, pace.length()));
            match millis % 4_001 {
                2_500 => pace.on_round_trip(now, LONG),
                2_501 => pace.on_false_alarm(now),
                _ => pace.on_ticked(now),
            }
            sent.push((now, pace.length()));
            let recent = sent.iter().rev().take(600);
            assert!(recent.clone().all(|&(sent, promised)| pace.relied(sent) <= promised), "at {millis}");
        }
    }

    #[test]
    fn a_time_out_that_is_short_anyway_stays_as_it_is() {
        let mut pace = Pace::new(at(0), Lengths { calm: LONG, longest: SHORT });
        assert_eq!((pace.length(), pace.relied(at(5))), (SHORT, SHORT));
        pace.on_ticked(at(9000));
        assert_eq!(pace.length(), SHORT);
    }
}
