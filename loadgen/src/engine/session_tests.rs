//! What each answer means for the request it belongs to.

use ringstore::proto::{Answered, parse_answer};

use super::*;
use crate::workload::proof::PROOF_BYTES;

const WRITER: u32 = 5;

struct Bench {
    session: Session,
    tally: Tally,
    freshness: Freshness,
}

impl Bench {
    fn new() -> Self {
        Self { session: Session::default(), tally: Tally::default(), freshness: Freshness::new(10) }
    }

    /// A request for these keys, with a version if it writes.
    fn ask(&mut self, operation: Operation, keys: &[u32], writes: bool) -> Option<Write> {
        let write = writes.then(|| self.freshness.write(keys[0]));
        let request = Request { operation, due: 0, sent: 0, write, swaps: false };
        let floors: Vec<(u32, u64)> = keys.iter().map(|key| (*key, self.freshness.floor(*key))).collect();
        self.session.push(request, floors);
        write
    }

    /// Whether the request at the front is done with this answer.
    fn answer(&mut self, text: &[u8]) -> Option<Outcome> {
        let Answered::Answer { answer, consumed } = parse_answer(text) else { panic!("{}", text.escape_ascii()) };
        assert_eq!(consumed, text.len());
        let mut judge = Judge { tally: &mut self.tally, freshness: &mut self.freshness, writer: WRITER, verify: true };
        self.session.answer(&answer, &mut judge)
    }

    fn finishes(&mut self, text: &[u8]) -> bool {
        matches!(self.answer(text), Some(Outcome::Finished(_)))
    }
}

fn value(key: u32, version: u64) -> Vec<u8> {
    let mut data = Vec::new();
    Origin { key, writer: WRITER, version }.write(&mut data, PROOF_BYTES + 3);
    data
}

fn value_answer(named: u32, of: u32, version: u64) -> Vec<u8> {
    let mut out = Vec::new();
    ringstore::proto::reply::value(&mut out, format!("key:{named:012}").as_bytes(), 0, &value(of, version), Some(9));
    out
}

#[test]
fn one_line_answers_mean_what_the_protocol_says() {
    type Count = fn(&Tally) -> u64;
    let (hit, miss): (Count, Count) = (|tally| tally.hits, |tally| tally.misses);
    let (stored, not_stored): (Count, Count) = (|tally| tally.stored, |tally| tally.not_stored);
    let (error, wrong): (Count, Count) = (|tally| tally.errors, |tally| tally.mismatches);
    use Operation::{Delete, Get, Incr, MetaDelete, MetaGet, MetaIncr, MetaSet, Set, Touch};
    let cases: [(Operation, &[u8], Count); 26] = [
        (Get, b"END\r\n", miss),
        (Get, b"SERVER_ERROR no lease\r\n", error),
        (Get, b"STORED\r\n", wrong),
        (Set, b"STORED\r\n", stored),
        (Set, b"NOT_STORED\r\n", not_stored),
        (Set, b"SERVER_ERROR out of memory\r\n", error),
        (Set, b"END\r\n", wrong),
        (Delete, b"DELETED\r\n", hit),
        (Delete, b"NOT_FOUND\r\n", miss),
        (Delete, b"STORED\r\n", wrong),
        (Touch, b"TOUCHED\r\n", hit),
        (Touch, b"NOT_FOUND\r\n", miss),
        (Incr, b"12\r\n", hit),
        (Incr, b"NOT_FOUND\r\n", miss),
        (Incr, b"CLIENT_ERROR non-numeric\r\n", error),
        (MetaGet, b"EN\r\n", miss),
        (MetaGet, b"HD\r\n", wrong),
        (MetaSet, b"HD\r\n", stored),
        (MetaSet, b"NS\r\n", not_stored),
        (MetaDelete, b"HD\r\n", hit),
        (MetaDelete, b"NF\r\n", miss),
        (MetaIncr, b"VA 2\r\n12\r\n", hit),
        (MetaIncr, b"NF\r\n", miss),
        (MetaIncr, b"12\r\n", wrong),
        (Operation::Cas, b"END\r\n", miss),
        (Operation::Cas, b"STORED\r\n", wrong),
    ];
    for (operation, text, count) in cases {
        let mut bench = Bench::new();
        bench.ask(operation, &[1], matches!(operation, Set | Delete | MetaSet | MetaDelete));
        assert!(bench.finishes(text), "{operation}: {}", text.escape_ascii());
        let tally = bench.tally;
        assert_eq!(count(&tally), 1, "{operation}: {} {tally:?}", text.escape_ascii());
        let all = tally.hits + tally.misses + tally.stored + tally.not_stored + tally.errors + tally.mismatches;
        assert_eq!((all, bench.session.in_flight()), (1, 0), "{operation}: {tally:?}");
    }
}

