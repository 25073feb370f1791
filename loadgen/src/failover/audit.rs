//! The audit: every key is read at every server, a batch at a time, and what is shown is held against the ledger. May run beside
//! the load: each read is judged by what was acknowledged when it was sent.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use ringstore::control::reply::{self, Reply};
use ringstore::proto::request;
use rustix::event::{PollFd, PollFlags};

use super::ledger::{KeyId, Ledger};
use super::slot::dial;

/// Keys of one get.
const BATCH: usize = 64;
/// A server that refuses to read is asked again after this time.
const RETRY: Duration = Duration::from_millis(5);
/// How long one server may take for all keys.
const PATIENCE: Duration = Duration::from_secs(60);

/// A key that was asked for.
struct Asked {
    key: KeyId,
    name: String,
    floor: u64,
    shown: bool,
}

/// The audit of one server.
pub struct Audit {
    /// Its place.
    pub server: usize,
    stream: Option<TcpStream>,
    connecting: bool,
    input: BytesMut,
    batch: Vec<Asked>,
    /// The first key that was not asked for yet.
    next: KeyId,
    due: Instant,
    began: Instant,
}

impl Audit {
    /// Of the server in this place.
    pub fn new(server: usize, address: std::net::SocketAddr) -> Self {
        let now = Instant::now();
        let (stream, input) = (dial(address), BytesMut::new());
        Self { server, stream, connecting: true, input, batch: Vec::new(), next: 0, due: now, began: now }
    }

    /// What to wait for at its socket.
    pub fn polled(&self) -> Option<PollFd<'_>> {
        let flags = if self.connecting { PollFlags::OUT } else { PollFlags::IN };
        let asked = self.connecting || !self.batch.is_empty();
        self.stream.as_ref().filter(|_| asked).map(|stream| PollFd::from_borrowed_fd(stream.as_fd(), flags))
    }

    /// Asks for the next keys if it is time to. Whether all were shown.
    ///
    /// # Errors
    /// When the server cannot be read, in words.
    pub fn pump(&mut self, now: Instant, ledger: &Ledger) -> Result<bool, String> {
        if now > self.began + PATIENCE {
            return Err(format!(
                "server {} does not answer all reads of the audit within {PATIENCE:?}",
                self.server + 1
            ));
        }
        if self.connecting || !self.batch.is_empty() || now < self.due {
            return Ok(false);
        }
        let end = (self.next + BATCH).min(ledger.keys());
        if self.next == end {
            return Ok(true);
        }
        let keys = self.next..end;
        let ask = |key| Asked { key, name: ledger.name(key), floor: ledger.floor(key), shown: false };
        self.batch.extend(keys.map(ask));
        let mut text = Vec::new();
        request::get(&mut text, self.batch.iter().map(|asked| asked.name.as_bytes()), false);
        // the socket has nothing under way: a few kilobytes fit
        let sent = self.stream.as_mut().map(|stream| stream.write_all(&text));
        if sent.is_some_and(|sent| sent.is_ok()) { Ok(false) } else { Err(self.ended()) }
    }

    /// Its socket has something.
    ///
    /// # Errors
    /// When the connection has ended or what came cannot be understood, in words.
    pub fn ready(&mut self, ledger: &mut Ledger) -> Result<(), String> {
        if std::mem::take(&mut self.connecting) {
            return Ok(());
        }
        let Some(stream) = &mut self.stream else { return Err(self.ended()) };
        let mut buffer = [0; 32 << 10];
        match stream.read(&mut buffer) {
            Ok(length) if length > 0 => self.input.extend_from_slice(&buffer[..length]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return Ok(()),
            _ => return Err(self.ended()),
        }
        while let Some(answer) =
            reply::take(&mut self.input).map_err(|what| format!("an audit is answered with {what}"))?
        {
            self.answered(answer, ledger)?;
        }
        Ok(())
    }

    fn answered(&mut self, answer: Reply, ledger: &mut Ledger) -> Result<(), String> {
        let whom = format!("server {}", self.server + 1);
        match answer {
            Reply::Value { key, data, .. } => {
                let asked = self.batch.iter_mut().find(|asked| !asked.shown && asked.name.as_bytes() == key);
                let asked = asked.ok_or_else(|| format!("{whom} shows a key that was not asked for in an audit"))?;
                asked.shown = true;
                let _ = ledger.judge(asked.key, asked.floor, Some(&data), &whom); // it is counted
            }
            Reply::End => {
                for asked in self.batch.drain(..).filter(|asked| !asked.shown) {
                    let _ = ledger.judge(asked.key, asked.floor, None, &whom); // it is counted
                }
                self.next = (self.next + BATCH).min(ledger.keys());
            }
            Reply::Refused(..) => {
                self.batch.clear();
                self.due = Instant::now() + RETRY;
            }
            other => return Err(format!("{whom} answers a get of an audit with {other:?}")),
        }
        Ok(())
    }

    fn ended(&self) -> String {
        format!("server {} ended the connection of an audit", self.server + 1)
    }
}
