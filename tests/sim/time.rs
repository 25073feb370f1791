//! The time of a node: its clock, which runs up to a tenth too fast or too slow, and its pauses, in which everything
//! that arrives waits. The world's own time is called true time here.

use std::collections::VecDeque;

use ringstore::time::{Duration, Time};

use crate::dice::Dice;

/// Slowest clock, in thousandths of true time; DESIGN allows a tenth.
pub const RATE_MIN: u64 = 900;
/// Fastest clock.
pub const RATE_MAX: u64 = 1100;
const TRUE_RATE: u64 = 1000;

/// A clock: what it showed at one instant, and how fast it goes.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Time,
    showed: Time,
    rate: u64,
}

impl Clock {
    /// Shows `showed` at the true time `started`.
    pub const fn new(started: Time, showed: Time, rate: u64) -> Self {
        assert!(rate >= RATE_MIN && rate <= RATE_MAX, "a clock outside of what the design allows");
        Self { started, showed, rate }
    }

    /// Some clock that is up to a second off.
    pub fn draw(dice: &mut Dice, started: Time) -> Self {
        let rate = match dice.below(4) {
            0 => RATE_MIN,
            1 => RATE_MAX,
            _ => dice.between(RATE_MIN, RATE_MAX),
        };
        let offset = Duration::from_millis(dice.between(0, 1000));
        Self::new(started, started.after(offset), rate)
    }

    /// What it shows at a true time.
    pub fn read(&self, at: Time) -> Time {
        assert!(at >= self.started, "nobody reads a clock that is not there yet");
        Time(self.showed.0 + (at.0 - self.started.0) * self.rate / TRUE_RATE)
    }

    /// The first true time at which it shows `local` or later.
    pub const fn when(&self, local: Time) -> Time {
        let shown = local.0.saturating_sub(self.showed.0);
        Time(self.started.0 + (shown * TRUE_RATE).div_ceil(self.rate))
    }
}

/// What arrives at a node, which waits here while the node is stopped (SIGSTOP).
#[derive(Debug)]
pub struct Inbox<I> {
    paused_until: Option<Time>,
    waiting: VecDeque<I>,
    /// As many as a socket buffer holds.
    most: usize,
}

impl<I> Inbox<I> {
    pub const fn new(most: usize) -> Self {
        Self { paused_until: None, waiting: VecDeque::new(), most }
    }

    pub const fn is_paused(&self) -> bool {
        self.paused_until.is_some()
    }

    /// When the pause ends, if there is one.
    pub const fn paused_until(&self) -> Option<Time> {
        self.paused_until
    }

    /// Stops the node until `until`, or longer if it is stopped already.
    pub fn pause(&mut self, until: Time) {
        self.paused_until = Some(self.paused_until.map_or(until, |before| before.max(until)));
    }

    /// The input, if the node runs. `droppable` inputs are lost when the buffer is full, the others never.
    pub fn offer(&mut self, input: I, droppable: bool) -> Option<I> {
        if !self.is_paused() {
            return Some(input);
        }
        if !droppable || self.waiting.len() < self.most {
            self.waiting.push_back(input);
        }
        None
    }

    /// Ends the pause: everything that waited, in order.
    pub fn resume(&mut self) -> VecDeque<I> {
        self.paused_until = None;
        std::mem::take(&mut self.waiting)
    }

    /// The node is gone, and with it what waited.
    pub fn clear(&mut self) {
        self.paused_until = None;
        self.waiting.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::seeds;

    const START: Time = Time(1_700_000_000_000_000_000);

    #[test]
    fn a_fast_clock_gains_and_a_slow_one_loses_a_tenth() {
        let second = START.after(Duration::from_seconds(1));
        assert_eq!(Clock::new(START, START, 1100).read(second).since(START), Duration::from_millis(1100));
        assert_eq!(Clock::new(START, START, 900).read(second).since(START), Duration::from_millis(900));
        let ahead = START.after(Duration::from_millis(250));
        assert_eq!(Clock::new(START, ahead, 1000).read(START), ahead);
    }

    #[test]
    fn a_deadline_is_met_at_the_first_instant_that_shows_it() {
        for seed in seeds(0..500) {
            let mut dice = Dice::new(seed);
            let clock = Clock::draw(&mut dice, START);
            let deadline = clock.read(START).after(Duration(dice.between(1, 10_000_000_000)));
            let at = clock.when(deadline);
            assert!(clock.read(at) >= deadline, "RINGSTORE_SEED={seed}");
            assert!(clock.read(Time(at.0 - 1)) < deadline, "RINGSTORE_SEED={seed}");
        }
    }

    #[test]
    fn a_deadline_in_the_past_is_met_at_once() {
        assert_eq!(Clock::new(START, START, 950).when(Time(5)), START);
    }

    #[test]
    fn a_running_node_takes_what_arrives() {
        assert_eq!(Inbox::new(4).offer(7, true), Some(7));
    }

    #[test]
    fn a_paused_node_gets_everything_later_and_in_order_up_to_its_buffer() {
        let mut inbox = Inbox::new(2);
        inbox.pause(Time(9));
        inbox.pause(Time(5));
        assert_eq!(inbox.paused_until(), Some(Time(9)), "the longer pause counts");
        for input in 0..4 {
            assert_eq!(inbox.offer(input, true), None);
        }
        assert_eq!(inbox.offer(4, false), None);
        assert_eq!(inbox.resume(), [0, 1, 4]);
        assert_eq!(inbox.offer(5, true), Some(5));
    }

    #[test]
    fn a_node_that_ends_in_its_pause_gets_nothing() {
        let mut inbox = Inbox::new(2);
        inbox.pause(Time(9));
        inbox.offer(1, true);
        inbox.clear();
        assert!(!inbox.is_paused() && inbox.resume().is_empty());
    }
}
