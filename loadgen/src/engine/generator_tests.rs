//! A generator against a scripted server in virtual time: the server's delays are known, so every latency can be computed
//! without the generator, and what it reports must be that.

use std::collections::{BTreeMap, HashMap};

use ringstore::proto::{Command, ParseLimits, Parsed, parse, reply};

use super::*;
use crate::workload::keys::Keys;
use crate::workload::mix::Mix;
use crate::workload::popularity::Popularity;
use crate::workload::size::Size;

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;
const LIMITS: ParseLimits = ParseLimits { item_bytes_max: 1 << 20 };

/// When a server answers: one request after another, each takes `service`, and in the first `stall` of each second it does
/// nothing.
#[derive(Clone, Copy)]
struct Delays {
    service: u64,
    stall: u64,
}

impl Delays {
    /// When a request that came at `at` is answered by a server that was free at `free`.
    fn answered(self, at: u64, free: u64) -> u64 {
        let mut begin = at.max(free);
        if begin % SECOND < self.stall {
            begin = begin / SECOND * SECOND + self.stall;
        }
        begin + self.service
    }
}

/// A server in virtual time: understands what it is sent and keeps items.
struct FakeServer {
    delays: Delays,
    free: u64,
    items: HashMap<Vec<u8>, Vec<u8>>,
    /// Bytes on their way back, by when they arrive and in which order they left.
    on_the_way: BTreeMap<(u64, u64), (usize, Vec<u8>)>,
    answered: u64,
    /// Answers are cut here, so that each comes in two pieces.
    cut: Option<usize>,
}

impl FakeServer {
    fn new(delays: Delays) -> Self {
        Self { delays, free: 0, items: HashMap::new(), on_the_way: BTreeMap::new(), answered: 0, cut: None }
    }

    fn receive(&mut self, session: usize, mut bytes: &[u8], now: u64) {
        while !bytes.is_empty() {
            let Parsed::Command { command, consumed } = parse(bytes, &LIMITS) else {
                panic!("no command: {}", bytes.escape_ascii())
            };
            let answer = self.execute(&command);
            self.free = self.delays.answered(now, self.free);
            let at = self.cut.map_or(answer.len(), |cut| cut.min(answer.len()));
            for piece in [&answer[..at], &answer[at..]] {
                if !piece.is_empty() {
                    self.on_the_way.insert((self.free, self.answered), (session, piece.to_vec()));
                    self.answered += 1;
                }
            }
            bytes = &bytes[consumed..];
        }
    }

    fn execute(&mut self, command: &Command<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        match command {
            Command::Get(get) => {
                for key in get.keys {
                    if let Some(value) = self.items.get(key) {
                        reply::value(&mut out, key, 0, value, get.with_cas.then_some(1));
                    }
                }
                reply::end(&mut out);
            }
            Command::Store(store) => {
                self.items.insert(store.key.to_vec(), store.value.to_vec());
                reply::line(&mut out, "STORED");
            }
            Command::Delete { key, .. } => {
                reply::line(&mut out, if self.items.remove(*key).is_some() { "DELETED" } else { "NOT_FOUND" });
            }
            other => panic!("the test sends no {other:?}"),
        }
        out
    }
}

fn orders(pace: Pace, sessions: usize, pipeline: usize, seconds: u64) -> Orders {
    let shape = Shape {
        mix: Mix::only(crate::workload::mix::Operation::Get),
        keys: Keys::new(100, Size::Fixed(16)).expect("they fit"),
        popularity: Popularity::Uniform,
        value_size: Size::Fixed(100),
        value_bytes_min: 0,
    };
    Orders {
        shape,
        pace,
        end: End::After(seconds * SECOND),
        warm_up: 0,
        interval: SECOND,
        pipeline,
        drain: 10 * SECOND,
        patience: None,
        verify: false,
        seed: 1,
        thread: 0,
        threads: 1,
        sessions,
        writer: 7,
    }
}

