//! What one kill cost, computed from what became of each request around it. Pure: instants come in, durations come out.

use std::time::{Duration, Instant};

use serde::Serialize;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A set.
    Set,
    /// A get.
    Get,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was answered, and not with an error.
    Answered,
    /// It was refused: not done, and the server says so.
    Refused,
    /// Its connection ended first, and nobody knows whether it was done.
    Unknown,
}

/// A request that is over.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// When it was to be sent.
    pub due: Instant,
    /// When it was answered, or its connection ended.
    pub over: Instant,
    /// What was asked.
    pub kind: Kind,
    /// What became of it.
    pub fate: Fate,
    /// The server that its client belongs to.
    pub home: usize,
    /// The server that it was over at: another one when the client had to go there.
    pub server: usize,
}

/// What was seen of a kill besides the requests.
#[derive(Clone, Debug)]
pub struct Loss {
    /// When it was done.
    pub at: Instant,
    /// The server that is lost; nothing when it was the load balancer.
    pub victim: Option<usize>,
    /// When connections to it ended, in order.
    pub ends: Vec<Instant>,
    /// When the load balancer first told of a newer epoch.
    pub announced: Option<Instant>,
}

/// What a kill cost. Times are from the kill unless they are lengths.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// The longest time without an acknowledged set of the clients of one server that was not lost, of all these servers; of
    /// times that began before the kill was over: before each of these servers had acknowledged a set, the last end was
    /// seen, and the new epoch was announced.
    #[serde(serialize_with = "in_ms", rename = "write_gap_ms")]
    pub write_gap: Duration,
    /// The longest of such times, whenever it began: the disk of a calm machine has its pauses too.
    #[serde(serialize_with = "in_ms", rename = "longest_gap_ms")]
    pub longest_gap: Duration,
    /// When that one began, in milliseconds from the kill; before it when that is negative.
    pub longest_gap_from_ms: f64,
    /// As the write gap, for gets; nothing when none was asked.
    #[serde(serialize_with = "in_ms_if_any", rename = "read_gap_ms")]
    pub read_gap: Option<Duration>,
    /// As the write gap, for sets of the lost server's own clients, which go to other servers.
    #[serde(serialize_with = "in_ms_if_any", rename = "own_gap_ms")]
    pub own_gap: Option<Duration>,
    /// Until the first of its connections ended.
    #[serde(serialize_with = "in_ms_if_any", rename = "first_end_ms")]
    pub first_end: Option<Duration>,
    /// Until the last of them ended.
    #[serde(serialize_with = "in_ms_if_any", rename = "last_end_ms")]
    pub last_end: Option<Duration>,
    /// Until the load balancer told of a newer epoch.
    #[serde(serialize_with = "in_ms_if_any", rename = "announced_ms")]
    pub announced: Option<Duration>,
    /// Until the first set was acknowledged of those that were due after the kill, by a server that was not lost.
    #[serde(serialize_with = "in_ms", rename = "first_set_ms")]
    pub first_set: Duration,
    /// Until each of these servers had acknowledged one.
    #[serde(serialize_with = "in_ms", rename = "every_first_set_ms")]
    pub every_first_set: Duration,
    /// Requests that were due in the write gap.
    pub due: u64,
    /// Of these, answered while it lasted.
    pub in_time: u64,
    /// Of these, answered after it.
    pub late: u64,
    /// Of these, refused.
    pub failed: u64,
    /// Of these, of unknown outcome.
    pub unknown: u64,
}

impl Finding {
    /// Until the first end of a connection told of the loss; nothing when a new epoch was announced without it.
    pub fn detected(&self) -> Option<Duration> {
        self.first_end.filter(|end| self.announced.is_none_or(|announced| *end <= announced))
    }
}

/// Milliseconds, to the microsecond.
pub fn ms(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1e3
}

fn in_ms<S: serde::Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(ms(*duration))
}

fn in_ms_if_any<S: serde::Serializer>(duration: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => to.serialize_some(&ms(*duration)),
        None => to.serialize_none(),
    }
}

/// When the last of the servers that were not lost has acknowledged a set that was due after the kill; nothing before.
pub fn is_back(outcomes: &[Outcome], loss: &Loss, servers: usize) -> Option<Instant> {
    firsts(outcomes, loss, servers).into_iter().collect::<Option<Vec<_>>>()?.into_iter().max()
}

/// What the kill cost; nothing while a server that was not lost has not acknowledged a set that was due after it.
pub fn find(outcomes: &[Outcome], loss: &Loss, servers: usize) -> Option<Finding> {
    let firsts = firsts(outcomes, loss, servers).into_iter().collect::<Option<Vec<_>>>()?;
    let (first, last) = (*firsts.iter().min()?, *firsts.iter().max()?);
    let over = [loss.ends.last().copied(), loss.announced].into_iter().flatten().fold(last, Instant::max);
    let longest = |kind, home, until| longest(outcomes, loss.at, until, kind, home);
    let of_survivors = |kind, until| {
        let gaps = survivors(loss, servers).filter_map(|home| longest(kind, home, until));
        gaps.max_by_key(|(from, to)| *to - *from)
    };
    let length = |(from, to): (Instant, Instant)| to - from;
    let (from, to) = of_survivors(Kind::Set, Some(over))?;
    let longest_gap = of_survivors(Kind::Set, None)?;
    let since = |instant: &Instant| instant.saturating_duration_since(loss.at);
    let due = || outcomes.iter().filter(|one| one.due >= from && one.due < to);
    let count = |is: &dyn Fn(&Outcome) -> bool| due().filter(|one| is(one)).count() as u64;
    Some(Finding {
        write_gap: to - from,
        longest_gap: length(longest_gap),
        longest_gap_from_ms: ms(since(&longest_gap.0)) - ms(loss.at.saturating_duration_since(longest_gap.0)),
        read_gap: of_survivors(Kind::Get, Some(over)).map(length),
        own_gap: loss.victim.and_then(|victim| longest(Kind::Set, victim, Some(over))).map(length),
        first_end: loss.ends.first().map(since),
        last_end: loss.ends.last().map(since),
        announced: loss.announced.as_ref().map(since),
        first_set: since(&first),
        every_first_set: since(&last),
        due: due().count() as u64,
        in_time: count(&|one| one.fate == Fate::Answered && one.over <= to),
        late: count(&|one| one.fate == Fate::Answered && one.over > to),
        failed: count(&|one| one.fate == Fate::Refused),
        unknown: count(&|one| one.fate == Fate::Unknown),
    })
}

