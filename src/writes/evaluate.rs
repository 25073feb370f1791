//! What a write does to what is there: the conditional commands' rules, applied to committed plus prepared state.

use super::{Pending, Write, Writes};
use crate::log::Entry;
use crate::proto::{Direction, Reply, StoreVerb, parse_counter, reply};
use crate::stats::{Counter, Counters};
use crate::store::{Item, ItemBits, KeyHash};
use crate::time::{Expiry, Seconds};

/// Where the new value stands.
pub enum ValueOf {
    /// In the request.
    Request,
    /// In the write path's scratch buffer.
    Scratch,
}

impl ValueOf {
    /// The bytes, when they are the request's.
    pub fn of<'a>(&self, write: &Write<'a>) -> Option<&'a [u8]> {
        match (self, *write) {
            (Self::Request, Write::Store { value, .. }) => Some(value),
            _ => None,
        }
    }
}

/// The result of a write: what is logged.
pub enum Change {
    None,
    /// `cas`: the id the item keeps; a new one otherwise.
    Put {
        flags: u32,
        expiry: Expiry,
        bits: ItemBits,
        cas: Option<u64>,
        value: ValueOf,
        /// memcached writes over the item it has and counts no other.
        in_place: bool,
    },
    Delete,
    Touch {
        expiry: Expiry,
    },
}

/// A change and the answer for when it is done.
pub struct Decision {
    pub change: Change,
    pub reply: Reply,
}

impl Decision {
    const fn only(reply: Reply) -> Self {
        Self { change: Change::None, reply }
    }
}

/// Blanks that keep a shrunken counter at its old length, as memcached's in-place update does.
const BLANKS: [u8; 20] = [b' '; 20];

impl Writes {
    /// The item as the next entry will find it.
    fn current(&self, now: Seconds, hash: KeyHash, key: &[u8]) -> Option<Item<'_>> {
        let mut touched = None;
        for (index, pending) in self.prepared.of(hash) {
            match pending {
                Pending::Put(reserved) => {
                    let item = self.store.view(reserved);
                    if item.key == key {
                        return alive(item, touched, now);
                    }
                }
                Pending::Delete(deleted) if **deleted == *key => return None,
                Pending::Touch(of, expiry) if **of == *key => touched = touched.or(Some(*expiry)),
                Pending::Framed(at) => match self.framed(index, *at) {
                    Entry::Put { key: of, value, flags, expiry, cas, bits } if of == key => {
                        let (cas, bits) = (cas.unwrap_or(index.0), ItemBits(bits));
                        return alive(Item { key: of, value, flags, expiry, cas, bits }, touched, now);
                    }
                    Entry::Delete { key: deleted, .. } if deleted == key => return None,
                    Entry::Touch { key: of, expiry } if of == key => touched = touched.or(Some(expiry)),
                    _ => {}
                },
                Pending::Delete(_) | Pending::Touch(..) => {}
                Pending::Flush(..) | Pending::FlushAt(_) | Pending::Nothing => {}
            }
        }
        if self.prepared.flushes() {
            return None;
        }
        alive(self.store.get(hash, key, now)?, touched, now)
    }

    /// Decides what `write` comes to. Values that are not the request's are left in `scratch`.
    pub(super) fn evaluate(
        &mut self,
        now: Seconds,
        hash: KeyHash,
        write: &Write<'_>,
        counters: &mut Counters,
    ) -> Decision {
        let mut scratch = std::mem::take(&mut self.scratch);
        let decision = match *write {
            Write::Store { verb: StoreVerb::Set, flags, exptime, .. } => {
                counters.count(Counter::CmdSet);
                put(flags, Expiry::from_exptime(exptime, now))
            }
            Write::Store { verb, key, flags, exptime, cas, value } => {
                counters.count(Counter::CmdSet);
                let current = self.current(now, hash, key);
                let fresh = (flags, Expiry::from_exptime(exptime, now));
                store(verb, current.as_ref(), fresh, cas, value, &mut scratch, counters)
            }
            Write::TooLarge { verb, key } => {
                counters.count(Counter::StoreTooLarge);
                let removes = verb == StoreVerb::Set && self.current(now, hash, key).is_some();
                let change = if removes { Change::Delete } else { Change::None };
                Decision { change, reply: Reply::Line(reply::TOO_LARGE) }
            }
            Write::Delete { key } => delete(self.current(now, hash, key).is_some(), counters),
            Write::Arithmetic { direction, key, delta } => {
                let current = self.current(now, hash, key);
                arithmetic(direction, current.as_ref(), delta, &mut scratch, counters)
            }
            Write::Touch { key, exptime } => {
                let current = self.current(now, hash, key);
                touch(current.as_ref(), Expiry::from_exptime(exptime, now), &mut scratch, counters)
            }
            Write::GetAndTouch { key, exptime, with_cas, last } => {
                let current = self.current(now, hash, key);
                let cas = with_cas.then_some(self.cas_enabled);
                let expiry = Expiry::from_exptime(exptime, now);
                get_and_touch(current.as_ref(), expiry, cas, last, &mut scratch, counters)
            }
            Write::FlushAll { .. } | Write::MemoryLimit { .. } => unreachable!("these are about no key"),
        };
        self.scratch = scratch;
        decision
    }
}