/// Lets time pass from event to event until the load is done.
fn play(orders: &Orders, server: &mut FakeServer) -> Generator {
    let (mut generator, mut now) = (Generator::new(orders.clone()), 0);
    let mut kept = vec![Vec::new(); orders.sessions];
    (0..orders.sessions).for_each(|session| generator.connected(session, 0));
    loop {
        generator.tick(now);
        generator.issue(now);
        while let Some(session) = generator.take_outgoing() {
            let bytes = std::mem::take(generator.output(session));
            server.receive(session, &bytes, now);
        }
        if generator.is_done(now) {
            generator.finish_at(now);
            return generator;
        }
        let arrives = server.on_the_way.first_key_value().map_or(u64::MAX, |((at, _), _)| *at);
        now = generator.wake_at().min(arrives).max(now);
        while let Some(entry) = server.on_the_way.first_entry()
            && entry.key().0 <= now
        {
            let (session, bytes) = entry.remove();
            let bytes = [std::mem::take(&mut kept[session]), bytes].concat();
            let taken = generator.received(session, &bytes, now).expect("the server speaks the protocol");
            kept[session] = bytes[taken.consumed..].to_vec();
        }
    }
}

fn sum(generator: &mut Generator) -> Piece {
    let mut all = Piece::new(0);
    for piece in generator.take_pieces() {
        all.tally.add(&piece.tally);
        all.latencies.add(&piece.latencies).expect("the same bounds");
    }
    all
}

/// Every percentile that is reported is the computed one, within the histogram's three digits.
fn assert_same(found: &Histogram<u64>, mut computed: Vec<u64>) {
    assert_eq!(found.len() as usize, computed.len());
    computed.sort_unstable();
    for quantile in [0.0, 0.1, 0.5, 0.9, 0.95, 0.99, 0.999, 0.9999, 1.0] {
        let rank = ((quantile * computed.len() as f64).ceil() as usize).clamp(1, computed.len());
        let (reported, expected) = (found.value_at_quantile(quantile), computed[rank - 1]);
        assert!(found.equivalent(reported, expected), "{quantile}: {reported}, computed {expected}");
    }
}

/// What an open loop must report, computed from the schedule and the delays alone.
fn computed_open(orders: &Orders, delays: Delays) -> Vec<u64> {
    let Pace::Open { rate, spacing } = orders.pace else { panic!("an open loop") };
    let seed = orders.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut schedule = Arrivals::new(spacing, rate, 0, 1, seed ^ 0x4455_4521);
    let End::After(end) = orders.end else { panic!("ends by time") };
    let (mut latencies, mut free) = (Vec::new(), 0);
    while schedule.next_due() < end {
        free = delays.answered(schedule.next_due(), free);
        latencies.push(free - schedule.next_due());
        schedule.pass();
    }
    latencies
}

#[test]
fn an_open_loop_reports_the_computed_latencies() {
    for (spacing, service, stall) in [
        (Spacing::Fixed, 200_000, 0),
        (Spacing::Fixed, 200_000, 100 * MS),
        (Spacing::Poisson, 200_000, 0),
        (Spacing::Poisson, 200_000, 100 * MS),
        (Spacing::Poisson, 900_000, 0),
    ] {
        let (delays, orders) = (Delays { service, stall }, orders(Pace::Open { rate: 1000.0, spacing }, 8, 16, 5));
        let mut generator = play(&orders, &mut FakeServer::new(delays));
        let all = sum(&mut generator);
        assert_eq!((all.tally.answered, all.tally.unanswered), (all.latencies.len(), 0));
        assert_same(&all.latencies, computed_open(&orders, delays));
        assert_eq!(generator.lag().max(), 0, "in virtual time nothing is sent late");
    }
}

#[test]
fn a_request_that_waits_for_a_connection_waits_on_the_schedule() {
    // one in flight on one connection: all else that is due in the stall waits here and not at the server
    let delays = Delays { service: 100_000, stall: 100 * MS };
    let orders = orders(Pace::Open { rate: 2000.0, spacing: Spacing::Fixed }, 1, 1, 5);
    let all = sum(&mut play(&orders, &mut FakeServer::new(delays)));
    assert_same(&all.latencies, computed_open(&orders, delays));
}

