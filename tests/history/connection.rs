//! A connection to a server as a history needs it: one operation's bytes out, its answer back within a time. What is no
//! answer to what was asked is a panic: no fault that a test makes may cause it. Knows nothing of clusters.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::linear::{Op, Outcome};

/// Longest wait for a connection to be made.
const CONNECT_MAX: Duration = Duration::from_millis(1000);

/// What a server said to an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Told(Outcome),
    /// `SERVER_ERROR`: it was not done and never will be. What may have been done is answered by closing the connection (C2).
    Refused(String),
}

/// One connection.
pub struct Connection {
    stream: TcpStream,
    server: SocketAddr,
    held: Vec<u8>,
    claimed: usize,
    patience: Duration,
}

/// Flags that say something, so that lost ones are noticed: append and incr keep them.
fn flags(key: &str) -> u32 {
    crc32c::crc32c(key.as_bytes())
}

fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

impl Connection {
    /// `patience`: how long an answer may take.
    pub fn open(server: SocketAddr, patience: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&server, CONNECT_MAX.min(patience))?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(patience))?;
        Ok(Self { stream, server, held: Vec::new(), claimed: 0, patience })
    }

    /// Asks and waits. An error leaves it unknown whether the operation was done, and the connection of no use.
    pub fn ask(&mut self, key: &str, op: &Op) -> io::Result<Answer> {
        self.send(key, op)?;
        self.answer(key, op)
    }

    /// Asks only. Answers come in the order of asking.
    pub fn send(&mut self, key: &str, op: &Op) -> io::Result<()> {
        let mut bytes = Vec::new();
        encode(&mut bytes, key, op);
        self.stream.write_all(&bytes)
    }

    /// Several at once, in one write.
    pub fn send_all<'a>(&mut self, operations: impl IntoIterator<Item = (&'a str, &'a Op)>) -> io::Result<()> {
        let mut bytes = Vec::new();
        for (key, op) in operations {
            encode(&mut bytes, key, op);
        }
        self.stream.write_all(&bytes)
    }

    /// The answer to the oldest operation that has none.
    pub fn answer(&mut self, key: &str, op: &Op) -> io::Result<Answer> {
        let deadline = Instant::now() + self.patience;
        let line = self.line(deadline)?;
        if line.starts_with("SERVER_ERROR ") {
            return Ok(Answer::Refused(line));
        }
        let outcome = match op {
            Op::Get => self.value(key, &line, deadline)?,
            _ => change(op, &line),
        };
        let outcome = outcome.unwrap_or_else(|| panic!("{} answers {op:?} of {key} with `{line}`", self.server));
        Ok(Answer::Told(outcome))
    }

    /// The rest of the answer to a gets, whose first line that is; nothing if it is none.
    fn value(&mut self, key: &str, line: &str, deadline: Instant) -> io::Result<Option<Outcome>> {
        if line == "END" {
            return Ok(Some(Outcome::Miss));
        }
        let words: Vec<&str> = line.split(' ').collect();
        let ["VALUE", of, item_flags, length, cas] = words[..] else { return Ok(None) };
        let (Some(length), Some(cas)) = (number::<usize>(length), number(cas)) else { return Ok(None) };
        let value = self.take(length + 2, deadline)?;
        let end = self.line(deadline)?;
        let whole = of == key && number(item_flags) == Some(flags(key)) && value.ends_with(b"\r\n") && end == "END";
        Ok(whole.then(|| Outcome::Value { value: value[..length].to_vec(), cas }))
    }

    /// `STAT` lines up to `END`, as names and values.
    pub fn stats(&mut self, arguments: &str) -> io::Result<Vec<(String, String)>> {
        self.stream.write_all(format!("stats {arguments}\r\n").as_bytes())?;
        let deadline = Instant::now() + self.patience;
        let mut stats = Vec::new();
        loop {
            let line = self.line(deadline)?;
            let Some(stat) = line.strip_prefix("STAT ") else {
                assert!(line == "END", "{} answers stats {arguments} with `{line}`", self.server);
                return Ok(stats);
            };
            let (name, value) = stat.split_once(' ').unwrap_or((stat, ""));
            stats.push((name.to_owned(), value.to_owned()));
        }
    }

    fn line(&mut self, deadline: Instant) -> io::Result<String> {
        let mut searched = 0;
        loop {
            let held = &self.held[self.claimed..];
            if let Some(at) = memchr::memmem::find(&held[searched..], b"\r\n") {
                let line = String::from_utf8_lossy(&held[..searched + at]).into_owned();
                self.claimed += searched + at + 2;
                return Ok(line);
            }
            searched = held.len().saturating_sub(1);
            self.fill(deadline)?;
        }
    }

    fn take(&mut self, length: usize, deadline: Instant) -> io::Result<Vec<u8>> {
        while self.held.len() - self.claimed < length {
            self.fill(deadline)?;
        }
        let taken = self.held[self.claimed..self.claimed + length].to_vec();
        self.claimed += length;
        Ok(taken)
    }

    fn fill(&mut self, deadline: Instant) -> io::Result<()> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left))?;
        self.held.drain(..self.claimed);
        self.claimed = 0;
        let before = self.held.len();
        self.held.resize(before + (64 << 10), 0);
        let got = self.stream.read(&mut self.held[before..]);
        self.held.truncate(before + *got.as_ref().unwrap_or(&0));
        match got {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            _ => Ok(()),
        }
    }
}

