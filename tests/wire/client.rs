//! A memcached client that checks bytes: it owns one connection and what was read from it and not yet claimed.
//! It never waits without a limit, and it never interprets more than it is asked to.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use memchr::memmem;

/// How long a server may be silent before the test fails.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// More than this is sent by a thread of its own, so that answers are read meanwhile and neither side waits for ever.
const SEND_ALONE_BYTES: usize = 32 << 10;
/// How much of a long text a failure shows.
const SHOWN_BYTES: usize = 160;

/// Where a server listens.
#[derive(Clone, Debug)]
pub enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    fn connect(address: &Address) -> io::Result<Self> {
        match address {
            Address::Tcp(address) => {
                let stream = TcpStream::connect_timeout(address, PATIENCE)?;
                stream.set_nodelay(true)?;
                Ok(Self::Tcp(stream))
            }
            Address::Unix(path) => Ok(Self::Unix(UnixStream::connect(path)?)),
        }
    }

    fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Tcp(stream) => Self::Tcp(stream.try_clone()?),
            Self::Unix(stream) => Self::Unix(stream.try_clone()?),
        })
    }

    fn set_timeout(&self, timeout: Duration) -> io::Result<()> {
        let timeout = Some(timeout.max(Duration::from_millis(1)));
        match self {
            Self::Tcp(stream) => stream.set_read_timeout(timeout).and_then(|()| stream.set_write_timeout(timeout)),
            Self::Unix(stream) => stream.set_read_timeout(timeout).and_then(|()| stream.set_write_timeout(timeout)),
        }
    }

    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(into),
            Self::Unix(stream) => stream.read(into),
        }
    }

    fn finish(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Self::Unix(stream) => stream.shutdown(Shutdown::Write),
        }
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.write_all(bytes),
            Self::Unix(stream) => stream.write_all(bytes),
        }
    }
}

/// One connection.
pub struct Client {
    stream: Stream,
    held: Vec<u8>,
    claimed: usize,
}

/// The sending half of a connection, for a thread that sends while another reads.
pub struct Sender(Stream);

impl Sender {
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }
}

impl Client {
    pub fn connect(address: &Address) -> io::Result<Self> {
        let stream = Stream::connect(address)?;
        stream.set_timeout(PATIENCE)?;
        Ok(Self { stream, held: Vec::new(), claimed: 0 })
    }

    pub fn sender(&self) -> Sender {
        Sender(self.stream.try_clone().expect("a socket can be cloned"))
    }

