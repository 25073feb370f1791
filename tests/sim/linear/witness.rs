//! A witness for a history: the order in which the log says that a key was written. With the order of the writes given, the
//! rest is one walk over the events instead of a search: each change as late as it can be, each read as early. What is found
//! here is a linearization, seen with its own eyes. Where no two writes wrote the same, nothing else is one in that order.

use std::collections::{BTreeMap, VecDeque};

use super::{Op, Operation, Outcome, counter};

/// An entry of the log about the key: its index, and the value it wrote or that it deleted.
pub type Written = (u64, Option<Vec<u8>>);

/// What an operation does to a value, by which its entry is known again.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Mark {
    Value(Vec<u8>),
    Tail(Vec<u8>),
    Delta(u64),
}

type Item = Option<(Vec<u8>, u64)>;

/// Whether it was told that it changed something.
pub fn is_change(operation: &Operation) -> bool {
    matches!(operation.outcome, Outcome::Stored | Outcome::Deleted | Outcome::Number(_))
}

/// Which operation wrote which entry; nothing for a deletion, which any delete may have done.
fn writers(history: &[Operation], log: &[Written]) -> Option<Vec<Option<usize>>> {
    let mut order: Vec<usize> = (0..history.len()).collect();
    order.sort_by_key(|&i| if is_change(&history[i]) { history[i].returned } else { u64::MAX });
    let mut by_mark: BTreeMap<Mark, VecDeque<usize>> = BTreeMap::new();
    for i in order {
        let mark = match &history[i].op {
            _ if !is_change(&history[i]) && history[i].outcome != Outcome::Unknown => continue,
            Op::Get | Op::Delete => continue,
            Op::Set(value) | Op::Add(value) | Op::Cas { value, .. } => Mark::Value(value.clone()),
            Op::Append(tail) => Mark::Tail(tail.clone()),
            Op::Incr(delta) => Mark::Delta(*delta),
        };
        by_mark.entry(mark).or_default().push_back(i);
    }
    let mut take = |mark| by_mark.get_mut(&mark).and_then(VecDeque::pop_front);
    let mut before: Option<&[u8]> = None;
    let mut found = Vec::new();
    for (_, value) in log {
        let writer = match (value, before) {
            (None, _) => None,
            (Some(value), None) => Some(take(Mark::Value(value.clone()))?),
            (Some(value), Some(old)) => Some(
                take(Mark::Value(value.clone()))
                    .or_else(|| take(Mark::Tail(value.strip_prefix(old)?.to_vec())))
                    .or_else(|| take(Mark::Delta(counter(value)?.wrapping_sub(counter(old)?))))?,
            ),
        };
        found.push(writer);
        before = value.as_deref();
    }
    Some(found)
}

/// Whether an operation that changed nothing may be answered so.
fn fits(item: &Item, operation: &Operation) -> bool {
    match (&operation.op, &operation.outcome, item) {
        (Op::Get, Outcome::Miss, None)
        | (Op::Append(_), Outcome::NotStored, None)
        | (Op::Add(_), Outcome::NotStored, Some(_))
        | (Op::Cas { .. } | Op::Incr(_) | Op::Delete, Outcome::NotFound, None) => true,
        (Op::Get, Outcome::Value { value, cas }, Some((held, id))) => value == held && cas == id,
        (Op::Cas { id, .. }, Outcome::Exists, Some((_, held))) => id != held,
        (Op::Incr(_), Outcome::NonNumeric, Some((held, _))) => counter(held).is_none(),
        _ => false,
    }
}

/// The item after a change, if there is something to change and the answer is right.
fn change(item: &Item, operation: &Operation, index: u64) -> Option<Item> {
    let value = match (&operation.op, item) {
        (Op::Set(value), _) | (Op::Add(value), None) => value.clone(),
        (Op::Cas { id, value }, Some((_, held))) if id == held => value.clone(),
        (Op::Append(tail), Some((held, _))) => [held.as_slice(), tail].concat(),
        (Op::Incr(delta), Some((held, _))) => {
            let new = counter(held)?.wrapping_add(*delta);
            let told = matches!(operation.outcome, Outcome::Unknown) || operation.outcome == Outcome::Number(new);
            told.then(|| new.to_string().into_bytes())?
        }
        (Op::Delete, Some(_)) => return Some(None),
        _ => return None,
    };
    Some(Some((value, index)))
}

/// Operations that are under way, and those of them that wait to see a state that explains their answer.
struct Walk<'a> {
    history: &'a [Operation],
    log: &'a [Written],
    writers: Vec<Option<usize>>,
    /// So many changes are done.
    changes: usize,
    item: Item,
    open: Vec<usize>,
    invoked: Vec<bool>,
    done: Vec<bool>,
}