fn encode(out: &mut Vec<u8>, key: &str, op: &Op) {
    let (verb, value, id) = match op {
        Op::Get => return out.extend_from_slice(format!("gets {key}\r\n").as_bytes()),
        Op::Incr(delta) => return out.extend_from_slice(format!("incr {key} {delta}\r\n").as_bytes()),
        Op::Delete => return out.extend_from_slice(format!("delete {key}\r\n").as_bytes()),
        Op::Set(value) => ("set", value, None),
        Op::Add(value) => ("add", value, None),
        Op::Append(value) => ("append", value, None),
        Op::Cas { id, value } => ("cas", value, Some(id)),
    };
    let id = id.map_or_else(String::new, |id| format!(" {id}"));
    out.extend_from_slice(format!("{verb} {key} {} 0 {}{id}\r\n", flags(key), value.len()).as_bytes());
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// What a line says about an operation that is no read; nothing if it is no answer to it.
fn change(op: &Op, line: &str) -> Option<Outcome> {
    Some(match (op, line) {
        (Op::Set(_) | Op::Add(_) | Op::Append(_) | Op::Cas { .. }, "STORED") => Outcome::Stored,
        (Op::Add(_) | Op::Append(_), "NOT_STORED") => Outcome::NotStored,
        (Op::Cas { .. }, "EXISTS") => Outcome::Exists,
        (Op::Cas { .. } | Op::Delete | Op::Incr(_), "NOT_FOUND") => Outcome::NotFound,
        (Op::Delete, "DELETED") => Outcome::Deleted,
        (Op::Incr(_), "CLIENT_ERROR cannot increment or decrement non-numeric value") => Outcome::NonNumeric,
        (Op::Incr(_), line) => Outcome::Number(number(line)?),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// A server that answers whatever it is asked with these bytes and closes.
    fn against(said: &'static str, key: &'static str, op: &Op) -> io::Result<Answer> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let server = listener.local_addr().expect("it is bound");
        let answering = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let _ = stream.read(&mut [0; 512]).expect("a command");
            stream.write_all(said.as_bytes()).expect("sent");
        });
        let answer = Connection::open(server, Duration::from_secs(5)).expect("it listens").ask(key, op);
        answering.join().expect("it does not panic");
        answer
    }

    #[test]
    fn answers_are_what_they_say() {
        let value = Outcome::Value { value: b"ab\r\nc".to_vec(), cas: 7 };
        let cases = [
            ("END\r\n", Op::Get, Outcome::Miss),
            ("VALUE k 2855430920 5 7\r\nab\r\nc\r\nEND\r\n", Op::Get, value),
            ("STORED\r\n", Op::Set(b"x".to_vec()), Outcome::Stored),
            ("NOT_STORED\r\n", Op::Add(b"x".to_vec()), Outcome::NotStored),
            ("EXISTS\r\n", Op::Cas { id: 1, value: Vec::new() }, Outcome::Exists),
            ("18446744073709551615\r\n", Op::Incr(1), Outcome::Number(u64::MAX)),
        ];
        assert_eq!(flags("k"), 2_855_430_920, "the text above says so");
        for (said, op, outcome) in cases {
            assert_eq!(against(said, "k", &op).expect("an answer"), Answer::Told(outcome));
        }
        let refused = "SERVER_ERROR out of memory storing object";
        let answer = against("SERVER_ERROR out of memory storing object\r\n", "k", &Op::Delete).expect("an answer");
        assert_eq!(answer, Answer::Refused(refused.to_owned()));
    }

    #[test]
    fn half_an_answer_is_none() {
        for said in ["", "STOR", "VALUE k 0 5 7\r\nab"] {
            assert!(against(said, "k", &Op::Get).is_err(), "{said:?}");
        }
    }

    #[test]
    #[should_panic(expected = "with `STORED`")]
    fn an_answer_to_something_else_is_a_fault() {
        let _ = against("STORED\r\n", "k", &Op::Delete);
    }

    #[test]
    #[should_panic(expected = "with `VALUE")]
    fn lost_flags_are_a_fault() {
        let _ = against("VALUE k 0 1 7\r\na\r\nEND\r\n", "k", &Op::Get);
    }
}
