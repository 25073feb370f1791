//! Whether a history of one key is linearizable: some order of its operations, each between its invocation and its
//! return, in which a single server doing one command at a time would have answered the same. Owns that search and its
//! model of a key; knows nothing of clusters. Keys are independent, so a whole history is checked key by key.
//!
//! The search is Wing and Gong's with Lowe's memory: walk the events in order, take any operation that was invoked
//! before the first return still open, go back when a return is met whose operation does not fit, and never enter a
//! (set of operations done, state) twice. `witness` tries the order of the log first, `ids` the order that the cas ids
//! of reads tell. `naive` is the same question asked without any of this, for small histories.

mod ids;
#[cfg(test)]
mod naive;
#[cfg(test)]
mod tests;
mod witness;

pub use witness::{Written, explain};

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::ops::Bound;

use ids::Ids;

/// What a client asked of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// gets: the value and its cas id.
    Get,
    Set(Vec<u8>),
    Add(Vec<u8>),
    /// The id is one that a get had returned before.
    Cas {
        id: u64,
        value: Vec<u8>,
    },
    Append(Vec<u8>),
    Incr(u64),
    Delete,
}

/// What the client was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Value {
        value: Vec<u8>,
        cas: u64,
    },
    Miss,
    Stored,
    NotStored,
    Exists,
    NotFound,
    Deleted,
    Number(u64),
    /// incr on what is no number.
    NonNumeric,
    /// Nothing that says whether it was done: no answer yet, a closed connection, a time-out.
    Unknown,
}

/// One operation of a history. An operation that is known never to have been done is not part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    pub client: u32,
    pub op: Op,
    pub outcome: Outcome,
    pub invoked: u64,
    /// Later than `invoked`; of no meaning when the outcome is unknown, as it may take effect at any later time.
    pub returned: u64,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}..", self.invoked)?;
        if self.outcome != Outcome::Unknown {
            write!(f, "{}", self.returned)?;
        }
        write!(f, "] client {}: ", self.client)?;
        match &self.op {
            Op::Get => f.write_str("get")?,
            Op::Set(value) => write!(f, "set {}", value.escape_ascii())?,
            Op::Add(value) => write!(f, "add {}", value.escape_ascii())?,
            Op::Cas { id, value } => write!(f, "cas {id} {}", value.escape_ascii())?,
            Op::Append(value) => write!(f, "append {}", value.escape_ascii())?,
            Op::Incr(delta) => write!(f, "incr {delta}")?,
            Op::Delete => f.write_str("delete")?,
        }
        match &self.outcome {
            Outcome::Value { value, cas } => write!(f, " -> {} (cas {cas})", value.escape_ascii()),
            Outcome::Number(number) => write!(f, " -> {number}"),
            other => write!(f, " -> {other:?}"),
        }
    }
}

/// The answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    Linearizable,
    /// The story: the longest order that was possible, and what did not fit behind it.
    Not(String),
    /// So many states were entered that the search was given up.
    Undecided,
}

/// States after which the search is given up.
const STATES_MAX: usize = 200_000;

/// Longest number that incr takes, memcached's.
const COUNTER_DIGITS_MAX: usize = 20;

/// The key as one server would hold it. Values are numbers of the interner.
///
/// A cas id is not known when its item is written, only when a get returns it: until then the item's id is open. Ids
/// are log indices, so that an id that becomes known is larger than all that were known before (`newest_id`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct State {
    value: Option<u32>,
    /// Whether the present item's id is `newest_id`, rather than open.
    id_known: bool,
    newest_id: u64,
    /// Whether it is so only because of operations with unknown outcomes, and nothing was done since that shows it.
    unseen: bool,
}

impl State {
    const EMPTY: Self = Self { value: None, id_known: false, newest_id: 0, unseen: false };

    const fn written(self, value: u32) -> Self {
        Self { value: Some(value), id_known: false, ..self }
    }

    const fn deleted(self) -> Self {
        Self { value: None, id_known: false, ..self }
    }
}

/// Values by number, so that states are small. Those that no read shows, not even as the beginning of what it shows, are
/// one and the same: nothing tells them apart, and neither what is appended to them.
struct Values {
    all: Vec<Vec<u8>>,
    numbers: BTreeMap<Vec<u8>, u32>,
    /// What reads show.
    seen: BTreeSet<Vec<u8>>,
}

/// Stands for all of those: it begins no value that a client writes, and is no number.
const NEVER_SEEN: &[u8] = &[0];

impl Values {
    fn of(history: &[&Operation]) -> Self {
        let seen = history.iter().filter_map(|operation| match &operation.outcome {
            Outcome::Value { value, .. } => Some(value.clone()),
            _ => None,
        });
        Self { all: Vec::new(), numbers: BTreeMap::new(), seen: seen.collect() }
    }