    pub fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends no more; answers can still be read.
    pub fn try_finish(&mut self) -> io::Result<()> {
        self.stream.finish()
    }

    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes.as_ref()).expect("the server takes what is sent");
    }

    /// Sends and reads the answer, both at once when there is much to send.
    pub fn try_ask(&mut self, send: &[u8], expect: &[u8]) -> Result<(), String> {
        if send.len() <= SEND_ALONE_BYTES {
            self.try_send(send).map_err(|e| format!("sending: {e}"))?;
            return self.try_expect(expect);
        }
        let mut sender = self.sender();
        thread::scope(|scope| {
            let sending = scope.spawn(move || sender.send(send));
            let answer = self.try_expect(expect);
            let sent = sending.join().expect("the sender does not panic").map_err(|e| format!("sending: {e}"));
            answer.and(sent)
        })
    }

    #[track_caller]
    pub fn ask(&mut self, send: impl AsRef<[u8]>, expect: impl AsRef<[u8]>) {
        let send = send.as_ref();
        if let Err(e) = self.try_ask(send, expect.as_ref()) {
            panic!("asked `{}`: {e}", shown(send));
        }
    }

    /// Reads exactly `expect`; what comes after it stays unread.
    pub fn try_expect(&mut self, expect: &[u8]) -> Result<(), String> {
        let mut matched = 0;
        while matched < expect.len() {
            if self.unclaimed().is_empty() {
                // silence is a failure, a long answer on a busy machine is none
                let why = match self.fill(PATIENCE) {
                    Ok(0) => "the server closed the connection".to_owned(),
                    Ok(_) => continue,
                    Err(e) => format!("no answer: {e}"),
                };
                return Err(format!("{why}, still expected `{}`", shown(&expect[matched..])));
            }
            let rest = &expect[matched..];
            let held = self.unclaimed();
            let step = rest.len().min(held.len());
            if rest[..step] != held[..step] {
                let same = rest.iter().zip(held).take_while(|(a, b)| a == b).count();
                let before = matched + same;
                // shown from the beginning of the differing line where that is near
                let from = same - same.min(60);
                let (want, have) = (shown(&rest[from..]), shown(&held[from..]));
                return Err(format!("expected `{want}`, got `{have}` (the first {before} bytes agree)"));
            }
            self.claimed += step;
            matched += step;
        }
        Ok(())
    }

    #[track_caller]
    pub fn expect(&mut self, expect: impl AsRef<[u8]>) {
        if let Err(e) = self.try_expect(expect.as_ref()) {
            panic!("{e}");
        }
    }

    /// Reads a run of decimal digits; the byte after them stays unread.
    pub fn try_number(&mut self) -> Result<String, String> {
        let mut digits = String::new();
        loop {
            if self.unclaimed().is_empty() && self.fill(PATIENCE).map_err(|e| format!("no number: {e}"))? == 0 {
                return Err("the server closed the connection instead of a number".to_owned());
            }
            match self.unclaimed()[0] {
                digit @ b'0'..=b'9' => digits.push(char::from(digit)),
                other if digits.is_empty() => return Err(format!("expected a number, got `{}`", other.escape_ascii())),
                _ => return Ok(digits),
            }
            self.claimed += 1;
        }
    }

    /// Reads a line, without its end; nothing when the connection ended.
    pub fn try_line(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut searched = 0;
        loop {
            let held = self.unclaimed();
            if let Some(at) = memmem::find(&held[searched..], b"\r\n") {
                let line = held[..searched + at].to_vec();
                self.claimed += line.len() + 2;
                return Ok(Some(line));
            }
            searched = held.len().saturating_sub(1);
            if self.fill(PATIENCE)? == 0 {
                return Ok(None);
            }
        }
    }

    #[track_caller]
    pub fn line(&mut self) -> String {
        let line = self.try_line().expect("an answer in time").expect("an answer before the end");
        String::from_utf8_lossy(&line).into_owned()
    }

    /// Reads `length` bytes.
    pub fn try_take(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.unclaimed().len() < length {
            if self.fill(PATIENCE)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let taken = self.unclaimed()[..length].to_vec();
        self.claimed += length;
        Ok(taken)
    }

    /// The server has nothing to say for this long.
    pub fn try_silence(&mut self, length: Duration) -> Result<(), String> {
        if self.unclaimed().is_empty() {
            match self.fill(length) {
                Ok(0) => return Err("the server closed the connection instead of being silent".to_owned()),
                Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => return Ok(()),
                Err(e) => return Err(format!("the connection broke instead of being silent: {e}")),
                Ok(_) => {}
            }
        }
        Err(format!("expected silence, got `{}`", shown(self.unclaimed())))
    }

    /// The server closes the connection without another word. A reset is a close too: it is what the kernel makes of
    /// one while input is still unread.
    pub fn try_closed(&mut self) -> Result<(), String> {
        if self.unclaimed().is_empty() {
            match self.fill(PATIENCE) {
                Ok(0) => return Ok(()),
                Err(e) if e.kind() == io::ErrorKind::ConnectionReset => return Ok(()),
                Err(e) => return Err(format!("expected a close: {e}")),
                Ok(_) => {}
            }
        }
        Err(format!("expected a close, got `{}`", shown(self.unclaimed())))
    }

    #[track_caller]
    pub fn closed(&mut self) {
        if let Err(e) = self.try_closed() {
            panic!("{e}");
        }
    }

    /// `STAT` lines up to `END`, as names and values.
    #[track_caller]
    pub fn stats(&mut self, arguments: &str) -> Vec<(String, String)> {
        let space = if arguments.is_empty() { "" } else { " " };
        self.send(format!("stats{space}{arguments}\r\n"));
        let mut stats = Vec::new();
        loop {
            let line = self.line();
            if line == "END" {
                return stats;
            }
            let words: Vec<&str> = line.split(' ').collect();
            assert!(words.len() == 3 && words[0] == "STAT", "three words to a line: `{line}`");
            stats.push((words[1].to_owned(), words[2].to_owned()));
        }
    }

    /// One value of `stats`.
    #[track_caller]
    pub fn stat(&mut self, name: &str) -> u64 {
        let stats = self.stats("");
        let found = stats.iter().find(|(n, _)| n == name).unwrap_or_else(|| panic!("`stats` names {name}"));
        found.1.parse().expect("a number")
    }

    /// Waits, for a bounded time, until a value of `stats` is no more than that.
    #[track_caller]
    pub fn until_at_most(&mut self, name: &str, bound: u64) {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let value = self.stat(name);
            if value <= bound {
                return;
            }
            assert!(Instant::now() < deadline, "{name} is {value} and should come down to {bound}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn unclaimed(&self) -> &[u8] {
        &self.held[self.claimed..]
    }

    fn fill(&mut self, wait: Duration) -> io::Result<usize> {
        self.stream.set_timeout(wait)?;
        self.held.drain(..self.claimed);
        self.claimed = 0;
        let before = self.held.len();
        self.held.resize(before + (64 << 10), 0);
        let got = loop {
            match self.stream.read(&mut self.held[before..]) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                got => break got,
            }
        };
        self.held.truncate(before + *got.as_ref().unwrap_or(&0));
        self.stream.set_timeout(PATIENCE)?;
        got
    }
}

/// Bytes as a failure shows them.
pub fn shown(bytes: &[u8]) -> String {
    let more = if bytes.len() > SHOWN_BYTES { format!("… ({} bytes)", bytes.len()) } else { String::new() };
    format!("{}{more}", bytes[..bytes.len().min(SHOWN_BYTES)].escape_ascii())
}
