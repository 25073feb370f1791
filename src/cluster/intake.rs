//! The leader's side of the writes that come through followers (C1): of each server, in order and each once in an epoch.
//! What made an entry is answered by the log; what changed nothing is answered from here, and kept until it is known to have
//! arrived.

use std::collections::{BTreeMap, VecDeque};

use super::configuration::{Incarnation, NodeId, Position};
use super::message::Forward;
use crate::log::Origin;
use crate::time::Time;

/// What to do with a write that came.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is the next one: evaluate it.
    Next(Origin),
    /// It had come before and changed nothing: this is the answer.
    Answered(Vec<u8>),
    /// It had come before, or one before it is missing.
    Dropped,
}

#[derive(Clone, Debug, Default)]
struct Sender {
    incarnation: Incarnation,
    /// The newest number taken in this epoch.
    last: u64,
    /// Answers that left and may have been lost.
    answers: BTreeMap<u64, Vec<u8>>,
}

/// An answer that rests on entries that are not committed yet.
#[derive(Clone, Debug)]
struct Held {
    after: Position,
    /// When it was evaluated.
    at: Time,
    origin: Origin,
    reply: Vec<u8>,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Intake {
    senders: BTreeMap<NodeId, Sender>,
    held: VecDeque<Held>,
}

impl Intake {
    /// Judges a write that came.
    pub fn take(&mut self, node: NodeId, incarnation: Incarnation, forward: &Forward) -> Taken {
        let sender = self.senders.entry(node).or_default();
        if incarnation < sender.incarnation {
            return Taken::Dropped;
        }
        if incarnation > sender.incarnation {
            *sender = Sender { incarnation, ..Sender::default() };
        }
        sender.answers = sender.answers.split_off(&forward.undecided);
        if forward.number <= sender.last {
            return sender.answers.get(&forward.number).map_or(Taken::Dropped, |reply| Taken::Answered(reply.clone()));
        }
        if forward.previous != sender.last {
            return Taken::Dropped;
        }
        sender.last = forward.number;
        Taken::Next(Origin { node, incarnation, number: forward.number })
    }

    /// The write path answers without an entry, from what the log holds up to `after`.
    pub fn hold(&mut self, origin: Origin, after: Position, at: Time, reply: Vec<u8>) {
        self.held.push_back(Held { after, at, origin, reply });
    }

    /// Whether no answer waits.
    pub fn holds_nothing(&self) -> bool {
        self.held.is_empty()
    }

    /// Hands out the answers that rest on nothing but what is committed and were found by `until`.
    pub fn release(&mut self, commit: Position, until: Time, mut answer: impl FnMut(Origin, Vec<u8>)) {
        while self.held.front().is_some_and(|held| held.after <= commit && held.at <= until) {
            let Held { origin, reply, .. } = self.held.pop_front().expect("it was there");
            if let Some(sender) = self.senders.get_mut(&origin.node)
                && sender.incarnation == origin.incarnation
            {
                sender.answers.insert(origin.number, reply.clone());
            }
            answer(origin, reply);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forward(number: u64, previous: u64) -> Forward {
        Forward { number, previous, undecided: 1, request: Vec::new() }
    }

    #[test]
    fn writes_are_taken_in_order_and_once() {
        let (node, one, two) = (NodeId(5), Incarnation(1), Incarnation(2));
        let mut intake = Intake::default();
        let origin = |incarnation, number| Origin { node, incarnation, number };
        assert_eq!(intake.take(node, one, &forward(7, 3)), Taken::Dropped, "the one before is missing");
        assert_eq!(intake.take(node, one, &forward(7, 0)), Taken::Next(origin(one, 7)));
        assert_eq!(intake.take(node, one, &forward(7, 0)), Taken::Dropped, "doubled on the way");
        assert_eq!(intake.take(node, one, &forward(8, 7)), Taken::Next(origin(one, 8)));
        assert_eq!(intake.take(node, two, &forward(1, 0)), Taken::Next(origin(two, 1)));
        assert_eq!(intake.take(node, one, &forward(9, 8)), Taken::Dropped, "from before a restart");
    }

    #[test]
    fn an_answer_waits_for_commit_and_is_given_again() {
        let (node, one) = (NodeId(5), Incarnation(1));
        let mut intake = Intake::default();
        let Taken::Next(origin) = intake.take(node, one, &forward(1, 0)) else { panic!("it is the first") };
        intake.hold(origin, Position(100), Time(7), b"NOT_STORED".to_vec());
        let mut given = Vec::new();
        intake.release(Position(99), Time(9), |_, reply| given.push(reply));
        assert!(given.is_empty(), "it may rest on an entry that is lost yet");
        intake.release(Position(100), Time(6), |_, reply| given.push(reply));
        assert!(given.is_empty(), "another may have led when it was found");
        intake.release(Position(100), Time(7), |_, reply| given.push(reply));
        assert_eq!(given, [b"NOT_STORED".to_vec()]);
        assert_eq!(intake.take(node, one, &forward(1, 0)), Taken::Answered(b"NOT_STORED".to_vec()));
        let later = Forward { undecided: 2, ..forward(2, 1) };
        assert!(matches!(intake.take(node, one, &later), Taken::Next(_)));
        assert_eq!(intake.take(node, one, &forward(1, 0)), Taken::Dropped, "it had arrived");
    }
}
