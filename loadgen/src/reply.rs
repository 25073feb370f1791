//! Reads the replies to a batch, however the stream was cut, and counts them. Every reply is read to its end: each
//! value must belong to a key that was asked for, in the order asked for, with the right length, and with `verify` the
//! right content. What is wrong is counted, never passed over.

use memchr::memchr;

use crate::keys::{KEY_BYTES, key_id};
use crate::request::{Batch, Dialect, Mix, Pool};

/// Longest line a reply may have.
const LINE_BYTES_MAX: usize = 4096;

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
    /// A line that does not end.
    LongLine,
    /// Bytes after the last reply.
    Surplus,
    /// A value whose length is no number.
    BadValueLine,
    /// An HTTP answer that does not say how long it is.
    NoLength,
}

enum State {
    /// At the start of a line, or inside one whose beginning is in `line`.
    Line,
    /// Inside a data block: of `value` and its line end, `seen` bytes have come. `value` is nothing when the block is
    /// already known to be wrong, and is then only skipped.
    Data { value: Option<&'static [u8]>, length: usize, seen: usize },
    /// Inside the body of an HTTP answer, of which `left` bytes have not come.
    Body { left: usize },
}

/// What the head of an HTTP answer said so far.
#[derive(Default)]
struct Head {
    /// Its status is 200.
    fine: bool,
    length: Option<usize>,
}

/// Decoder of one connection.
pub struct Decoder<'a> {
    pool: &'a Pool,
    verify: bool,
    state: State,
    line: Vec<u8>,
    head: Head,
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
        let (state, line, tally) = (State::Line, Vec::new(), Tally::default());
        Self { pool, verify, state, line, head: Head::default(), batch: None, answered: 0, passed: 0, tally }
    }

    /// Begins a batch; the one before must be complete.
    pub fn expect(&mut self, batch: Batch) {
        assert!(self.is_complete() && self.line.is_empty());
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
    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<(), Garbled> {
        while !bytes.is_empty() {
            bytes = match self.state {
                State::Data { value, length, seen } => self.feed_data(bytes, value, length, seen),
                State::Body { left } => self.feed_body(bytes, left),
                State::Line => self.feed_line(bytes)?,
            };
        }
        Ok(())
    }

    fn feed_line<'b>(&mut self, bytes: &'b [u8]) -> Result<&'b [u8], Garbled> {
        if self.is_complete() {
            return Err(Garbled::Surplus);
        }
        let end = memchr(b'\n', bytes);
        if self.line.len() + end.unwrap_or(bytes.len()) > LINE_BYTES_MAX {
            return Err(Garbled::LongLine);
        }
        let Some(end) = end else {
            self.line.extend_from_slice(bytes);
            return Ok(&[]);
        };
        let (head, rest) = bytes.split_at(end + 1);
        if self.line.is_empty() {
            self.on_line(head)?;
        } else {
            let mut line = std::mem::take(&mut self.line);
            line.extend_from_slice(head);
            self.on_line(&line)?;
            line.clear();
            self.line = line;
        }
        Ok(rest)
    }

    fn on_line(&mut self, line: &[u8]) -> Result<(), Garbled> {
        let Some(line) = line.strip_suffix(b"\r\n") else {
            self.finish(|tally| tally.errors += 1);
            return Ok(());
        };
        match (self.pool.mix, self.pool.dialect) {
            (Mix::Get | Mix::MultiGet(_), _) => return self.on_get_line(line),
            (Mix::Set, Dialect::Etcd) => return self.on_http_line(line),
            (Mix::Set, Dialect::RedisWait(replicas)) if self.is_behind_sets() => self.on_waited(line, replicas),
            (Mix::Set, Dialect::RedisWait(_)) if line == b"+OK" => self.finish(|_| ()),
            (Mix::Set, Dialect::Memcached) if line == b"STORED" => self.finish(|_| ()),
            (Mix::Set, Dialect::Redis) if line == b"+OK" => self.finish(|_| ()),
            (Mix::Incr, _) if !line.is_empty() && line.iter().all(u8::is_ascii_digit) => {
                self.finish(|tally| tally.hits += 1);
            }
            (Mix::Incr, _) if line == b"NOT_FOUND" => self.finish(|tally| tally.misses += 1),
            _ => self.finish(|tally| tally.errors += 1),
        }
        Ok(())
    }

    fn on_get_line(&mut self, line: &[u8]) -> Result<(), Garbled> {
        if let Some(value) = line.strip_prefix(b"VALUE ") {
            return self.on_value_line(value);
        }
        if line == b"END" {
            let missed = self.request_keys().len() - self.passed;
            self.finish(|tally| tally.misses += missed as u64);
        } else {
            self.finish(|tally| tally.errors += 1);
        }
        Ok(())
    }

    /// Whether all sets of the batch have their replies and `WAIT` has not.
    fn is_behind_sets(&self) -> bool {
        self.batch.is_some_and(|batch| self.answered == batch.requests())
    }

    /// How many replicas have the sets of the batch; the answer is not a request's.
    fn on_waited(&mut self, line: &[u8], replicas: u32) {
        let number = line.strip_prefix(b":").and_then(|digits| std::str::from_utf8(digits).ok()?.parse::<u32>().ok());
        if number.is_none_or(|number| number < replicas) {
            self.tally.errors += 1;
        }
        self.answered += 1;
    }

    /// A line of an HTTP answer's head.
    fn on_http_line(&mut self, line: &[u8]) -> Result<(), Garbled> {
        if let Some(status) = line.strip_prefix(b"HTTP/1.1 ") {
            self.head = Head { fine: status.starts_with(b"200 "), length: None };
        } else if let Some(length) = line.strip_prefix(b"Content-Length: ") {
            self.head.length = std::str::from_utf8(length).ok().and_then(|text| text.parse().ok());
        } else if line.is_empty() {
            let left = self.head.length.filter(|length| *length > 0).ok_or(Garbled::NoLength)?;
            self.state = State::Body { left };
        }
        Ok(())
    }

    fn feed_body<'b>(&mut self, bytes: &'b [u8], left: usize) -> &'b [u8] {
        let (body, rest) = bytes.split_at(bytes.len().min(left));
        self.state = State::Body { left: left - body.len() };
        if body.len() == left {
            self.state = State::Line;
            let fine = self.head.fine;
            self.finish(|tally| tally.errors += u64::from(!fine));
        }
        rest
    }

    /// `<key> <flags> <bytes>`
    fn on_value_line(&mut self, line: &[u8]) -> Result<(), Garbled> {
        let mut words = line.split(|byte| *byte == b' ');
        let (key, flags, length) = (words.next(), words.next(), words.next());
        let length =
            length.and_then(|text| std::str::from_utf8(text).ok()?.parse().ok()).ok_or(Garbled::BadValueLine)?;
        let id = key.filter(|key| key.len() == KEY_BYTES).and_then(key_id);
        let place = id.and_then(|id| self.request_keys()[self.passed..].iter().position(|asked| *asked == id));
        let right = flags == Some(b"0") && length == self.pool.keys.value_bytes && words.next().is_none();
        let value = match (id, place) {
            (Some(id), Some(skipped)) => {
                self.tally.misses += skipped as u64;
                self.passed += skipped + 1;
                right.then(|| self.pool.keys.value(id))
            }
            _ => None,
        };
        self.state = State::Data { value, length, seen: 0 };
        Ok(())
    }

    fn feed_data<'b>(&mut self, bytes: &'b [u8], value: Option<&'static [u8]>, length: usize, seen: usize) -> &'b [u8] {
        let take = bytes.len().min(length + 2 - seen);
        let (head, rest) = bytes.split_at(take);
        let right = value.filter(|value| self.is_right(head, value, seen));
        let seen = seen + take;
        self.state = if seen < length + 2 {
            State::Data { value: right, length, seen }
        } else {
            let counter = if right.is_some() { &mut self.tally.hits } else { &mut self.tally.mismatches };
            *counter += 1;
            State::Line
        };
        rest
    }

    /// Whether `head` is what stands at `seen` in the data block. Without `verify` only the line end is looked at.
    fn is_right(&self, head: &[u8], value: &[u8], seen: usize) -> bool {
        let in_value = head.len().min(value.len().saturating_sub(seen));
        let (data, line_end) = head.split_at(in_value);
        let line_end_seen = (seen + in_value).saturating_sub(value.len());
        let line_end_right = line_end == &b"\r\n"[line_end_seen..line_end_seen + line_end.len()];
        line_end_right && (!self.verify || data == &value[seen.min(value.len())..][..in_value])
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