    fn is_seen(&self, value: &[u8]) -> bool {
        // incr changes a number into others that do not begin with it
        counter(value).is_some()
            || self
                .seen
                .range::<[u8], _>((Bound::Included(value), Bound::Unbounded))
                .next()
                .is_some_and(|next| next.starts_with(value))
    }

    fn number(&mut self, value: &[u8]) -> u32 {
        let value = if self.is_seen(value) { value } else { NEVER_SEEN };
        if let Some(&number) = self.numbers.get(value) {
            return number;
        }
        let number = self.all.len() as u32;
        self.all.push(value.to_vec());
        self.numbers.insert(value.to_vec(), number);
        number
    }
}

fn counter(value: &[u8]) -> Option<u64> {
    let digits = !value.is_empty() && value.len() <= COUNTER_DIGITS_MAX && value.iter().all(u8::is_ascii_digit);
    if digits { std::str::from_utf8(value).ok()?.parse().ok() } else { None }
}

/// What the key is after `operation`, if it may be done in `state` with its outcome.
fn apply(state: State, operation: &Operation, values: &mut Values) -> Option<State> {
    let (after, answer) = match (&operation.op, state.value) {
        (Op::Get, _) => return read(state, &operation.outcome, values),
        (Op::Set(value), _) | (Op::Add(value), None) => (state.written(values.number(value)), Outcome::Stored),
        (Op::Add(_), Some(_)) | (Op::Append(_), None) => (state, Outcome::NotStored),
        (Op::Cas { .. } | Op::Delete | Op::Incr(_), None) => (state, Outcome::NotFound),
        // an open id is not one that a get had returned before
        (Op::Cas { id, value }, Some(_)) if state.id_known && *id == state.newest_id => {
            (state.written(values.number(value)), Outcome::Stored)
        }
        (Op::Cas { .. }, Some(_)) => (state, Outcome::Exists),
        (Op::Append(tail), Some(old)) => {
            let joined = [&values.all[old as usize], tail.as_slice()].concat();
            (state.written(values.number(&joined)), Outcome::Stored)
        }
        (Op::Delete, Some(_)) => (state.deleted(), Outcome::Deleted),
        (Op::Incr(delta), Some(old)) => match counter(&values.all[old as usize]) {
            None => (state, Outcome::NonNumeric),
            Some(old) => {
                let new = old.wrapping_add(*delta);
                (state.written(values.number(new.to_string().as_bytes())), Outcome::Number(new))
            }
        },
    };
    (operation.outcome == Outcome::Unknown || operation.outcome == answer).then_some(after)
}

/// The state after an operation, if it is of any use to do it here. What may never have been done is not worth trying
/// where it changes nothing, nor right before a set, behind which nobody can tell.
fn worth(before: State, after: State, operation: &Operation) -> Option<State> {
    let unknown = operation.outcome == Outcome::Unknown;
    let blind = before.unseen && matches!(operation.op, Op::Set(_));
    let after = State { unseen: unknown, ..after };
    let idle = unknown && State { unseen: before.unseen, ..after } == before;
    (!blind && !idle).then_some(after)
}

fn read(state: State, outcome: &Outcome, values: &Values) -> Option<State> {
    match (outcome, state.value) {
        (Outcome::Unknown, _) | (Outcome::Miss, None) => Some(state),
        (Outcome::Value { value, cas }, Some(held)) if values.all[held as usize] == *value => {
            let fits = if state.id_known { *cas == state.newest_id } else { *cas > state.newest_id };
            fits.then_some(State { id_known: true, newest_id: *cas, ..state })
        }
        _ => None,
    }
}

/// Which operations are done, one bit each.
type Done = Vec<u64>;

fn set_bit(done: &mut Done, bit: usize) {
    done[bit / 64] |= 1 << (bit % 64);
}

fn clear_bit(done: &mut Done, bit: usize) {
    done[bit / 64] &= !(1 << (bit % 64));
}

/// The invocations and returns not yet passed, in order, as a doubly linked list in which an operation is taken out and
/// put back in constant time. Event `i` is operation `i`'s invocation, `i + n` its return, `2n` the end of the ring.
struct Events {
    next: Vec<usize>,
    previous: Vec<usize>,
    operations: usize,
}

impl Events {
    fn new(history: &[&Operation]) -> Self {
        let n = history.len();
        let mut order: Vec<usize> = (0..2 * n).collect();
        // events of one instant overlap: invocations first
        order.sort_by_key(|&event| match event.checked_sub(n) {
            None => (history[event].invoked, false),
            Some(i) if history[i].outcome == Outcome::Unknown => (u64::MAX, true),
            Some(i) => (history[i].returned, true),
        });
        order.push(2 * n);
        let mut events = Self { next: vec![0; 2 * n + 1], previous: vec![0; 2 * n + 1], operations: n };
        for (i, &event) in order.iter().enumerate() {
            let following = order[(i + 1) % order.len()];
            events.next[event] = following;
            events.previous[following] = event;
        }
        events
    }

