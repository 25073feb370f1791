//! Whether a history has an explanation: key by key, by the simulator's search. An operation nobody knows the end of makes
//! the search wider, and most of those that nobody saw a trace of are not needed: it is tried without them first, because an
//! order without them is one with them too, they need not have been done.

use super::record::{Entry, History};
use crate::linear::{Op, Operation, Outcome, Verdict, check};

/// Looks for an explanation of every key's history.
///
/// # Errors
/// The story of the first key that has none.
pub fn explained(history: &History) -> Result<(), String> {
    for (key, mut operations) in history.by_key() {
        operations.sort_by_key(|operation| operation.invoked);
        let verdict = match check(&without_unseen(&operations)) {
            Verdict::Linearizable => continue,
            _ => check(&operations),
        };
        match verdict {
            Verdict::Linearizable => {}
            Verdict::Not(story) => {
                let places = places(history, key);
                return Err(format!("the history of key {key} is not linearizable:\n{story}{places}"));
            }
            Verdict::Undecided => {
                let asked: String = operations.iter().map(|operation| format!("  {operation}\n")).collect();
                return Err(format!("the history of key {key} is not decided, too much is unknown:\n{asked}"));
            }
        }
    }
    Ok(())
}

/// Where each operation on a key was asked for, by the time at which it was.
fn places(history: &History, key: &str) -> String {
    let mut asked: Vec<_> = history.entries.iter().filter(|entry| entry.key == key).collect();
    asked.sort_by_key(|entry| entry.operation.invoked);
    let line = |entry: &&Entry| {
        let refused = entry.refused.as_deref().map_or_else(String::new, |line| format!(", refused: {line}"));
        format!("  [{} at {}{refused}\n", entry.operation.invoked, entry.server)
    };
    format!("where each was asked for:\n{}", asked.iter().map(line).collect::<String>())
}

/// The history without those operations of unknown outcome whose value no read shows.
fn without_unseen(operations: &[Operation]) -> Vec<Operation> {
    let seen: Vec<&[u8]> = operations
        .iter()
        .filter_map(|operation| match &operation.outcome {
            Outcome::Value { value, .. } => Some(value.as_slice()),
            _ => None,
        })
        .collect();
    let is_seen = |operation: &Operation| match &operation.op {
        // what incr has changed is not recognized
        Op::Set(value) | Op::Add(value) | Op::Cas { value, .. } => {
            value.iter().all(u8::is_ascii_digit) || seen.iter().any(|read| read.starts_with(value))
        }
        Op::Append(tail) => seen.iter().any(|read| memchr::memmem::find(read, tail).is_some()),
        Op::Get => false,
        Op::Incr(_) | Op::Delete => true,
    };
    let needed = |operation: &&Operation| operation.outcome != Outcome::Unknown || is_seen(operation);
    operations.iter().filter(needed).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::record::Clock;

    fn history(operations: &[(u64, u64, Op, Outcome)]) -> History {
        let mut history = History::new(Clock::start());
        for (client, (invoked, returned, op, outcome)) in operations.iter().enumerate() {
            let (op, outcome) = (op.clone(), outcome.clone());
            let operation = Operation { client: client as u32, op, outcome, invoked: *invoked, returned: *returned };
            let server = "127.0.0.1:1".parse().expect("an address");
            history.entries.push(Entry { key: "k".to_owned(), server, operation, refused: None });
        }
        history
    }

    fn set(value: &str) -> Op {
        Op::Set(value.into())
    }

    fn value(value: &str, cas: u64) -> Outcome {
        Outcome::Value { value: value.into(), cas }
    }

    #[test]
    fn an_unknown_write_may_have_been_done_or_not() {
        let unknown = (1, 0, set("v1;"), Outcome::Unknown);
        let known = (2, 3, set("v2;"), Outcome::Stored);
        for read in ["v1;", "v2;"] {
            let read = (4, 5, Op::Get, value(read, 2));
            assert_eq!(explained(&history(&[unknown.clone(), known.clone(), read])), Ok(()));
        }
        let add = (4, 5, Op::Add(b"v3;".to_vec()), Outcome::NotStored);
        // nobody saw it, and yet it is needed
        assert_eq!(explained(&history(&[unknown, add])), Ok(()));
    }

    #[test]
    fn a_lost_write_is_found() {
        let operations = [(1, 2, set("v1;"), Outcome::Stored), (3, 4, Op::Get, Outcome::Miss)];
        let story = explained(&history(&operations)).expect_err("it is lost");
        assert!(story.contains("key k is not linearizable"), "{story}");
    }

    #[test]
    fn an_incr_that_was_done_twice_is_found() {
        let operations = [
            (1, 2, set("10"), Outcome::Stored),
            (3, 4, Op::Incr(1), Outcome::Number(11)),
            (5, 6, Op::Get, value("12", 3)),
        ];
        assert!(explained(&history(&operations)).is_err());
    }

    #[test]
    fn what_was_refused_must_not_be_done() {
        let mut seen = history(&[(1, 0, set("v1;"), Outcome::Unknown), (2, 3, Op::Get, value("v1;", 1))]);
        assert_eq!(explained(&seen), Ok(()));
        seen.entries[0].refused = Some("SERVER_ERROR no".to_owned());
        assert!(explained(&seen).is_err());
    }

    #[test]
    fn a_stale_read_at_another_server_is_found() {
        let operations = [
            (1, 2, set("v1;"), Outcome::Stored),
            (3, 4, set("v2;"), Outcome::Stored),
            (5, 6, Op::Get, value("v1;", 1)),
        ];
        assert!(explained(&history(&operations)).is_err());
    }
}
