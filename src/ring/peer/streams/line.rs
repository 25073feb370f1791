//! What thread 0 and a stream's own thread share: orders one way, room the other. The stream's thread sleeps here.

use std::collections::VecDeque;
use std::net::{Shutdown, TcpStream};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::End;
use crate::config;

/// See the module.
pub struct Line {
    end: End,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Thread 0 wants to hear nothing of the stream any more, or never heard of it.
    unheard: bool,
    broken: bool,
    over: bool,
    /// The connection, to be ended from outside.
    socket: Option<TcpStream>,
    /// At the opener.
    pieces: VecDeque<Vec<u8>>,
    all: bool,
    /// At the acceptor.
    answer: Option<bool>,
    waiting: usize,
    installed: bool,
}

/// What the opener's thread does next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    Piece(Vec<u8>),
    All,
}

/// What came of waiting for thread 0.
#[derive(Debug, PartialEq, Eq)]
pub enum Waited<T> {
    Got(T),
    /// Not yet: the other end should hear that this one is there.
    NotYet,
    Broken,
}

impl Line {
    /// Of a stream that thread 0 knows if it opens it.
    pub fn new(end: End) -> Self {
        let state = State { unheard: end == End::Acceptor, ..State::default() };
        Self { end, state: Mutex::new(state), changed: Condvar::new() }
    }

    pub const fn end(&self) -> End {
        self.end
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_all();
    }

    pub fn push(&self, bytes: Vec<u8>) {
        self.change(|state| state.pieces.push_back(bytes));
    }

    pub fn end_data(&self) {
        self.change(|state| state.all = true);
    }

    pub fn answer(&self, taken: bool) {
        self.change(|state| (state.answer, state.unheard) = (Some(taken), !taken));
    }

    pub fn consumed(&self, bytes: usize) {
        self.change(|state| state.waiting = state.waiting.saturating_sub(bytes));
    }

    pub fn installed(&self) {
        self.change(|state| state.installed = true);
    }

    pub fn break_off(&self) {
        self.change(|state| {
            (state.broken, state.unheard) = (true, true);
            if let Some(socket) = &state.socket {
                // ended already by the other side, maybe
                let _ = socket.shutdown(Shutdown::Both);
            }
        });
    }

    /// The connection may be ended from outside from now on. False when that is too late.
    pub fn connected(&self, socket: &TcpStream) -> bool {
        let mut state = self.state();
        state.socket = socket.try_clone().ok();
        !state.broken && state.socket.is_some()
    }

    /// Tells thread 0 something with `tell`, unless it wants to hear nothing.
    pub fn tell(&self, tell: impl FnOnce()) {
        // under the lock: after a break_off nothing is told
        let state = self.state();
        if !state.unheard {
            tell();
        }
    }

    /// Tells thread 0 of a stream that it has not heard of.
    pub fn introduce(&self, tell: impl FnOnce()) {
        let mut state = self.state();
        if !state.broken {
            state.unheard = false;
            tell();
        }
    }

    /// All bytes are thread 0's: the fate of the connection is nothing to it any more.
    pub fn handed_over(&self, tell: impl FnOnce()) {
        let mut state = self.state();
        if !std::mem::replace(&mut state.unheard, true) {
            tell();
        }
    }

    /// The stream has ended; the last thing to tell.
    pub fn finish(&self, tell: impl FnOnce()) {
        self.change(|state| (state.over, state.socket) = (true, None));
        self.handed_over(tell);
    }

    /// Whether its thread is done with it.
    pub fn is_over(&self) -> bool {
        self.state().over
    }

    fn wait<T>(&self, patience: Duration, mut look: impl FnMut(&mut State) -> Option<T>) -> Waited<T> {
        let until = Instant::now() + patience;
        let mut state = self.state();
        loop {
            if state.broken {
                return Waited::Broken;
            }
            if let Some(got) = look(&mut state) {
                return Waited::Got(got);
            }
            let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else {
                return Waited::NotYet;
            };
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// At the opener: waits for what to send.
    pub fn next(&self) -> Waited<Next> {
        self.wait(config::STREAM_BEAT, |state| match state.pieces.pop_front() {
            Some(piece) => Some(Next::Piece(piece)),
            None => state.all.then_some(Next::All),
        })
    }

    /// At the acceptor: waits for the answer to the offer.
    pub fn answered(&self) -> Waited<bool> {
        self.wait(config::STREAM_BEAT, |state| state.answer)
    }

    /// At the acceptor: so many bytes go to thread 0, once there is room for them.
    pub fn room(&self, bytes: usize) -> Waited<()> {
        self.wait(config::STREAM_BEAT, |state| {
            let fits = state.waiting + bytes <= config::STREAM_WINDOW_BYTES;
            state.waiting += if fits { bytes } else { 0 };
            fits.then_some(())
        })
    }

    /// At the acceptor: waits until all is installed.
    pub fn done(&self) -> Waited<()> {
        self.wait(config::STREAM_BEAT, |state| state.installed.then_some(()))
    }
}
