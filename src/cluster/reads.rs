//! Reads that wait at a server: for a lease that is about to come, or in strict mode for the word of the leader. Held for a
//! bounded time, then refused: a client is better off with a read that takes some round trips longer than with a refusal.
//!
//! ```text
//! strict, at a follower:   asked -> ReadIndexAsked(number) -> ReadIndex(number, commit) -> commit reached here -> allowed
//! ```

use std::collections::VecDeque;

use super::configuration::Position;
use crate::config;
use crate::time::{Duration, Time};

#[derive(Clone, Debug)]
struct Waiting {
    ticket: u64,
    asked: Time,
    /// The question to the leader that was asked after it came; 0 before that.
    number: u64,
    /// What has to be committed here: everything that was when the leader was asked.
    index: Option<Position>,
}

/// Invariant: at most `WAITING_READS_MAX` of them, in the order in which they came.
#[derive(Clone, Debug, Default)]
pub struct Reads {
    waiting: VecDeque<Waiting>,
    /// The newest question's.
    number: u64,
    /// When it was asked, until it is answered.
    sent: Option<Time>,
}

impl Reads {
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether there was room for one more.
    pub fn push(&mut self, now: Time, ticket: u64) -> bool {
        let room = self.waiting.len() < config::WAITING_READS_MAX;
        if room {
            self.waiting.push_back(Waiting { ticket, asked: now, number: 0, index: None });
        }
        room
    }

    /// The question that is to be asked now. One at a time: what comes meanwhile is asked for together.
    pub fn question(&mut self, now: Time, resend: Duration) -> Option<u64> {
        let open = |waiting: &Waiting| waiting.index.is_none();
        let late = self.sent.is_none_or(|at| now.since(at) >= resend);
        if !late || !self.waiting.iter().any(open) {
            return None;
        }
        self.number += 1;
        self.sent = Some(now);
        for waiting in self.waiting.iter_mut().filter(|waiting| open(waiting)) {
            waiting.number = self.number;
        }
        Some(self.number)
    }

    /// The leader led when it was asked, and so much was committed then.
    pub fn on_index(&mut self, number: u64, commit: Position) {
        if number == self.number {
            self.sent = None;
        }
        let mut asked = self.waiting.iter_mut().filter(|waiting| waiting.number != 0 && waiting.number <= number);
        asked.by_ref().filter(|waiting| waiting.index.is_none()).for_each(|waiting| waiting.index = Some(commit));
    }

    /// Another leader, maybe: what was asked and not answered is asked again.
    pub fn in_next_epoch(&mut self) {
        self.sent = None;
        for waiting in self.waiting.iter_mut().filter(|waiting| waiting.index.is_none()) {
            waiting.number = 0;
        }
    }

    /// Takes out those that `may` be answered: it is told when each was asked and what it waits for.
    pub fn take(&mut self, may: impl Fn(Time, Option<Position>) -> bool, mut each: impl FnMut(u64)) {
        self.waiting.retain(|waiting| {
            let taken = may(waiting.asked, waiting.index);
            if taken {
                each(waiting.ticket);
            }
            !taken
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESEND: Duration = Duration(10);

    fn taken(reads: &mut Reads, commit: u64) -> Vec<u64> {
        let mut tickets = Vec::new();
        reads.take(|_, index| index.is_some_and(|index| index.0 <= commit), |ticket| tickets.push(ticket));
        tickets
    }

    #[test]
    fn a_question_covers_what_came_before_it_and_nothing_else() {
        let mut reads = Reads::default();
        assert_eq!(reads.question(Time(1), RESEND), None, "nobody waits");
        reads.push(Time(1), 7);
        assert_eq!(reads.question(Time(1), RESEND), Some(1));
        reads.push(Time(2), 8);
        assert_eq!(reads.question(Time(2), RESEND), None, "one at a time");
        reads.on_index(1, Position(50));
        assert_eq!(taken(&mut reads, 49), [], "not committed here yet");
        assert_eq!(taken(&mut reads, 50), [7]);
        assert_eq!(reads.question(Time(3), RESEND), Some(2));
        reads.on_index(1, Position(50));
        assert_eq!(taken(&mut reads, 99), [], "a doubled answer is older than the read");
        reads.on_index(2, Position(60));
        assert_eq!(taken(&mut reads, 99), [8]);
        assert!(reads.is_empty());
    }

    #[test]
    fn a_lost_question_is_asked_again_and_another_leader_is_asked_anew() {
        let mut reads = Reads::default();
        reads.push(Time(1), 7);
        assert_eq!(reads.question(Time(1), RESEND), Some(1));
        assert_eq!(reads.question(Time(11), RESEND), Some(2));
        reads.in_next_epoch();
        reads.on_index(2, Position(50));
        assert_eq!(taken(&mut reads, 99), [], "the answer of a leader that was replaced");
        assert_eq!(reads.question(Time(12), RESEND), Some(3));
        reads.on_index(3, Position(50));
        assert_eq!(taken(&mut reads, 99), [7]);
    }

    #[test]
    fn they_are_bounded() {
        let mut reads = Reads::default();
        assert!((0..config::WAITING_READS_MAX as u64).all(|ticket| reads.push(Time(1), ticket)));
        assert!(!reads.push(Time(1), 0));
    }
}
