//! What Redis and etcd answer to a set: lines, and of etcd the answers of HTTP.

use memchr::memchr;

use super::{Decoder, Garbled};
use crate::request::Dialect;

/// Longest line a reply may have.
pub(super) const LINE_BYTES_MAX: usize = 4096;

/// Where in an answer the stream is; the beginning of a line is in the decoder's `pending`.
#[derive(Default)]
pub(super) struct Foreign {
    /// Of the body of an HTTP answer so many bytes have not come.
    body_left: usize,
    head: Head,
}

/// What the head of an HTTP answer said so far.
#[derive(Default)]
struct Head {
    /// Its status is 200.
    fine: bool,
    length: Option<usize>,
}

impl Decoder<'_> {
    pub(super) fn feed_foreign(&mut self, mut bytes: &[u8]) -> Result<(), Garbled> {
        while !bytes.is_empty() {
            bytes = if self.foreign.body_left > 0 { self.feed_body(bytes) } else { self.feed_line(bytes)? };
        }
        Ok(())
    }

    fn feed_line<'b>(&mut self, bytes: &'b [u8]) -> Result<&'b [u8], Garbled> {
        if self.is_complete() {
            return Err(Garbled::Surplus);
        }
        let end = memchr(b'\n', bytes);
        if self.pending.len() + end.unwrap_or(bytes.len()) > LINE_BYTES_MAX {
            return Err(Garbled::LongLine);
        }
        let Some(end) = end else {
            self.pending.extend_from_slice(bytes);
            return Ok(&[]);
        };
        let (head, rest) = bytes.split_at(end + 1);
        let mut line = std::mem::take(&mut self.pending);
        line.extend_from_slice(head);
        self.on_line(&line)?;
        line.clear();
        self.pending = line;
        Ok(rest)
    }

    fn on_line(&mut self, line: &[u8]) -> Result<(), Garbled> {
        let Some(line) = line.strip_suffix(b"\r\n") else {
            self.finish(|tally| tally.errors += 1);
            return Ok(());
        };
        match self.pool.dialect {
            Dialect::Etcd => return self.on_http_line(line),
            Dialect::RedisWait(replicas) if self.is_behind_sets() => self.on_waited(line, replicas),
            Dialect::Redis | Dialect::RedisWait(_) if line == b"+OK" => self.finish(|_| ()),
            _ => self.finish(|tally| tally.errors += 1),
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
            self.foreign.head = Head { fine: status.starts_with(b"200 "), length: None };
        } else if let Some(length) = line.strip_prefix(b"Content-Length: ") {
            self.foreign.head.length = std::str::from_utf8(length).ok().and_then(|text| text.parse().ok());
        } else if line.is_empty() {
            let left = self.foreign.head.length.filter(|length| *length > 0).ok_or(Garbled::NoLength)?;
            self.foreign.body_left = left;
        }
        Ok(())
    }

    fn feed_body<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let (body, rest) = bytes.split_at(bytes.len().min(self.foreign.body_left));
        self.foreign.body_left -= body.len();
        if self.foreign.body_left == 0 {
            let fine = self.foreign.head.fine;
            self.finish(|tally| tally.errors += u64::from(!fine));
        }
        rest
    }
}
