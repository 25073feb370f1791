//! The rules of evidence one by one, and a random path beside a naive ledger of what was sent and what came.

use std::collections::BTreeMap;

use rand::prelude::*;
use rand::rngs::StdRng;

use super::*;
use crate::cluster::configuration::{Epoch, LogIndex};

/// What an ack says: agreed up to, missing, top, newest number.
type Said = (Position, Vec<Missing>, Position, u64);

fn mark(frame: u64) -> Mark {
    Mark { epoch: Epoch(1), index: LogIndex(frame), position: Position(10 * frame) }
}

const fn at(micros: u64) -> Time {
    Time(1_000_000_000 + micros * 1000)
}

/// Frames of 10 bytes each, sent a microsecond apart: frame n has number n + 1.
fn flight(frames: u64) -> Flight {
    let mut flight = Flight::new();
    for frame in 0..frames {
        flight.on_sent(at(frame), frame + 1, mark(frame), mark(frame + 1).position, false);
    }
    flight
}

fn hole(from: u64, to: u64) -> Missing {
    Missing { from: Position(10 * from), to: Position(10 * to) }
}

fn end(frame: u64) -> Position {
    mark(frame).position
}

#[test]
fn three_later_messages_are_evidence_and_two_are_not() {
    let mut flight = flight(5);
    flight.on_ack(at(100), end(1), &[], end(1), 1);
    let seen = flight.on_ack(at(101), end(1), &[hole(1, 2)], end(4), 4);
    assert_eq!((seen.acked, seen.lost, flight.first_lost()), (20, 0, None), "frame 1 has number 2");
    let seen = flight.on_ack(at(102), end(1), &[hole(1, 2)], end(5), 5);
    assert_eq!((seen.acked, seen.lost, flight.first_lost()), (10, 10, Some(mark(1))));
    flight.on_sent_again(at(103), 6, end(1));
    assert_eq!(flight.first_lost(), None);
    let seen = flight.on_ack(at(203), end(1), &[hole(1, 2)], end(5), 5);
    assert_eq!(seen.lost, 0, "nothing later than the second sending has come");
    let seen = flight.on_ack(at(204), end(5), &[], end(5), 6);
    assert_eq!((seen.acked, seen.acked_sent), (10, at(103)));
    assert!(flight.is_empty());
}

#[test]
fn one_later_message_and_more_than_a_round_trip_are_evidence() {
    let mut flight = flight(2);
    flight.on_ack(at(100), end(1), &[], end(1), 1);
    assert_eq!(flight.round_trip(), Duration(100_000));
    flight.on_beacon(at(2), 3);
    let seen = flight.on_ack(at(103), end(1), &[], end(1), 3);
    assert_eq!(seen.lost, 0, "it may have been overtaken");
    assert_eq!(flight.on_ticked(at(111)).lost, 0);
    assert_eq!(flight.on_ticked(at(120)).lost, 10);
    assert_eq!(flight.first_lost(), Some(mark(1)));
}

#[test]
fn silence_is_no_evidence_but_a_reason_to_ask() {
    let mut flight = flight(3);
    assert_eq!(flight.probe_timeout(), None, "nothing was measured");
    flight.on_ack(at(100), end(1), &[], end(1), 1);
    assert_eq!(flight.probe_timeout(), Some(Duration(300_000)));
    assert!(flight.awaits());
    assert_eq!(flight.on_ticked(at(10_000_000)), Seen::default());
    flight.on_beacon(at(10_000_001), 4);
    let seen = flight.on_ack(at(10_000_101), end(1), &[], end(1), 4);
    assert_eq!((seen.lost, seen.persistent), (20, false), "the last ones are found by the question's answer");
    assert!(!flight.awaits());
}

#[test]
fn who_is_late_and_not_lost_teaches_patience() {
    let mut flight = flight(6);
    let seen = flight.on_ack(at(100), end(0), &[hole(0, 1)], end(4), 4);
    assert_eq!(seen.lost, 10);
    flight.on_sent_again(at(101), 7, end(0));
    flight.on_ack(at(102), end(4), &[], end(4), 4);
    assert_eq!(flight.patience, 1);
    let mut later = flight.clone();
    later.sent.clear();
    (0..7).for_each(|frame| later.on_sent(at(200 + frame), 10 + frame, mark(frame), end(frame + 1), false));
    assert_eq!(later.on_ack(at(260), end(0), &[hole(0, 1)], end(6), 15).lost, 0, "five later ones are no evidence now");
    assert_eq!(later.on_ack(at(261), end(0), &[hole(0, 1)], end(7), 16).lost, 10, "six are");
}

#[test]
fn an_ack_that_was_overtaken_takes_nothing_back() {
    let mut flight = flight(8);
    flight.on_ack(at(100), end(2), &[hole(2, 3)], end(7), 7);
    let lost = flight.first_lost();
    let seen = flight.on_ack(at(101), end(2), &[hole(2, 5)], end(6), 6);
    assert_eq!((seen, flight.first_lost()), (Seen::default(), lost));
}

#[test]
fn all_lost_over_several_timeouts_is_persistent() {
    let mut flight = Flight::new();
    flight.on_sent(at(0), 1, mark(0), end(1), false);
    flight.on_ack(at(100), end(1), &[], end(1), 1);
    for frame in 1..20 {
        flight.on_sent(at(200 * frame), frame + 1, mark(frame), end(frame + 1), false);
    }
    let seen = flight.on_ack(at(4000), end(1), &[hole(1, 19)], end(20), 20);
    assert!(seen.persistent, "18 frames over 3.4 ms, and three timeouts are 0.9 ms");
}