    const fn end(&self) -> usize {
        2 * self.operations
    }

    fn first(&self) -> usize {
        self.next[self.end()]
    }

    fn unlink(&mut self, event: usize) {
        let (previous, next) = (self.previous[event], self.next[event]);
        self.next[previous] = next;
        self.previous[next] = previous;
    }

    fn link(&mut self, event: usize) {
        let (previous, next) = (self.previous[event], self.next[event]);
        self.next[previous] = event;
        self.previous[next] = event;
    }

    fn take(&mut self, operation: usize) {
        self.unlink(operation);
        self.unlink(operation + self.operations);
    }

    fn put_back(&mut self, operation: usize) {
        self.link(operation + self.operations);
        self.link(operation);
    }
}

/// An operation that the search has done.
struct Taken {
    operation: usize,
    before: State,
    /// Nothing else need be tried in its place.
    forced: bool,
}

/// Whether the history of a key, which nobody held at its start, is linearizable.
pub fn check(history: &[Operation]) -> Verdict {
    check_from(None, history)
}

/// The same for a key that held `start` before.
pub fn check_from(start: Option<&[u8]>, history: &[Operation]) -> Verdict {
    // a get whose answer nobody saw says nothing
    let history: Vec<&Operation> =
        history.iter().filter(|o| o.op != Op::Get || o.outcome != Outcome::Unknown).collect();
    // what is found in the order of the ids is found; that nothing is proves nothing where two writes wrote the same
    match search(start, &history, &Ids::of(&history)) {
        Verdict::Linearizable => Verdict::Linearizable,
        _ => search(start, &history, &Ids::none()),
    }
}

fn search(start: Option<&[u8]>, history: &[&Operation], ids: &Ids) -> Verdict {
    let known = history.iter().filter(|o| o.outcome != Outcome::Unknown).count();
    let mut values = Values::of(history);
    let mut events = Events::new(history);
    let mut state = State { value: start.map(|value| values.number(value)), ..State::EMPTY };
    let mut done: Done = vec![0; history.len().div_ceil(64)];
    let mut done_known = 0;
    let mut entered: HashSet<(Done, State)> = HashSet::new();
    let mut taken: Vec<Taken> = Vec::new();
    let mut longest: Vec<usize> = Vec::new();
    let mut event = events.first();
    loop {
        if done_known == known {
            return Verdict::Linearizable;
        }
        if event < history.len() {
            let operation = event;
            let after = apply(state, history[operation], &mut values);
            let after = after.and_then(|after| ids.in_turn(state, after, operation, &done, &values));
            if let Some(after) = after.and_then(|after| worth(state, after, history[operation])) {
                set_bit(&mut done, operation);
                if entered.insert((done.clone(), after)) {
                    if entered.len() > STATES_MAX {
                        return Verdict::Undecided;
                    }
                    let known = history[operation].outcome != Outcome::Unknown;
                    // what changes nothing, wherever it is done, may as well be done here
                    let forced = known
                        && !witness::is_change(history[operation])
                        && State { unseen: state.unseen, ..after } == state;
                    taken.push(Taken { operation, before: state, forced });
                    state = after;
                    done_known += usize::from(known);
                    events.take(operation);
                    event = events.first();
                    if taken.len() > longest.len() {
                        longest = taken.iter().map(|taken| taken.operation).collect();
                    }
                    continue;
                }
                clear_bit(&mut done, operation);
            }
            event = events.next[event];
            continue;
        }
        // a return: what it ends did not fit, so the last one taken is undone and the one after it tried
        loop {
            let Some(Taken { operation, before, forced }) = taken.pop() else {
                return Verdict::Not(story(history, &longest));
            };
            state = before;
            clear_bit(&mut done, operation);
            done_known -= usize::from(history[operation].outcome != Outcome::Unknown);
            events.put_back(operation);
            event = events.next[operation];
            if !forced {
                break;
            }
        }
    }
}

fn story(history: &[&Operation], longest: &[usize]) -> String {
    let mut text = String::from("possible so far, in this order:\n");
    for &operation in longest {
        text.push_str(&format!("  {}\n", history[operation]));
    }
    text.push_str("nothing of this fits behind it:\n");
    let mut rest: Vec<usize> = (0..history.len()).filter(|i| !longest.contains(i)).collect();
    rest.sort_by_key(|&i| history[i].invoked);
    for operation in rest {
        text.push_str(&format!("  {}\n", history[operation]));
    }
    text
}
