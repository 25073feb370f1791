//! What a leader knows of one follower or learner, in the current epoch.

use super::configuration::{Incarnation, Mark, Member, Position};
use super::frame::Frame;
use super::lease::Promise;
use super::message::{Append, Digest};
use crate::config;
use crate::time::Time;

/// See the module.
#[derive(Clone, Debug)]
pub struct Progress {
    pub member: Member,
    /// The incarnation whose acks count (R6); 0 when none was heard.
    pub incarnation: Incarnation,
    /// Where the next append continues: the end of what was sent.
    pub next: Mark,
    /// Its log agrees up to here.
    pub end: Position,
    /// Durable there, acked in this epoch by this incarnation.
    pub durable: Option<Position>,
    /// When something of it last came.
    pub heard: Time,
    /// When something was last sent to it.
    pub sent: Time,
    /// When `next` was last set back: older reports of gaps are about what was sent before.
    pub rewound: Time,
    /// Frames for it are being read from the disk.
    pub reading: bool,
    /// Its newest send time for which the leader promised to wait (R18), to go back with what is sent next.
    pub echo: Option<Time>,
    /// It spoke in this epoch: leases of older ones are over.
    pub acked: bool,
    /// What was promised to it (R18), by this leader or maybe by the one before.
    pub granted: Promise,
    /// Its acks carry no promise, though it is in this epoch: it told the coordinator that it could lead.
    pub withdrawn: bool,
    /// It is proven dead (R25).
    pub dead: bool,
    /// It asked to be left out.
    pub leaving: bool,
}

impl Progress {
    pub fn new(member: Member, incarnation: Incarnation, next: Mark, now: Time) -> Self {
        Self {
            member,
            incarnation,
            next,
            end: Position(0),
            durable: None,
            heard: now,
            sent: Time(0),
            rewound: Time(0),
            reading: false,
            echo: None,
            acked: false,
            granted: Promise::default(),
            withdrawn: false,
            dead: false,
            leaving: false,
        }
    }

    /// In the next epoch, under the same leader: acks of this one count no more (R8), the rest is still true.
    pub fn in_next_epoch(mut self) -> Self {
        (self.end, self.durable, self.echo) = (Position(0), None, None);
        (self.acked, self.withdrawn, self.reading) = (false, false, false);
        self
    }

    /// Another incarnation speaks: nothing of the old one counts (R6).
    pub fn reincarnate(&mut self, incarnation: Incarnation, now: Time) {
        *self = Self::new(self.member.clone(), incarnation, self.next, now);
    }

    /// Whether more may be sent before something is acked.
    pub const fn has_room(&self) -> bool {
        self.next.position.0.saturating_sub(self.end.0) < config::WINDOW_BYTES
    }

    /// The next append, with `frame` behind what was sent so far.
    pub fn append(&mut self, now: Time, frame: Option<Frame>, commit: Position, digest: Option<Digest>) -> Append {
        let previous = self.next;
        if let Some(frame) = &frame {
            assert!(frame.position() == previous.position, "frames are sent in order");
            self.next = frame.mark();
        }
        self.sent = now;
        Append { sent: now, echo: self.echo, previous, frame, commit, digest }
    }
}
