//! Makes one thread's requests: draws what to ask and of which key, and writes it into a session's output.

use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;
use ringstore::proto::{Direction, Store, StoreVerb, request};

use super::freshness::Freshness;
use super::session::{Request, Session};
use crate::workload::keys::{Keys, Kind};
use crate::workload::mix::{Mix, Operation};
use crate::workload::popularity::{Choice, Popularity};
use crate::workload::proof::Origin;
use crate::workload::size::Size;

/// What counters begin at when they are filled in: they keep their digits for a long time.
const COUNTER_START: &[u8] = b"1000000000";

/// What requests are drawn from.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Operations and their weights.
    pub mix: Mix,
    /// The keys.
    pub keys: Keys,
    /// How often each is asked for.
    pub popularity: Popularity,
    /// Length of values.
    pub value_size: Size,
    /// What is drawn shorter than this is made this long.
    pub value_bytes_min: usize,
}

/// Makes requests.
pub struct Author {
    shape: Shape,
    choice: Choice,
    rng: Xoshiro256PlusPlus,
    /// Who this thread is in values.
    pub writer: u32,
    /// What is known of the order of its writes.
    pub freshness: Freshness,
    key: Vec<u8>,
    value: Vec<u8>,
}

impl Author {
    /// One thread's author. In a sequence of keys it begins at `first`. Old values are recognised with `verify` only.
    pub fn new(shape: Shape, first: u32, seed: u64, writer: u32, verify: bool) -> Self {
        let choice = Choice::new(shape.popularity, shape.keys.count, first, seed);
        let rng = Xoshiro256PlusPlus::seed_from_u64(seed ^ 0x5349_5a45);
        let freshness = Freshness::new(if verify { shape.keys.count as usize } else { 0 });
        Self { shape, choice, rng, writer, freshness, key: Vec::new(), value: Vec::new() }
    }

    /// Writes the next request, which was due at `due` and is sent now.
    #[inline]
    pub fn next(&mut self, session: &mut Session, due: u64, sent: u64) {
        let operation = self.shape.mix.draw(&mut self.rng);
        let request = Request { operation, due, sent, write: None, swaps: false };
        if let Operation::MultiGet(keys) = operation {
            return self.get(session, request, keys);
        }
        let id = self.choice.next_key();
        self.write_key(if operation.counts() { Kind::Counter } else { Kind::Value }, id);
        let (key, out) = (&self.key[..], &mut session.output);
        match operation {
            Operation::Get | Operation::MultiGet(_) => request::get(out, [key], false),
            Operation::Cas => request::get(out, [key], true),
            Operation::MetaGet => request::meta_get(out, key, "v"),
            Operation::Touch => request::touch(out, key, 0),
            Operation::Incr => request::arithmetic(out, Direction::Increment, key, 1),
            Operation::MetaIncr => request::meta_arithmetic(out, key, "v"),
            Operation::SetCounter => request::store(out, &set(key, COUNTER_START)),
            Operation::Set | Operation::MetaSet | Operation::Delete | Operation::MetaDelete => {
                return self.change(session, request, id);
            }
        }
        session.push(request, [(id, self.freshness.floor(id))]);
    }

    /// Writes the cas that follows a gets.
    pub fn swap(&mut self, session: &mut Session, request: Request, id: u32, unique: u64, sent: u64) {
        self.write_key(Kind::Value, id);
        let write = self.freshness.write(id);
        self.write_value(id, write.version);
        let store = Store { verb: StoreVerb::Cas, cas: unique, ..set(&self.key, &self.value) };
        request::store(&mut session.output, &store);
        session.push(Request { sent, write: Some(write), swaps: true, ..request }, [(id, 0)]);
    }

    /// A set or a delete of the key that was written.
    fn change(&mut self, session: &mut Session, request: Request, id: u32) {
        let write = self.freshness.write(id);
        if matches!(request.operation, Operation::Set | Operation::MetaSet) {
            self.write_value(id, write.version);
        }
        let (key, out) = (&self.key[..], &mut session.output);
        match request.operation {
            Operation::Set => request::store(out, &set(key, &self.value)),
            Operation::MetaSet => request::meta_set(out, key, &self.value, ""),
            Operation::Delete => request::delete(out, key),
            _ => request::meta_delete(out, key, ""),
        }
        session.push(Request { write: Some(write), ..request }, [(id, 0)]);
    }

    fn get(&mut self, session: &mut Session, request: Request, keys: u16) {
        let ids: Vec<u32> = (0..keys).map(|_| self.choice.next_key()).collect();
        self.key.clear();
        let mut ends = Vec::with_capacity(ids.len() + 1);
        ends.push(0);
        for id in &ids {
            self.shape.keys.write(&mut self.key, Kind::Value, *id);
            ends.push(self.key.len());
        }
        request::get(&mut session.output, ends.windows(2).map(|ends| &self.key[ends[0]..ends[1]]), false);
        session.push(request, ids.iter().map(|id| (*id, self.freshness.floor(*id))));
    }

    fn write_key(&mut self, kind: Kind, id: u32) {
        self.key.clear();
        self.shape.keys.write(&mut self.key, kind, id);
    }

    fn write_value(&mut self, key: u32, version: u64) {
        let length = self.shape.value_size.draw(&mut self.rng).max(self.shape.value_bytes_min);
        self.value.clear();
        Origin { key, writer: self.writer, version }.write(&mut self.value, length);
    }
}

const fn set<'a>(key: &'a [u8], value: &'a [u8]) -> Store<'a> {
    Store { verb: StoreVerb::Set, key, flags: 0, exptime: 0, cas: 0, value, noreply: false }
}