/// A path that loses and reorders, a receiver that keeps what it gets, and a ledger: for every number what it carried and
/// whether it came.
#[test]
fn on_a_random_path_everything_comes_and_nothing_known_to_be_there_is_sent_again() {
    for seed in 0..300 {
        println!("seed {seed}");
        let mut rng = StdRng::seed_from_u64(seed);
        let (loss, reorder) = (rng.random_range(0.0..0.4), rng.random_range(0..40) * u64::from(seed % 3 > 0));
        let frames = rng.random_range(1..60_u64);
        let mut flight = Flight::new();
        let (mut number, mut next, mut sent_again, mut lost_frames) = (0, 0, 0, 0);
        // by arrival: the number and, of a beacon nothing, of a frame which
        let mut way: BTreeMap<(u64, u64), Option<u64>> = BTreeMap::new();
        let mut acks: BTreeMap<(u64, u64), Said> = BTreeMap::new();
        let mut came = vec![false; frames as usize];
        let mut known = vec![false; frames as usize];
        let mut newest = 0;
        let mut now = 0;
        while next < frames || !flight.is_empty() {
            now += 10;
            assert!(now < 1_000_000, "it comes to an end");
            let mut send = |number: u64, frame: Option<u64>, rng: &mut StdRng| {
                if rng.random_bool(loss) {
                    lost_frames += u64::from(frame.is_some());
                } else {
                    way.insert((now + 50 + rng.random_range(0..=reorder), number), frame);
                }
            };
            while let Some(mark) = flight.first_lost() {
                number += 1;
                let frame = mark.position.0 / 10;
                assert!(!known[frame as usize], "the sender had been told that it is there");
                flight.on_sent_again(at(now), number, mark.position);
                sent_again += 1;
                send(number, Some(frame), &mut rng);
            }
            if next < frames {
                number += 1;
                flight.on_sent(at(now), number, mark(next), end(next + 1), false);
                send(number, Some(next), &mut rng);
                next += 1;
            } else if now.is_multiple_of(100) {
                number += 1;
                flight.on_beacon(at(now), number);
                send(number, None, &mut rng);
            }
            while let Some(entry) = way.first_entry().filter(|entry| entry.key().0 <= now) {
                let ((_, number), frame) = entry.remove_entry();
                newest = newest.max(number);
                if let Some(frame) = frame {
                    came[frame as usize] = true;
                }
                let ack = naive_ack(&came, newest);
                acks.insert((now + 50 + rng.random_range(0..=reorder), number), ack);
            }
            while let Some(entry) = acks.first_entry().filter(|entry| entry.key().0 <= now) {
                let (until, missing, top, newest) = entry.remove();
                let fresh = newest >= flight.newest.0;
                flight.on_ack(at(now), until, &missing, top, newest);
                for (frame, known) in known.iter_mut().enumerate() {
                    let from = Position(10 * frame as u64);
                    let within = from < top && !missing.iter().any(|hole| hole.from <= from && from < hole.to);
                    *known |= from < until || (fresh && within);
                }
            }
            flight.on_ticked(at(now));
            let in_flight = flight.sent.iter().filter(|sent| sent.state == State::UnderWay).map(Sent::bytes).sum();
            flight.check_invariants(in_flight);
        }
        assert!(came.iter().all(|&came| came));
        assert!(sent_again >= lost_frames);
        if reorder == 0 {
            assert_eq!(sent_again, lost_frames, "what is not lost is not sent again");
        }
    }
}

/// What a receiver says that has these frames.
fn naive_ack(came: &[bool], newest: u64) -> (Position, Vec<Missing>, Position, u64) {
    let first = came.iter().position(|came| !came).unwrap_or(came.len());
    let top = came.iter().rposition(|&came| came).map_or(0, |last| last + 1).max(first);
    let mut missing: Vec<Missing> = Vec::new();
    for frame in (first..top).filter(|&frame| !came[frame]).map(|frame| frame as u64) {
        match missing.last_mut().filter(|hole| hole.to == end(frame)) {
            Some(hole) => hole.to = end(frame + 1),
            None => missing.push(hole(frame, frame + 1)),
        }
    }
    (end(first as u64), missing, end(top as u64), newest)
}

/// A large frame goes in pieces, which the transport sends again. What is sent behind it overtakes it, and that says nothing until
/// the transport is done; then it is as any other frame.
#[test]
fn pieces_are_not_lost_before_the_transport_is_done() {
    let mut flight = Flight::new();
    flight.on_sent(at(0), 1, mark(0), end(1), true);
    for beacon in 2..20 {
        flight.on_beacon(at(10 * beacon), beacon);
        let seen = flight.on_ack(at(10 * beacon + 5), end(0), &[hole(0, 1)], end(1), beacon);
        assert_eq!((flight.first_lost(), seen), (None, Seen::default()), "beacon {beacon}");
    }
    flight.on_pieces_settled(at(300), 19);
    assert_eq!(flight.on_ticked(at(300)), Seen::default());
    let mut came = flight.clone();
    assert_eq!(came.on_ack(at(301), end(1), &[], end(1), 20), Seen::default(), "no congestion control counts it");
    assert!(came.is_empty());
    for beacon in 20..23 {
        flight.on_beacon(at(300 + beacon), beacon);
    }
    flight.on_ack(at(330), end(0), &[hole(0, 1)], end(1), 22);
    assert_eq!(flight.first_lost(), Some(mark(0)), "they were given up");
    flight.on_sent_again(at(331), 23, mark(0).position);
    flight.on_beacon(at(340), 30);
    flight.on_ack(at(350), end(0), &[hole(0, 1)], end(1), 30);
    assert_eq!(flight.first_lost(), None, "and are under way again");
    flight.check_invariants(0);
}
