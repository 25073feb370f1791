//! The oracle beside the search: every order of every choice of operations, each replayed from the start on a plain
//! model of a key in which items carry the ids that gets bind to them. For histories of a handful of operations.

use super::{Op, Operation, Outcome};

/// Whether some order explains the history.
pub fn linearizable(history: &[Operation]) -> bool {
    assert!(history.len() <= 7, "a naive search of more takes for ever");
    extend(history, &mut Vec::new())
}

fn extend(history: &[Operation], order: &mut Vec<usize>) -> bool {
    let missing = (0..history.len()).any(|i| history[i].outcome != Outcome::Unknown && !order.contains(&i));
    if !missing && replays(history, order) {
        return true;
    }
    for next in 0..history.len() {
        if order.contains(&next) || !may_follow(history, order, next) {
            continue;
        }
        order.push(next);
        let found = extend(history, order);
        order.pop();
        if found {
            return true;
        }
    }
    false
}

/// Whether nobody in `order` was invoked only after `next` had returned.
fn may_follow(history: &[Operation], order: &[usize], next: usize) -> bool {
    let Operation { returned, ref outcome, .. } = history[next];
    *outcome == Outcome::Unknown || order.iter().all(|&before| history[before].invoked <= returned)
}

#[derive(Default)]
struct Key {
    /// The item and the number of the write that made it.
    item: Option<(Vec<u8>, usize)>,
    /// The ids that gets returned for the item of each write.
    ids: Vec<Option<u64>>,
}

impl Key {
    fn write(&mut self, value: Vec<u8>) -> Outcome {
        self.item = Some((value, self.ids.len()));
        self.ids.push(None);
        Outcome::Stored
    }
}

fn replays(history: &[Operation], order: &[usize]) -> bool {
    let mut key = Key::default();
    for &i in order {
        let Operation { op, outcome, .. } = &history[i];
        if *op == Op::Get {
            match (outcome, &key.item) {
                (Outcome::Unknown, _) | (Outcome::Miss, None) => {}
                (Outcome::Value { value, cas }, Some((held, write))) if value == held => {
                    let id = key.ids[*write].get_or_insert(*cas);
                    if id != cas {
                        return false;
                    }
                }
                _ => return false,
            }
            continue;
        }
        let answer = done(&mut key, op);
        if *outcome != Outcome::Unknown && *outcome != answer {
            return false;
        }
    }
    let bound: Vec<u64> = key.ids.into_iter().flatten().collect();
    bound.windows(2).all(|pair| pair[0] < pair[1])
}

fn done(key: &mut Key, op: &Op) -> Outcome {
    let held = key.item.clone();
    match op {
        Op::Get => unreachable!("handled where its answer is compared"),
        Op::Set(value) => key.write(value.clone()),
        Op::Add(value) => {
            if held.is_some() {
                return Outcome::NotStored;
            }
            key.write(value.clone())
        }
        Op::Cas { id, value } => match held {
            None => Outcome::NotFound,
            Some((_, write)) if key.ids[write] == Some(*id) => key.write(value.clone()),
            Some(_) => Outcome::Exists,
        },
        Op::Append(tail) => match held {
            None => Outcome::NotStored,
            Some((mut value, _)) => {
                value.extend_from_slice(tail);
                key.write(value)
            }
        },
        Op::Incr(delta) => {
            let Some((value, _)) = held else { return Outcome::NotFound };
            match String::from_utf8(value).ok().and_then(|text| text.parse::<u64>().ok()) {
                None => Outcome::NonNumeric,
                Some(old) => {
                    let new = old.wrapping_add(*delta);
                    key.write(new.to_string().into_bytes());
                    Outcome::Number(new)
                }
            }
        }
        Op::Delete => match key.item.take() {
            None => Outcome::NotFound,
            Some(_) => Outcome::Deleted,
        },
    }
}