#[test]
fn a_closed_loop_reports_the_computed_latencies() {
    for (stall, pipeline) in [(0, 1), (100 * MS, 1), (100 * MS, 4)] {
        let delays = Delays { service: MS, stall };
        let all = sum(&mut play(&orders(Pace::Closed, 1, pipeline, 5), &mut FakeServer::new(delays)));
        let (mut now, mut latencies) = (0, Vec::new());
        while now < 5 * SECOND {
            let sent = now;
            for _ in 0..pipeline {
                now = delays.answered(sent, now);
                latencies.push(now - sent);
            }
        }
        assert_same(&all.latencies, latencies);
    }
}

/// The point of it all. Of a server that stands still for a tenth of the time, who asks by a schedule sees that in a tenth
/// of the answers; who waits for each answer before asking again hides it in one answer a second.
#[test]
fn a_stall_is_in_the_open_loops_percentiles_and_not_in_the_closed_loops() {
    let delays = Delays { service: 200_000, stall: 100 * MS };
    let of = |pace, pipeline| sum(&mut play(&orders(pace, 1, pipeline, 10), &mut FakeServer::new(delays))).latencies;
    let open = of(Pace::Open { rate: 1000.0, spacing: Spacing::Fixed }, 16);
    let closed = of(Pace::Closed, 1);
    assert!(open.value_at_quantile(0.99) > 85 * MS, "{}", open.value_at_quantile(0.99));
    assert!(closed.value_at_quantile(0.99) < MS, "{}", closed.value_at_quantile(0.99));
    assert!(closed.max() > 99 * MS, "it was there all the same");
}

#[test]
fn requests_that_are_never_answered_are_not_forgotten() {
    // 1000 requests a second at a server that does 500: half of them are under way at the end
    let delays = Delays { service: 2 * MS, stall: 0 };
    let mut orders = orders(Pace::Open { rate: 1000.0, spacing: Spacing::Fixed }, 4, 4, 4);
    orders.drain = SECOND;
    let all = sum(&mut play(&orders, &mut FakeServer::new(delays)));
    assert_eq!(all.tally.answered + all.tally.unanswered, 4000);
    assert_eq!(all.latencies.len(), 4000);
    assert!(all.tally.answered.abs_diff(2500) < 5, "{:?}", all.tally);
    // the last to be given up was due a second before the end, the worst at about half of the time
    assert!(all.latencies.max() > 2 * SECOND, "{}", all.latencies.max());
}

#[test]
fn the_warm_up_is_not_counted_and_intervals_have_no_gaps() {
    let mut orders = orders(Pace::Open { rate: 1000.0, spacing: Spacing::Fixed }, 4, 4, 3);
    orders.warm_up = SECOND / 2;
    let mut generator = play(&orders, &mut FakeServer::new(Delays { service: 100_000, stall: 0 }));
    let pieces = generator.take_pieces();
    assert_eq!(pieces.iter().map(|piece| piece.index).collect::<Vec<_>>(), [0, 1, 2, 3]);
    let answered: Vec<u64> = pieces.iter().map(|piece| piece.tally.answered).collect();
    assert_eq!(answered.iter().sum::<u64>(), 3000);
    assert!(answered[..3].iter().all(|count| count.abs_diff(1000) <= 1), "{answered:?}");
    let misses: u64 = pieces.iter().map(|piece| piece.tally.misses).sum();
    assert_eq!(misses, 3000, "the store is empty, and what was asked in the warm-up does not show");
}

