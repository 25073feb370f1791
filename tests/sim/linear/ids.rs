//! The order that the ids of reads tell. An id is the index of the entry that wrote the item, so ids grow; a read shows which
//! value has which, and where values differ that is the place of the write that wrote it. The search goes by that first: no
//! write before one with a smaller id, none while a read of what it replaces is still to be done. What it finds is an order
//! like any other; where two writes wrote the same value it may miss one.

use std::collections::BTreeMap;

use super::{Done, Op, Operation, Outcome, State, Values};

/// What reads tell about a history.
pub struct Ids {
    by_value: BTreeMap<Vec<u8>, u64>,
    /// Operations whose place is known, by id: reads, and writes whose value a read shows.
    due: Vec<(u64, usize)>,
}

impl Ids {
    /// Nothing is told: the search goes by answers alone.
    pub const fn none() -> Self {
        Self { by_value: BTreeMap::new(), due: Vec::new() }
    }

    /// What the reads of this history tell.
    pub fn of(history: &[&Operation]) -> Self {
        let mut by_value = BTreeMap::new();
        for operation in history {
            if let Outcome::Value { value, cas } = &operation.outcome {
                by_value.insert(value.clone(), *cas);
            }
        }
        let place = |operation: &Operation| match (&operation.op, &operation.outcome) {
            (_, Outcome::Value { cas, .. }) => Some(*cas),
            (Op::Set(value) | Op::Add(value) | Op::Cas { value, .. }, Outcome::Stored) => by_value.get(value).copied(),
            (_, Outcome::Number(number)) => by_value.get(number.to_string().as_bytes()).copied(),
            _ => None,
        };
        let mut due: Vec<(u64, usize)> =
            history.iter().enumerate().filter_map(|(i, operation)| Some((place(operation)?, i))).collect();
        due.sort_unstable();
        Self { by_value, due }
    }

    /// The state after `operation` with the id that its value has, if it is its turn.
    pub fn in_turn(
        &self,
        before: State,
        after: State,
        operation: usize,
        done: &Done,
        values: &Values,
    ) -> Option<State> {
        let is_done = |i: usize| i == operation || done[i / 64] & (1 << (i % 64)) != 0;
        let all_done_below = |id: u64| self.due.iter().take_while(|(of, _)| *of < id).all(|&(_, i)| is_done(i));
        if self.due.is_empty() || after == before {
            return Some(after);
        }
        if after.id_known {
            // a read that says which id the item has
            return all_done_below(after.newest_id).then_some(after);
        }
        let id = after.value.and_then(|value| self.by_value.get(&values.all[value as usize]));
        match id {
            Some(&id) => {
                let fits = id > before.newest_id && all_done_below(id);
                fits.then_some(State { id_known: true, newest_id: id, ..after })
            }
            None if before.id_known => all_done_below(before.newest_id + 1).then_some(after),
            None => Some(after),
        }
    }
}