#[test]
fn a_get_of_many_counts_what_came_and_what_did_not() {
    let mut bench = Bench::new();
    bench.ask(Operation::MultiGet(5), &[1, 2, 3, 2, 4], false);
    bench.ask(Operation::Get, &[4], false);
    for (named, of) in [(2, 2), (3, 3), (2, 2)] {
        assert!(matches!(bench.answer(&value_answer(named, of, 1)), Some(Outcome::Open)));
    }
    assert!(bench.finishes(b"END\r\n"));
    assert_eq!((bench.tally.hits, bench.tally.misses, bench.tally.mismatches), (3, 2, 0));
    assert!(!bench.finishes(&value_answer(4, 4, 1)));
    assert!(bench.finishes(b"END\r\n"));
    assert_eq!((bench.tally.hits, bench.tally.misses), (4, 2));
}

#[test]
fn a_value_that_nobody_wrote_there_is_a_mismatch() {
    for (named, of) in [(2, 2), (1, 2)] {
        let mut bench = Bench::new();
        bench.ask(Operation::Get, &[1], false);
        bench.answer(&value_answer(named, of, 1));
        assert_eq!((bench.tally.hits, bench.tally.mismatches), (0, 1), "{named} {of}");
    }
    let mut bench = Bench::new();
    bench.ask(Operation::Get, &[1], false);
    bench.answer(&value_answer(1, 1, 1));
    bench.answer(&value_answer(1, 1, 1));
    assert_eq!((bench.tally.hits, bench.tally.mismatches), (1, 1), "it was asked for once");
}

#[test]
fn a_value_that_was_replaced_before_the_read_is_stale() {
    let mut bench = Bench::new();
    for _ in 0..2 {
        bench.ask(Operation::Set, &[1], true);
        bench.answer(b"STORED\r\n");
    }
    bench.ask(Operation::Get, &[1], false);
    bench.answer(&value_answer(1, 1, 2));
    assert_eq!(bench.tally.stale, 0);
    bench.answer(b"END\r\n");
    // the third write is not acknowledged when the read is sent: either may come
    bench.ask(Operation::Get, &[1], false);
    bench.ask(Operation::Set, &[1], true);
    bench.answer(&value_answer(1, 1, 2));
    bench.answer(b"END\r\n");
    bench.answer(b"STORED\r\n");
    assert_eq!(bench.tally.stale, 0);
    bench.ask(Operation::Get, &[1], false);
    bench.answer(&value_answer(1, 1, 2));
    assert_eq!((bench.tally.stale, bench.tally.mismatches), (1, 0));
    bench.answer(b"END\r\n");
    let mut other = value(1, 1);
    other[4..8].copy_from_slice(&6_u32.to_le_bytes());
    assert_eq!(Origin::of(&other), None, "a writer cannot be changed");
}

#[test]
fn a_cas_goes_on_with_what_its_gets_found() {
    let mut bench = Bench::new();
    bench.ask(Operation::Cas, &[3], false);
    bench.answer(&value_answer(3, 3, 1));
    let Some(Outcome::Found { request, key: 3, unique: 9 }) = bench.answer(b"END\r\n") else { panic!("found") };
    assert_eq!(bench.session.in_flight(), 0);
    for (text, count) in [(&b"STORED\r\n"[..], 0), (b"EXISTS\r\n", 1), (b"NOT_FOUND\r\n", 2)] {
        let write = Some(bench.freshness.write(3));
        bench.session.push(Request { write, swaps: true, ..request }, [(3, 0)]);
        assert!(bench.finishes(text));
        assert_eq!([bench.tally.stored, bench.tally.not_stored, bench.tally.misses][count], 1);
    }
    assert_eq!(bench.freshness.floor(3), 1, "the other two did not take place");
}

#[test]
fn an_end_leaves_nothing_behind() {
    let mut bench = Bench::new();
    bench.ask(Operation::MultiGet(2), &[1, 2], false);
    bench.ask(Operation::Get, &[3], false);
    bench.answer(&value_answer(2, 2, 1));
    assert_eq!(bench.session.end().len(), 2);
    assert!(bench.answer(b"END\r\n").is_none());
    bench.ask(Operation::Get, &[4], false);
    bench.answer(&value_answer(4, 4, 1));
    assert!(bench.finishes(b"END\r\n"));
    assert_eq!(bench.tally.mismatches, 0);
}