#[test]
fn a_number_of_requests_ends_the_load() {
    for (pace, thread, expected) in [
        (Pace::Closed, 0, 334),
        (Pace::Closed, 1, 333),
        (Pace::Open { rate: 9000.0, spacing: Spacing::Poisson }, 2, 333),
    ] {
        let mut orders = orders(pace, 3, 4, 0);
        orders.end = End::Requests(1000);
        (orders.thread, orders.threads) = (thread, 3);
        let mut generator = play(&orders, &mut FakeServer::new(Delays { service: 100_000, stall: 0 }));
        assert_eq!(sum(&mut generator).tally.answered, expected);
    }
}

#[test]
fn every_value_is_proved_however_answers_are_cut() {
    for cut in [None, Some(1), Some(9), Some(60), Some(133)] {
        let mut orders = orders(Pace::Closed, 4, 8, 1);
        orders.verify = true;
        orders.shape.mix = "get=50,set=40,multiget:7=5,delete=5".parse().expect("a mix");
        orders.shape.value_size = Size::Uniform { min: 24, max: 300 };
        let mut server = FakeServer::new(Delays { service: 50_000, stall: 0 });
        server.cut = cut;
        let tally = sum(&mut play(&orders, &mut server)).tally;
        assert_eq!((tally.mismatches, tally.stale, tally.errors), (0, 0, 0), "{tally:?}");
        assert!(tally.hits > 2_000 && tally.misses > 100 && tally.stored > 2_000, "{tally:?}");
        // and a byte that changes in one item is seen
        server.items.values_mut().for_each(|value| value[20] ^= 1);
        orders.shape.mix = Mix::only(crate::workload::mix::Operation::Get);
        (server.free, orders.seed) = (0, 2);
        let tally = sum(&mut play(&orders, &mut server)).tally;
        assert!(tally.mismatches > 1000 && tally.hits == 0, "{tally:?}");
    }
}

#[test]
fn what_was_in_flight_when_a_connection_ended_is_of_unknown_outcome() {
    let orders = orders(Pace::Open { rate: 1000.0, spacing: Spacing::Fixed }, 2, 4, 1);
    let mut generator = Generator::new(orders);
    (0..2).for_each(|session| generator.connected(session, 0));
    generator.issue(5 * MS);
    assert_eq!(generator.in_flight, 6);
    generator.ended(0, 6 * MS);
    generator.ended(0, 6 * MS);
    assert_eq!((generator.in_flight, generator.room), (3, 1));
    generator.ended(1, 6 * MS);
    generator.issue(200 * MS);
    assert_eq!((generator.in_flight, generator.room), (0, 0), "nothing can be sent");
    assert_eq!(generator.wake_at(), SECOND, "and nothing is to be looked at before the interval ends");
    generator.connected(1, 300 * MS);
    generator.issue(300 * MS);
    assert_eq!(generator.in_flight, 4);
    generator.received(1, b"END\r\n", 301 * MS).expect("an answer");
    // the request was due at 6 ms: the time without a server is the server's, and no lateness of ours
    assert_eq!(generator.piece.latencies.max() / MS, 295);
    assert_eq!(generator.lag().value_at_quantile(1.0) / MS, 5);
    assert_eq!(generator.piece.tally.unknown, 6);
}

#[test]
fn a_connection_whose_answer_does_not_come_is_given_up() {
    let mut orders = orders(Pace::Closed, 2, 1, 10);
    orders.patience = Some(SECOND);
    let mut generator = Generator::new(orders);
    generator.connected(0, 0);
    generator.issue(0);
    generator.connected(1, SECOND / 2);
    generator.issue(SECOND / 2);
    assert!(generator.overdue(SECOND).is_empty());
    assert_eq!(generator.overdue(SECOND + 1), [0]);
}

#[test]
fn what_is_not_an_answer_to_anything_is_garbled() {
    let mut generator = Generator::new(orders(Pace::Closed, 1, 1, 1));
    generator.connected(0, 0);
    assert_eq!(generator.received(0, b"END\r\n", 1), Err(Garbled::Surplus));
    generator.issue(1);
    assert_eq!(generator.received(0, b"HTTP/1.1 200 OK\r\n", 2), Err(Garbled::Malformed));
}