fn alive(mut item: Item<'_>, touched: Option<Expiry>, now: Seconds) -> Option<Item<'_>> {
    item.expiry = touched.unwrap_or(item.expiry);
    (!item.expiry.expired(now)).then_some(item)
}

fn put(flags: u32, expiry: Expiry) -> Decision {
    let change =
        Change::Put { flags, expiry, bits: ItemBits::default(), cas: None, value: ValueOf::Request, in_place: false };
    Decision { change, reply: Reply::Stored }
}

fn store(
    verb: StoreVerb,
    current: Option<&Item<'_>>,
    (flags, expiry): (u32, Expiry),
    cas: u64,
    value: &[u8],
    scratch: &mut Vec<u8>,
    counters: &mut Counters,
) -> Decision {
    match (verb, current) {
        (StoreVerb::Set, _) | (StoreVerb::Add, None) | (StoreVerb::Replace, Some(_)) => put(flags, expiry),
        (StoreVerb::Add, Some(_)) | (StoreVerb::Replace | StoreVerb::Append | StoreVerb::Prepend, None) => {
            Decision::only(Reply::NotStored)
        }
        (StoreVerb::Append, Some(item)) => joined(item, item.value, value, scratch),
        (StoreVerb::Prepend, Some(item)) => joined(item, value, item.value, scratch),
        (StoreVerb::Cas, None) => {
            counters.count(Counter::CasMisses);
            Decision::only(Reply::NotFound)
        }
        (StoreVerb::Cas, Some(item)) if item.cas == cas => {
            counters.count(Counter::CasHits);
            put(flags, expiry)
        }
        (StoreVerb::Cas, Some(_)) => {
            counters.count(Counter::CasBadval);
            Decision::only(Reply::Exists)
        }
    }
}

/// append and prepend keep the item's own flags and expiry.
fn joined(item: &Item<'_>, first: &[u8], second: &[u8], scratch: &mut Vec<u8>) -> Decision {
    scratch.clear();
    scratch.extend_from_slice(first);
    scratch.extend_from_slice(second);
    kept(item, Reply::Stored, false)
}

fn kept(item: &Item<'_>, reply: Reply, in_place: bool) -> Decision {
    let (flags, expiry, bits) = (item.flags, item.expiry, item.bits);
    Decision { change: Change::Put { flags, expiry, bits, cas: None, value: ValueOf::Scratch, in_place }, reply }
}

fn delete(found: bool, counters: &mut Counters) -> Decision {
    if found {
        counters.count(Counter::DeleteHits);
        Decision { change: Change::Delete, reply: Reply::Deleted }
    } else {
        counters.count(Counter::DeleteMisses);
        Decision::only(Reply::NotFound)
    }
}

fn arithmetic(
    direction: Direction,
    current: Option<&Item<'_>>,
    delta: u64,
    scratch: &mut Vec<u8>,
    counters: &mut Counters,
) -> Decision {
    let (hit, miss) = match direction {
        Direction::Increment => (Counter::IncrHits, Counter::IncrMisses),
        Direction::Decrement => (Counter::DecrHits, Counter::DecrMisses),
    };
    let Some(item) = current else {
        counters.count(miss);
        return Decision::only(Reply::NotFound);
    };
    let Some(old) = parse_counter(item.value) else {
        return Decision::only(Reply::Line(reply::NON_NUMERIC_VALUE));
    };
    counters.count(hit);
    let new = match direction {
        Direction::Increment => old.wrapping_add(delta),
        Direction::Decrement => old.saturating_sub(delta),
    };
    scratch.clear();
    scratch.extend_from_slice(itoa::Buffer::new().format(new).as_bytes());
    let blanks = item.value.len().saturating_sub(scratch.len()).min(BLANKS.len());
    scratch.extend_from_slice(&BLANKS[..blanks]);
    let in_place = scratch.len() == item.value.len();
    kept(item, Reply::Number(new), in_place)
}

fn touch(current: Option<&Item<'_>>, expiry: Expiry, scratch: &mut Vec<u8>, counters: &mut Counters) -> Decision {
    counters.count(Counter::CmdTouch);
    let Some(item) = current else {
        counters.count(Counter::TouchMisses);
        return Decision::only(Reply::NotFound);
    };
    counters.count(Counter::TouchHits);
    if item.expiry != Expiry::NEVER || expiry == Expiry::NEVER {
        return Decision { change: Change::Touch { expiry }, reply: Reply::Touched };
    }
    // An item without an expiry has no room for one: it is written again, so that its memory is found before it is
    // promised. The cas id stays, as it does with any touch.
    scratch.clear();
    scratch.extend_from_slice(item.value);
    let (flags, bits, cas) = (item.flags, item.bits, Some(item.cas));
    let change = Change::Put { flags, expiry, bits, cas, value: ValueOf::Scratch, in_place: true };
    Decision { change, reply: Reply::Touched }
}

/// `cas`: whether a cas id is wanted, and if so whether the server gives them out.
fn get_and_touch(
    current: Option<&Item<'_>>,
    expiry: Expiry,
    cas: Option<bool>,
    last: bool,
    scratch: &mut Vec<u8>,
    counters: &mut Counters,
) -> Decision {
    // memcached counts it as a touch and not as a get
    let touched = touch(current, expiry, scratch, counters);
    let mut text = Vec::new();
    if let Some(item) = current {
        let cas = cas.map(|enabled| if enabled { item.cas } else { 0 });
        reply::value(&mut text, item.key, item.flags, item.value, cas);
    }
    if last {
        reply::end(&mut text);
    }
    Decision { change: touched.change, reply: Reply::Bytes(text) }
}
