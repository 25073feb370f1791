//! Streams that carry snapshots between servers, as thread 0 has them: it opens, pushes, accepts and breaks off, and hears of them by
//! events. Each stream has a thread of its own at each end, which waits for the network so that thread 0 never does; how many
//! there are is bounded, and so is what waits in each.
//!
//! ```text
//!  opener:   open --> StreamWants --> push, ... --> StreamWants --> finish --> StreamInstalled   or, at any time,
//!  acceptor: StreamOffered --> accept --> StreamBytes --> consumed, ... --> StreamEnd --> installed   StreamBroken
//! ```
//!
//! Reading order: this, `line` (what thread 0 and a stream's thread share), `wire` (records on a socket), `opener`, `acceptor`.

mod acceptor;
mod line;
mod opener;
mod wire;

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::events::{Events, PeerEvent, StreamId};
use crate::config;
use crate::lifeline::Hello;
use crate::log::NodeId;
use crate::transport::ClusterKey;
use line::Line;

/// All streams of a server. Its clones are the same.
#[derive(Clone)]
pub struct Streams {
    shared: Arc<Shared>,
}

struct Shared {
    key: Option<ClusterKey>,
    events: Arc<Events>,
    lines: Mutex<BTreeMap<StreamId, Arc<Line>>>,
    last: AtomicU64,
}

/// Which end of a stream a server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Opener,
    Acceptor,
}

impl End {
    const fn most(self) -> usize {
        match self {
            Self::Opener => config::STREAMS_OPENED_MAX,
            Self::Acceptor => config::STREAMS_ACCEPTED_MAX,
        }
    }
}

impl Streams {
    pub(super) fn new(key: Option<ClusterKey>, events: Arc<Events>) -> Self {
        let (lines, last) = (Mutex::default(), AtomicU64::new(0));
        Self { shared: Arc::new(Shared { key, events, lines, last }) }
    }

    fn lines(&self) -> MutexGuard<'_, BTreeMap<StreamId, Arc<Line>>> {
        self.shared.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn line(&self, stream: StreamId) -> Option<Arc<Line>> {
        self.lines().get(&stream).cloned()
    }

    /// Opens a stream to the server `to` at `address`, which is asked to take what the encoded message `offer` offers. Answered by
    /// events; where there are too many streams by `StreamBroken`.
    #[must_use]
    pub fn open(&self, to: NodeId, address: SocketAddr, offer: Vec<u8>) -> StreamId {
        let stream = self.next();
        let key = self.shared.key.clone();
        let begun = self.begin(stream, End::Opener, move |line, events| {
            opener::run(&line, &events, stream, &opener::Call { to, address, offer: &offer, key: key.as_ref() })
        });
        if !begun {
            self.shared.events.push(PeerEvent::StreamBroken { stream });
        }
        stream
    }

    /// A connection that began with a stream's magic.
    pub(super) fn accepted(&self, socket: TcpStream, hello: Hello) {
        let (stream, key) = (self.next(), self.shared.key.clone());
        // one too many is ended: who opened it tries again later
        let _ = self.begin(stream, End::Acceptor, move |line, events| {
            acceptor::run(&line, &events, stream, &acceptor::Call { socket, hello, key: key.as_ref() })
        });
    }

    fn next(&self) -> StreamId {
        StreamId(self.shared.last.fetch_add(1, Relaxed) + 1)
    }

    /// Starts a stream's thread; false when there are too many already, or the system gives none. `body` says whether the stream
    /// ended as it should; if not, and thread 0 knows of it, that is told.
    fn begin(
        &self,
        stream: StreamId,
        end: End,
        body: impl FnOnce(Arc<Line>, Arc<Events>) -> bool + Send + 'static,
    ) -> bool {
        let line = Arc::new(Line::new(end));
        {
            let mut lines = self.lines();
            if lines.values().filter(|line| line.end() == end && !line.is_over()).count() >= end.most() {
                return false;
            }
            lines.insert(stream, Arc::clone(&line));
        }
        let streams = self.clone();
        let run = move || {
            let events = &streams.shared.events;
            let well = body(Arc::clone(&line), Arc::clone(events));
            line.finish(|| {
                if !well {
                    events.push(PeerEvent::StreamBroken { stream });
                }
            });
            streams.lines().remove(&stream);
        };
        let begun = thread::Builder::new().name("stream".to_owned()).spawn(run).is_ok();
        if !begun {
            self.lines().remove(&stream);
        }
        begun
    }

    /// Answers a `StreamWants`: these bytes next. They may be of any length.
    pub fn push(&self, stream: StreamId, bytes: Vec<u8>) {
        if let Some(line) = self.line(stream) {
            line.push(bytes);
        }
    }

    /// Answers a `StreamWants`: that was all.
    pub fn finish(&self, stream: StreamId) {
        if let Some(line) = self.line(stream) {
            line.end_data();
        }
    }

    /// Answers a `StreamOffered`: go on.
    pub fn accept(&self, stream: StreamId) {
        if let Some(line) = self.line(stream) {
            line.answer(true);
        }
    }

    /// Answers a `StreamOffered`: do not. Nothing more is heard of the stream.
    pub fn refuse(&self, stream: StreamId) {
        if let Some(line) = self.line(stream) {
            line.answer(false);
        }
    }

    /// So many of the bytes that came take up no room any more: as many may come.
    pub fn consumed(&self, stream: StreamId, bytes: usize) {
        if let Some(line) = self.line(stream) {
            line.consumed(bytes);
        }
    }

    /// What came is installed: who sent it may know.
    pub fn installed(&self, stream: StreamId) {
        if let Some(line) = self.line(stream) {
            line.installed();
        }
    }

    /// Ends a stream of either end; nothing more is heard of it here, and the other end hears that it is broken.
    pub fn break_off(&self, stream: StreamId) {
        if let Some(line) = self.line(stream) {
            line.break_off();
        }
        self.shared.events.forget(stream);
    }

    /// Ends all streams.
    pub(super) fn break_all(&self) {
        let lines = std::mem::take(&mut *self.lines());
        lines.values().for_each(|line| line.break_off());
    }

    /// How many there are, of both ends.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lines().len()
    }
}
