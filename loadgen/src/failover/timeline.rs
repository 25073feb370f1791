//! The run as intervals: short ones around each kill, longer ones elsewhere, so that a long run stays small.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::gap::Fate;
use crate::recording::{DIGITS_OF_INTERVAL, DIGITS_OF_RUN, Interval, LATENCY_NS_MAX, LATENCY_NS_MIN, histogram};

/// Intervals this long before a kill and after it stay short.
const KEPT_BEFORE: Duration = Duration::from_millis(100);
/// See [`KEPT_BEFORE`].
const KEPT_AFTER: Duration = Duration::from_millis(400);
/// Length of the others.
const LONG: Duration = Duration::from_millis(100);
/// Intervals younger than this stay short until it is known whether there was a kill.
const YOUNG: Duration = Duration::from_secs(2);

/// Intervals in the making.
pub struct Timeline {
    began: Instant,
    length: Duration,
    current: Interval,
    young: VecDeque<Interval>,
    old: Vec<Interval>,
    kills: Vec<Duration>,
    /// Latencies of all answered requests, in nanoseconds.
    pub latencies: Histogram<u64>,
    /// Who leads now.
    pub leader: Option<String>,
}

impl Timeline {
    /// A run that begins now, in intervals of this length around kills.
    pub fn new(began: Instant, length: Duration) -> Self {
        Self {
            began,
            length,
            current: interval(Duration::ZERO, length),
            young: VecDeque::new(),
            old: Vec::new(),
            kills: Vec::new(),
            latencies: histogram(DIGITS_OF_RUN),
            leader: None,
        }
    }

    /// A request was over at `over`. To be called in order of time.
    pub fn record(&mut self, due: Instant, over: Instant, fate: Fate) {
        self.advance(over);
        let ns = over.saturating_duration_since(due).as_nanos().min(u128::from(LATENCY_NS_MAX)) as u64;
        match fate {
            Fate::Unknown => return self.current.unknown += 1,
            Fate::Refused => self.current.errors += 1,
            Fate::Answered => {}
        }
        self.current.requests += 1;
        self.current.latencies.record(ns).expect("it grows up to the bound");
        self.latencies.record(ns).expect("it was cut to the bound");
    }

    /// A server was lost: what is around stays in short intervals.
    pub fn kill(&mut self, at: Instant) {
        self.kills.push(at.saturating_duration_since(self.began));
    }

    /// Ends the intervals that are over by `now`.
    pub fn advance(&mut self, now: Instant) {
        let now = now.saturating_duration_since(self.began);
        while now >= self.current.start + self.current.length {
            let next = interval(self.current.start + self.current.length, self.length);
            let mut done = std::mem::replace(&mut self.current, next);
            done.leader.clone_from(&self.leader);
            self.young.push_back(done);
        }
        while self.young.front().is_some_and(|one| one.start + YOUNG < now) {
            self.age();
        }
    }

    /// The latest second in one: requests, errors, unknown outcomes and latencies.
    pub fn last_second(&self) -> Interval {
        let count = (1.0 / self.length.as_secs_f64()).ceil() as usize;
        let mut sum = interval(self.current.start, Duration::from_secs(1));
        self.young.iter().rev().take(count).for_each(|one| add(&mut sum, one));
        sum
    }

    /// All intervals up to `end`, in order and without gaps.
    pub fn finish(mut self, end: Instant) -> (Vec<Interval>, Histogram<u64>) {
        self.advance(end);
        while !self.young.is_empty() {
            self.age();
        }
        self.current.length = end.saturating_duration_since(self.began) - self.current.start;
        if !self.current.length.is_zero() {
            self.current.leader = self.leader;
            self.old.push(self.current);
        }
        (self.old, self.latencies)
    }

    /// Takes the oldest of the young intervals to the old ones: as it is near a kill, else together with its neighbours.
    fn age(&mut self) {
        let Some(one) = self.young.pop_front() else { return };
        let end = one.start + one.length;
        let is_kept = |start: Duration, end: Duration| {
            self.kills.iter().any(|kill| end + KEPT_BEFORE > *kill && start < *kill + KEPT_AFTER)
        };
        match self.old.last_mut() {
            Some(last) if end - last.start <= LONG && !is_kept(last.start, end) => add(last, &one),
            _ => self.old.push(one),
        }
    }
}

/// An empty one. Its histogram grows with what comes, since most intervals see small latencies only.
fn interval(start: Duration, length: Duration) -> Interval {
    let mut latencies = Histogram::new_with_bounds(LATENCY_NS_MIN, 2 * LATENCY_NS_MIN, DIGITS_OF_INTERVAL)
        .expect("the bounds are in order");
    latencies.auto(true);
    Interval { start, length, requests: 0, errors: 0, unknown: 0, latencies, leader: None }
}

/// Adds a later interval.
fn add(sum: &mut Interval, one: &Interval) {
    sum.length = sum.length.max(one.start.saturating_sub(sum.start) + one.length);
    sum.requests += one.requests;
    sum.errors += one.errors;
    sum.unknown += one.unknown;
    sum.latencies.add(&one.latencies).expect("it grows");
    sum.leader.clone_from(&one.leader);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_short_around_kills_and_have_no_gaps() {
        let (began, ms) = (Instant::now(), Duration::from_millis);
        let mut timeline = Timeline::new(began, ms(10));
        for request in 0..10_000 {
            let due = began + ms(request);
            if request == 5_000 {
                timeline.kill(due);
            }
            timeline.record(due, due + ms(1), if request == 5_001 { Fate::Unknown } else { Fate::Answered });
        }
        assert_eq!(timeline.last_second().requests, 1_000);
        let (intervals, latencies) = timeline.finish(began + ms(10_005));
        let mut end = Duration::ZERO;
        for one in &intervals {
            assert_eq!(one.start, end);
            end += one.length;
            let near = one.start + one.length + KEPT_BEFORE > ms(5_000) && one.start < ms(5_000) + KEPT_AFTER;
            assert!(one.length <= if near { ms(10) } else { LONG }, "{:?} at {:?}", one.length, one.start);
        }
        assert_eq!(end, ms(10_005));
        assert!((145..160).contains(&intervals.len()), "{}", intervals.len());
        assert_eq!(intervals.iter().map(|one| one.requests).sum::<u64>(), 9_999);
        assert_eq!(intervals.iter().map(|one| one.latencies.len()).sum::<u64>(), 9_999);
        assert_eq!((latencies.len(), intervals.iter().map(|one| one.unknown).sum::<u64>()), (9_999, 1));
    }
}