impl Walk<'_> {
    /// Whatever is answered by the present state is done in it: it changes nothing, so nothing is lost by that.
    fn answer(&mut self) {
        let (history, item, done) = (self.history, &self.item, &mut self.done);
        self.open.retain(|&i| {
            done[i] |= fits(item, &history[i]);
            !done[i]
        });
    }

    /// The delete under way that must be done soonest; one that nobody knows of if there is no other.
    fn deleter(&self) -> Option<usize> {
        let may = |&i: &usize| {
            let Operation { op, outcome, .. } = &self.history[i];
            let known = *outcome == Outcome::Deleted;
            *op == Op::Delete && self.invoked[i] && !self.done[i] && (known || *outcome == Outcome::Unknown)
        };
        let due = |&i: &usize| if is_change(&self.history[i]) { self.history[i].returned } else { u64::MAX };
        (0..self.history.len()).filter(may).min_by_key(due)
    }

    /// Why `i` has no place.
    fn story(&self, i: usize) -> String {
        let (done, left) = self.log.split_at(self.changes);
        let tail = &done[done.len().saturating_sub(4)..];
        let next = &left[..left.len().min(4)];
        format!("{} has no place between {tail:?} and {next:?}, which is asked for too late or wrong", self.history[i])
    }

    /// The next change, if it was asked for already and can be.
    fn advance(&mut self) -> bool {
        let Some(&writer) = self.writers.get(self.changes) else { return false };
        let Some(writer) = writer.or_else(|| self.deleter()) else { return false };
        let index = self.log[self.changes].0;
        let Some(item) = change(&self.item, &self.history[writer], index).filter(|_| self.invoked[writer]) else {
            return false;
        };
        (self.item, self.done[writer]) = (item, true);
        self.changes += 1;
        self.answer();
        true
    }
}

/// Linearizes the history in the order of the log's entries.
///
/// # Errors
/// What does not fit. That proves nothing where two writes wrote the same.
pub fn explain(history: &[Operation], log: &[Written]) -> Result<(), String> {
    let writers = writers(history, log).ok_or("an entry that nobody asked for")?;
    let mut events: Vec<(u64, bool, usize)> = Vec::with_capacity(2 * history.len());
    for (i, operation) in history.iter().enumerate() {
        events.push((operation.invoked, false, i));
        if operation.outcome != Outcome::Unknown {
            events.push((operation.returned, true, i));
        }
    }
    // events of one instant overlap: invocations first
    events.sort_unstable_by_key(|&(at, returns, _)| (at, returns));
    let (invoked, done) = (vec![false; history.len()], vec![false; history.len()]);
    let mut walk = Walk { history, log, writers, changes: 0, item: None, open: Vec::new(), invoked, done };
    for (_, returns, i) in events {
        if returns {
            while !walk.done[i] {
                if !walk.advance() {
                    return Err(walk.story(i));
                }
            }
            continue;
        }
        walk.invoked[i] = true;
        if !is_change(&history[i]) && history[i].outcome != Outcome::Unknown {
            walk.done[i] = fits(&walk.item, &history[i]);
            if !walk.done[i] {
                walk.open.push(i);
            }
        }
    }
    while walk.changes < walk.writers.len() {
        if !walk.advance() {
            return Err(format!("the entry {:?} has no place", log[walk.changes]));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation((invoked, returned): (u64, u64), op: Op, outcome: Outcome) -> Operation {
        Operation { client: 0, op, outcome, invoked, returned }
    }

    fn set(value: &str, span: (u64, u64), outcome: Outcome) -> Operation {
        operation(span, Op::Set(value.into()), outcome)
    }

    fn get(value: &str, cas: u64, span: (u64, u64)) -> Operation {
        operation(span, Op::Get, Outcome::Value { value: value.into(), cas })
    }

    fn log(values: &[&str]) -> Vec<Written> {
        values.iter().zip(1..).map(|(value, index)| (index, Some(value.as_bytes().to_vec()))).collect()
    }

    fn fits(history: &[Operation], log: &[Written]) -> bool {
        explain(history, log).is_ok()
    }

    #[test]
    fn reads_are_put_between_the_writes_of_the_log() {
        let writes = [set("a", (1, 8), Outcome::Stored), set("b", (2, 9), Outcome::Unknown)];
        let with = |reads: &[Operation]| [&writes[..], reads].concat();
        assert!(fits(&with(&[get("a", 1, (3, 4)), get("b", 2, (5, 6))]), &log(&["a", "b"])));
        assert!(!fits(&with(&[get("b", 2, (3, 4)), get("a", 1, (5, 6))]), &log(&["a", "b"])), "a stale read");
        assert!(!fits(&with(&[get("a", 2, (3, 4))]), &log(&["a", "b"])), "another item's id");
        assert!(fits(&with(&[]), &log(&["a"])), "what is unknown may not have been done");
        assert!(!fits(&with(&[]), &log(&["b"])), "a lost write");
    }

    #[test]
    fn an_entry_stands_behind_its_asking() {
        let history = [set("a", (1, 2), Outcome::Stored), set("b", (5, 6), Outcome::Stored), get("b", 2, (3, 4))];
        assert!(!fits(&history, &log(&["a", "b"])));
    }

    #[test]
    fn each_change_is_done_once() {
        let incr = operation((3, 4), Op::Incr(7), Outcome::Number(8));
        let history = [set("1", (1, 2), Outcome::Stored), incr];
        assert!(fits(&history, &log(&["1", "8"])));
        assert!(!fits(&history, &log(&["1", "8", "15"])), "done twice");
    }

    #[test]
    fn what_was_refused_needs_a_state_that_refuses_it() {
        let add = operation((3, 4), Op::Add(b"x".to_vec()), Outcome::NotStored);
        let deleted = operation((5, 6), Op::Delete, Outcome::Deleted);
        let mut history = vec![set("a", (1, 2), Outcome::Stored), add.clone(), deleted];
        let log = [log(&["a"]), vec![(2, None)]].concat();
        assert!(fits(&history, &log));
        history[1] = Operation { invoked: 7, returned: 8, ..add };
        assert!(!fits(&history, &log));
    }
}