fn survivors(loss: &Loss, servers: usize) -> impl Iterator<Item = usize> {
    let victim = loss.victim;
    (0..servers).filter(move |server| Some(*server) != victim)
}

/// For each server that was not lost when it first acknowledged a set of its own clients that was due after the kill.
fn firsts(outcomes: &[Outcome], loss: &Loss, servers: usize) -> Vec<Option<Instant>> {
    let first = |server| {
        let of_it = outcomes.iter().filter(|one| one.home == server && one.server == server);
        let acked = of_it.filter(|one| one.kind == Kind::Set && one.fate == Fate::Answered && one.due >= loss.at);
        acked.map(|one| one.over).min()
    };
    survivors(loss, servers).map(first).collect()
}

/// The longest time between two answers to this server's clients of which the later one came after `since`, and the earlier
/// one not after `until`.
fn longest(
    outcomes: &[Outcome],
    since: Instant,
    until: Option<Instant>,
    kind: Kind,
    home: usize,
) -> Option<(Instant, Instant)> {
    let answered = outcomes.iter().filter(|one| one.home == home && one.kind == kind && one.fate == Fate::Answered);
    let mut times = answered.map(|one| one.over).collect::<Vec<_>>();
    times.sort_unstable();
    let pairs = times.windows(2).map(|pair| (pair[0], pair[1]));
    let pairs = pairs.filter(|(from, to)| *to > since && until.is_none_or(|until| *from <= until));
    pairs.max_by_key(|(from, to)| *to - *from)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two servers, of which the first is lost at 100 ms. The other one's sets stop until 109 ms, its gets until 103 ms, and its
    /// sets for some other reason until 131 ms.
    fn story() -> (Vec<Outcome>, Loss, Instant) {
        let began = Instant::now();
        let at = |ms: u64| began + Duration::from_millis(ms);
        let one =
            |due, over, kind, fate, home, server| Outcome { due: at(due), over: at(over), kind, fate, home, server };
        let (set, get, answered) = (Kind::Set, Kind::Get, Fate::Answered);
        let outcomes = vec![
            one(90, 91, set, answered, 0, 0),
            one(97, 98, set, answered, 1, 1),
            one(98, 99, get, answered, 1, 1),
            one(99, 101, set, Fate::Unknown, 0, 0),
            one(100, 109, set, answered, 1, 1),
            one(101, 103, get, answered, 1, 1),
            one(102, 112, set, answered, 0, 1),
            one(104, 110, set, answered, 1, 1),
            one(105, 106, set, Fate::Refused, 1, 1),
            one(110, 111, set, answered, 1, 1),
            // long after it was over
            one(130, 131, set, answered, 1, 1),
        ];
        let loss = Loss { at: at(100), victim: Some(0), ends: vec![at(101), at(102)], announced: Some(at(105)) };
        (outcomes, loss, began)
    }

    #[test]
    fn the_gap_and_its_parts_are_found() {
        let (outcomes, loss, began) = story();
        assert_eq!(is_back(&outcomes, &loss, 2), Some(began + Duration::from_millis(109)));
        let finding = find(&outcomes, &loss, 2).expect("it is over");
        let ms = Duration::from_millis;
        assert_eq!(
            finding,
            Finding {
                write_gap: ms(11),   // from 98 to 109
                longest_gap: ms(20), // from 111 to 131
                longest_gap_from_ms: 11.0,
                read_gap: Some(ms(4)),
                own_gap: Some(ms(21)),
                first_end: Some(ms(1)),
                last_end: Some(ms(2)),
                announced: Some(ms(5)),
                first_set: ms(9),
                every_first_set: ms(9),
                due: 7,
                in_time: 3, // the two gets, and the set that ended the gap
                late: 2,
                failed: 1,
                unknown: 1,
            }
        );
        assert_eq!(finding.due, finding.in_time + finding.late + finding.failed + finding.unknown);
        assert_eq!(finding.detected(), Some(ms(1)));
        let stopped = Finding { first_end: Some(ms(1_000)), ..finding };
        assert_eq!(stopped.detected(), None, "the epoch was new before anybody saw an end");
    }

    #[test]
    fn nothing_is_found_before_every_server_is_back() {
        let (mut outcomes, loss, _) = story();
        assert!(find(&outcomes, &loss, 3).is_none(), "the third server has acknowledged nothing");
        outcomes.retain(|one| one.due < loss.at);
        assert!(find(&outcomes, &loss, 2).is_none());
    }

    #[test]
    fn without_a_lost_server_all_count() {
        let (outcomes, loss, _) = story();
        let loss = Loss { victim: None, ends: Vec::new(), announced: None, ..loss };
        assert!(find(&outcomes, &loss, 2).is_none(), "the first server's own clients got nothing there");
        assert!(find(&outcomes, &Loss { at: loss.at - Duration::from_millis(20), ..loss }, 2).is_some());
    }
}
