//! What the threads of this module tell thread 0: a list behind a lock, and an eventfd that its ring polls. One call per list,
//! not per event.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::event::{EventfdFlags, eventfd};

use crate::log::{Incarnation, NodeId};

/// A stream of a snapshot: its name within this process, at whichever end; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

/// Something that has happened on a TCP connection between servers.
#[derive(Debug, PartialEq, Eq)]
pub enum PeerEvent {
    /// The lifeline of that server ended in order: this incarnation is dead (R25).
    LifelineEnded {
        /// The server.
        node: NodeId,
        /// What it said on the lifeline.
        incarnation: Incarnation,
    },
    /// The lifeline of that server was reset, refused or answered by nobody: a hint and no proof. Said once until one is open again.
    LifelineLost {
        /// The server.
        node: NodeId,
        /// What it said on the lifeline; 0 when it said nothing.
        incarnation: Incarnation,
    },
    /// Another server opened a stream: to be answered with `accept` or `refuse`.
    StreamOffered {
        /// The stream.
        stream: StreamId,
        /// The encoded message that it began with.
        offer: Vec<u8>,
    },
    /// Bytes of an accepted stream, in order, cut anywhere. To be answered with `consumed` when they take up no room any more.
    StreamBytes {
        /// The stream.
        stream: StreamId,
        /// At least one.
        bytes: Vec<u8>,
    },
    /// All bytes of an accepted stream have come: to be answered with `installed`, or `break_off` when that fails. Nothing more is
    /// heard of the stream.
    StreamEnd {
        /// The stream.
        stream: StreamId,
    },
    /// A stream of ours was taken and has room: to be answered with one `push`, or `finish`.
    StreamWants {
        /// The stream.
        stream: StreamId,
    },
    /// What was sent on it is installed at the other end. The last of it.
    StreamInstalled {
        /// The stream.
        stream: StreamId,
    },
    /// It was not taken, or broke off: at either end. The last of it.
    StreamBroken {
        /// The stream.
        stream: StreamId,
    },
}

struct Queue {
    events: VecDeque<PeerEvent>,
    /// Thread 0 was called and has not looked yet.
    called: bool,
}

/// See the module.
pub struct Events {
    queue: Mutex<Queue>,
    call: OwnedFd,
}

impl Events {
    /// An empty list.
    ///
    /// # Errors
    /// When the kernel gives no eventfd.
    pub fn new() -> io::Result<Self> {
        let call = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { queue: Mutex::new(Queue { events: VecDeque::new(), called: false }), call })
    }

    /// Becomes readable, and again, whenever there is something to take: for a multishot poll.
    #[must_use]
    pub fn descriptor(&self) -> RawFd {
        self.call.as_raw_fd()
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, event: PeerEvent) {
        let mut queue = self.queue();
        queue.events.push_back(event);
        if !std::mem::replace(&mut queue.called, true) {
            super::ring_bell(&self.call);
        }
    }

    /// Moves all there are to `events`.
    pub fn take(&self, events: &mut Vec<PeerEvent>) {
        let mut queue = self.queue();
        queue.called = false;
        events.extend(queue.events.drain(..));
    }

    /// Drops what is there of a stream that was broken off.
    pub(super) fn forget(&self, stream: StreamId) {
        self.queue().events.retain(|event| event.stream() != Some(stream));
    }
}

impl PeerEvent {
    /// The stream that it is about.
    #[must_use]
    pub const fn stream(&self) -> Option<StreamId> {
        match self {
            Self::LifelineEnded { .. } | Self::LifelineLost { .. } => None,
            Self::StreamOffered { stream, .. }
            | Self::StreamBytes { stream, .. }
            | Self::StreamEnd { stream }
            | Self::StreamWants { stream }
            | Self::StreamInstalled { stream }
            | Self::StreamBroken { stream } => Some(*stream),
        }
    }
}
