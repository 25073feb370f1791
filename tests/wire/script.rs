//! The rows of the conformance table and how one is played. A row is data: what is sent, what must come back.
//! Playing it never decides what is right; that stands in the row.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use memchr::memmem;

use crate::client::{Client, shown};
use crate::server::Server;

/// Between the pieces of a message that is sent in pieces: long enough for the server to see most of them alone.
const BETWEEN_PIECES: Duration = Duration::from_micros(300);

enum Step {
    Ask(Vec<u8>, Vec<u8>),
    Send(Vec<u8>),
    Pieces(Vec<Vec<u8>>),
    Expect(Vec<u8>),
    Silence(Duration),
    Finish,
    Close,
    Pause(Duration),
    On(usize),
}

/// One row: a conversation with a server, on one connection or several.
///
/// In what is sent and expected, `<cas…>` stands for a number: the first `expect` that names it takes what the server
/// said, later steps mean that same number.
pub struct Row {
    /// What the row shows, as a sentence.
    pub name: String,
    /// Further options of the server; such a row has a server of its own.
    pub options: &'static [&'static str],
    /// Whether the row needs a server of its own.
    pub fresh: bool,
    /// Why memcached 1.6.45 answers otherwise, where we differ on purpose.
    pub ours: Option<&'static str>,
    steps: Vec<Step>,
    /// Whether the row leaves its last connection open; then it must be in step at the end.
    open: bool,
}

/// A row of this name, empty.
pub fn row(name: impl Into<String>) -> Row {
    Row { name: name.into(), options: &[], fresh: false, ours: None, steps: Vec::new(), open: true }
}

impl Row {
    /// Sends `send`; exactly `expect` must come back.
    pub fn ask(self, send: impl AsRef<[u8]>, expect: impl AsRef<[u8]>) -> Self {
        self.step(Step::Ask(send.as_ref().to_vec(), expect.as_ref().to_vec()))
    }

    pub fn send(self, send: impl AsRef<[u8]>) -> Self {
        self.step(Step::Send(send.as_ref().to_vec()))
    }

    /// Sends the pieces as separate segments.
    pub fn pieces(self, pieces: Vec<Vec<u8>>) -> Self {
        self.step(Step::Pieces(pieces))
    }

    pub fn expect(self, expect: impl AsRef<[u8]>) -> Self {
        self.step(Step::Expect(expect.as_ref().to_vec()))
    }

    /// Nothing may come for this long.
    pub fn silent(self, millis: u64) -> Self {
        self.step(Step::Silence(Duration::from_millis(millis)))
    }

    /// The client sends no more, and still listens.
    pub fn finish(self) -> Self {
        self.step(Step::Finish)
    }

    /// The server closes the connection without a word.
    pub fn closes(mut self) -> Self {
        self.open = false;
        self.step(Step::Close)
    }

    pub fn pause(self, millis: u64) -> Self {
        self.step(Step::Pause(Duration::from_millis(millis)))
    }

    /// The steps from here on are on this connection; the row begins on number 0.
    pub fn on(mut self, connection: usize) -> Self {
        self.open = true;
        self.step(Step::On(connection))
    }

    pub fn options(mut self, options: &'static [&'static str]) -> Self {
        self.options = options;
        self.fresh = true;
        self
    }

    pub fn fresh(mut self) -> Self {
        self.fresh = true;
        self
    }

    /// memcached answers otherwise, for this reason.
    pub fn ours(mut self, why: &'static str) -> Self {
        self.ours = Some(why);
        self
    }

    fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// Plays the row; at its end the connection must be in step, with nothing left unread.
    pub fn play(&self, server: &Server) -> Result<(), String> {
        let mut connections: BTreeMap<usize, Client> = BTreeMap::new();
        let mut names = Names::default();
        let mut on = 0;
        for (number, step) in self.steps.iter().enumerate() {
            let client = match connections.entry(on) {
                std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
                std::collections::btree_map::Entry::Vacant(entry) => {
                    entry.insert(server.try_connect().map_err(|e| format!("connecting: {e}"))?)
                }
            };
            if let Step::On(next) = step {
                on = *next;
                continue;
            }
            play_step(client, step, &mut names).map_err(|e| format!("step {}, {}: {e}", number + 1, told(step)))?;
        }
        match connections.get_mut(&on) {
            Some(client) if self.open => {
                client.try_ask(b"version\r\n", b"VERSION ").map_err(|e| format!("out of step at the end: {e}"))
            }
            _ => Ok(()),
        }
    }
}

fn play_step(client: &mut Client, step: &Step, names: &mut Names) -> Result<(), String> {
    let sending = |e: std::io::Error| format!("sending: {e}");
    match step {
        Step::Ask(send, expect) => {
            let (send, expect) = (names.filled(send), names.filled(expect));
            if Names::first(&expect).is_none() {
                return client.try_ask(&send, &expect);
            }
            client.try_send(&send).map_err(sending)?;
            names.expect(client, &expect)
        }
        Step::Send(send) => client.try_send(&names.filled(send)).map_err(sending),
        Step::Pieces(pieces) => pieces.iter().try_for_each(|piece| {
            thread::sleep(BETWEEN_PIECES);
            client.try_send(piece).map_err(sending)
        }),
        Step::Expect(expect) => {
            let expect = names.filled(expect);
            names.expect(client, &expect)
        }
        Step::Silence(length) => client.try_silence(*length),
        Step::Finish => client.try_finish().map_err(sending),
        Step::Close => client.try_closed(),
        Step::Pause(length) => {
            thread::sleep(*length);
            Ok(())
        }
        Step::On(_) => unreachable!("taken by the caller"),
    }
}

fn told(step: &Step) -> String {
    match step {
        Step::Ask(send, _) | Step::Send(send) => format!("sent `{}`", shown(send)),
        Step::Pieces(pieces) => format!("sent in {} pieces `{}`", pieces.len(), shown(&pieces.concat())),
        Step::Expect(_) => "waiting for an answer".to_owned(),
        Step::Silence(_) => "waiting in silence".to_owned(),
        Step::Close => "waiting for the close".to_owned(),
        Step::Finish | Step::Pause(_) | Step::On(_) => String::new(),
    }
}

/// The numbers the server gave, by the names the row has for them.
#[derive(Default)]
struct Names(BTreeMap<Vec<u8>, String>);

impl Names {
    /// Where the first `<cas…>` stands in a text.
    fn first(text: &[u8]) -> Option<(usize, usize)> {
        let start = memmem::find(text, b"<cas")?;
        let length = text[start..].iter().position(|&b| b == b'>')?;
        Some((start, start + length + 1))
    }

    fn filled(&self, text: &[u8]) -> Vec<u8> {
        let mut filled = Vec::new();
        let mut rest = text;
        while let Some((start, end)) = Self::first(rest) {
            filled.extend_from_slice(&rest[..start]);
            match self.0.get(&rest[start..end]) {
                Some(number) => filled.extend_from_slice(number.as_bytes()),
                None => filled.extend_from_slice(&rest[start..end]),
            }
            rest = &rest[end..];
        }
        filled.extend_from_slice(rest);
        filled
    }

    /// Reads what is expected and takes the numbers that have a name and no value yet.
    fn expect(&mut self, client: &mut Client, text: &[u8]) -> Result<(), String> {
        let mut rest = text.to_vec();
        while let Some((start, end)) = Self::first(&rest) {
            client.try_expect(&rest[..start])?;
            let number = client.try_number()?;
            self.0.insert(rest[start..end].to_vec(), number);
            rest = self.filled(&rest[end..]);
        }
        client.try_expect(&rest)
    }
}
