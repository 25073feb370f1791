//! Reads the replies to a batch, however the stream was cut, and counts them. Every reply is read to its end: each
//! value must belong to a key that was asked for, in the order asked for, with the right length, and with `verify` the
//! right content. What is wrong is counted, never passed over. memcached's answers are read by `proto`'s parser, those of
//! Redis and etcd here beneath.

mod foreign;

use ringstore::proto::{Answer, Answered, parse_answer};

use self::foreign::Foreign;
use crate::keys::key_id;
use crate::request::{Batch, Dialect, Mix, Pool};

/// What came back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Requests answered, well or badly.
    pub replies: u64,
    /// Values received.
    pub hits: u64,
    /// Keys that were asked for and not there.
    pub misses: u64,
    /// Error replies, and replies of no known form.
    pub errors: u64,
    /// Values that are not what was stored, or that nobody asked for.
    pub mismatches: u64,
}

impl Tally {
    pub fn add(&mut self, other: &Self) {
        self.replies += other.replies;
        self.hits += other.hits;
        self.misses += other.misses;
        self.errors += other.errors;
        self.mismatches += other.mismatches;
    }

    /// Whether every reply was what it had to be.
    pub fn is_clean(&self) -> bool {
        self.errors == 0 && self.mismatches == 0
    }
}

/// The stream cannot be understood any more.
#[derive(Debug, PartialEq, Eq)]
pub enum Garbled {
    /// No answer of a memcached server.
    Malformed,
    /// A line that does not end.
    LongLine,
    /// Bytes after the last reply.
    Surplus,
    /// An HTTP answer that does not say how long it is.
    NoLength,
}

/// Decoder of one connection.
pub struct Decoder<'a> {
    pool: &'a Pool,
    verify: bool,
    /// The beginning of an answer or a line whose rest has not come.
    pending: Vec<u8>,
    foreign: Foreign,
    batch: Option<Batch>,
    /// Requests of the batch answered so far.
    answered: usize,
    /// Keys of the current request passed so far.
    passed: usize,
    /// Counts since the batch began.
    pub tally: Tally,
}

impl<'a> Decoder<'a> {
    pub fn new(pool: &'a Pool, verify: bool) -> Self {
        let (pending, foreign, tally) = (Vec::new(), Foreign::default(), Tally::default());
        Self { pool, verify, pending, foreign, batch: None, answered: 0, passed: 0, tally }
    }

    /// Begins a batch; the one before must be complete.
    pub fn expect(&mut self, batch: Batch) {
        assert!(self.is_complete() && self.pending.is_empty());
        self.batch = Some(batch);
        self.answered = 0;
        self.passed = 0;
        self.tally = Tally::default();
    }

    /// Whether every request of the batch has its reply.
    pub fn is_complete(&self) -> bool {
        // WAIT is answered too
        let more = usize::from(matches!(self.pool.dialect, Dialect::RedisWait(_)));
        self.batch.is_none_or(|batch| self.answered == batch.requests() + more)
    }

    /// Takes bytes as they came from the socket.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), Garbled> {
        if self.pool.dialect != Dialect::Memcached {
            return self.feed_foreign(bytes);
        }
        if self.pending.is_empty() {
            let taken = self.take_answers(bytes)?;
            self.pending.extend_from_slice(&bytes[taken..]);
            return Ok(());
        }
        let mut pending = std::mem::take(&mut self.pending);
        pending.extend_from_slice(bytes);
        let taken = self.take_answers(&pending)?;
        pending.drain(..taken);
        self.pending = pending;
        Ok(())
    }

    /// Takes whole answers off the front. How many bytes they were.
    fn take_answers(&mut self, bytes: &[u8]) -> Result<usize, Garbled> {
        let mut at = 0;
        while at < bytes.len() {
            if self.is_complete() {
                return Err(Garbled::Surplus);
            }
            match parse_answer(&bytes[at..]) {
                Answered::Need { .. } => break,
                Answered::Malformed => return Err(Garbled::Malformed),
                Answered::Answer { answer, consumed } => {
                    at += consumed;
                    self.on_answer(&answer);
                }
            }
        }
        Ok(at)
    }

    fn on_answer(&mut self, answer: &Answer<&[u8]>) {
        match (self.pool.mix, answer) {
            (Mix::Get | Mix::MultiGet(_), Answer::Value { key, flags, data, .. }) => self.on_value(key, *flags, data),
            (Mix::Get | Mix::MultiGet(_), Answer::End) => {
                let missed = self.request_keys().len() - self.passed;
                self.finish(|tally| tally.misses += missed as u64);
            }
            (Mix::Set, Answer::Stored) => self.finish(|_| ()),
            (Mix::Incr, Answer::Number(_)) => self.finish(|tally| tally.hits += 1),
            (Mix::Incr, Answer::NotFound) => self.finish(|tally| tally.misses += 1),
            _ => self.finish(|tally| tally.errors += 1),
        }
    }

    fn on_value(&mut self, key: &[u8], flags: u32, data: &[u8]) {
        let id = key_id(key);
        let place = id.and_then(|id| self.request_keys()[self.passed..].iter().position(|asked| *asked == id));
        let (Some(id), Some(skipped)) = (id, place) else {
            self.tally.mismatches += 1;
            return;
        };
        self.tally.misses += skipped as u64;
        self.passed += skipped + 1;
        let right = flags == 0 && data.len() == self.pool.keys.value_bytes;
        if right && (!self.verify || data == self.pool.keys.value(id)) {
            self.tally.hits += 1;
        } else {
            self.tally.mismatches += 1;
        }
    }

    /// Keys of the request whose reply is being read.
    fn request_keys(&self) -> &'static [u32] {
        let batch = self.batch.expect("a batch is under way");
        &batch.keys[self.answered * batch.keys_per_request..][..batch.keys_per_request]
    }

    fn finish(&mut self, count: impl FnOnce(&mut Tally)) {
        count(&mut self.tally);
        self.tally.replies += 1;
        self.answered += 1;
        self.passed = 0;
    }
}

#[cfg(test)]
mod tests;
