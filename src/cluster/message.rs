//! What servers and the coordinator say to each other. A transport carries a message whole, or not at all; it may lose,
//! double, delay and reorder. `codec` has the bytes.

use super::configuration::{COORDINATOR, Configuration, Epoch, Incarnation, LogId, Mark, Member, NodeId, Position};
use super::frame::Frame;
use crate::config;
use crate::time::{Duration, Time};

/// What every message carries (R7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The cluster; of a server that belongs to none yet the id of its log, 0 when that is empty.
    pub cluster: LogId,
    /// The sender's epoch, durable at the sender.
    pub epoch: Epoch,
    /// Who sent it.
    pub source: NodeId,
    /// The sender's incarnation; the coordinator has 0.
    pub source_incarnation: Incarnation,
    /// For whom it is.
    pub destination: NodeId,
    /// The receiver's incarnation as the sender knows it; 0 when it knows none.
    pub destination_incarnation: Incarnation,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// From whom, to whom, of which epoch.
    pub header: Header,
    /// What it says.
    pub body: Body,
}

impl Message {
    /// What is wrong with it, if anything: what a correct sender never says.
    #[must_use]
    pub fn fault(&self) -> Option<&'static str> {
        let Header { cluster, epoch, source, source_incarnation, destination, .. } = self.header;
        if (source == COORDINATOR) != (source_incarnation.0 == 0) {
            return Some("the coordinator and nobody else has incarnation 0");
        }
        if source == destination {
            return Some("a message to oneself");
        }
        if epoch.0 > 0 && cluster.0 == 0 {
            return Some("an epoch without a cluster");
        }
        match &self.body {
            Body::Announce(configuration) if configuration.epoch != epoch || configuration.cluster != cluster => {
                Some("a configuration that is not the sender's")
            }
            Body::Announce(configuration) => configuration.fault(),
            Body::Append(append) => append.fault(epoch),
            Body::Ack(ack) => ack.standing.fault(),
            Body::SnapshotNeeded { from } => from.fault(),
            Body::HeartbeatAck { slack, .. } if *slack > config::CLUSTER_SLACK_MAX => {
                Some("it may be silent for too long")
            }
            Body::Register { end, .. } | Body::HeartbeatAck { end, .. } | Body::CandidateAnswer { end, .. } => {
                end.fault()
            }
            Body::ChangeAsked { members } if members.is_empty() => Some("nobody is left"),
            Body::ChangeAsked { members } if !members.is_sorted_by(|a, b| a.node < b.node) => {
                Some("members are not in order")
            }
            Body::Heartbeat { registered, .. }
                if !registered.is_sorted_by(|a, b| a.member.node < b.member.node)
                    || registered.iter().any(|one| one.incarnation.0 == 0 || one.member.node == COORDINATOR) =>
            {
                Some("servers are not in order, or are none")
            }
            Body::Forward(forward) => forward.fault(),
            Body::ForwardAnswer { number: 0, .. }
            | Body::ReadIndexAsked { number: 0 }
            | Body::ReadIndex { number: 0, .. } => Some("numbers begin with 1"),
            _ => None,
        }
    }
}

impl Append {
    fn fault(&self, epoch: Epoch) -> Option<&'static str> {
        if self.lease > config::CLUSTER_LEASE_MAX {
            return Some("a lease that is too long");
        }
        if let Some(frame) = &self.frame {
            let first_index = frame.header().start.first_index;
            if frame.position() != self.previous.position || first_index.0 != self.previous.index.0 + 1 {
                return Some("a frame that does not continue what is before it");
            }
            if frame.epoch() < self.previous.epoch || frame.epoch() > epoch {
                return Some("a frame of an epoch that it cannot have");
            }
        }
        if self.previous.epoch > epoch { Some("a log that is ahead of its leader") } else { self.previous.fault() }
    }
}

impl Standing {
    fn fault(&self) -> Option<&'static str> {
        match self {
            Self::Lost => None,
            Self::Unknown { last } => last.fault(),
            Self::Matched { end, .. } if end.fault().is_some() => end.fault(),
            Self::Matched { durable, end, .. } if *durable > end.position => Some("more is durable than is there"),
            Self::Matched { missing, .. } if missing.len() > config::MISSING_RANGES_MAX => Some("too much is missing"),
            Self::Matched { end, missing, top, .. } => {
                let mut known = end.position;
                for (at, range) in missing.iter().enumerate() {
                    let begins = if at == 0 { range.from == known } else { range.from > known };
                    if !begins || range.to <= range.from {
                        return Some("what is missing is not in order");
                    }
                    known = range.to;
                }
                let ends = if missing.is_empty() { *top == known } else { *top > known };
                (!ends).then_some("something is there and nothing before it is missing")
            }
        }
    }
}

impl Forward {
    fn fault(&self) -> Option<&'static str> {
        if self.number == 0 || self.previous >= self.number {
            return Some("numbers grow from 1");
        }
        (self.undecided == 0 || self.undecided > self.number).then_some("it is undecided itself")
    }
}

/// A server as the coordinator tells the leader of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// Name and contact.
    pub member: Member,
    /// The incarnation that registered.
    pub incarnation: Incarnation,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Leader to follower or learner: a frame behind `previous`, or none: a beacon.
    Append(Append),
    /// Follower or learner to leader.
    Ack(Ack),
    /// Anyone to anyone: the newest configuration that the sender has made durable.
    Announce(Configuration),
    /// Anyone to anyone: send me your configuration.
    ConfigAsked,
    /// Server to coordinator, until it is a member or a learner that the leader knows.
    Register {
        /// Where it is reached.
        contact: String,
        /// Where its log stands.
        end: Mark,
        /// Its log may lack what it once acked (D1, D2).
        doubtful: bool,
    },
    /// Coordinator to a server of another cluster: its own is the header's (R1).
    Refused {
        /// The cluster the server said it is of.
        yours: LogId,
    },
    /// Coordinator to leader, on each of its ticks.
    Heartbeat {
        /// When it was sent, by the coordinator's clock.
        sent: Time,
        /// Servers that are not members.
        registered: Vec<Registered>,
    },
    /// Leader to coordinator.
    HeartbeatAck {
        /// The heartbeat's `sent`.
        echo: Time,
        /// How long the leader's lease is now: nobody else can lead earlier, and where it is long something was late.
        lease: Duration,
        /// How much longer than others it may be silent while nothing is wrong with it: it takes large items.
        slack: Duration,
        /// Where the leader's log stands.
        end: Mark,
    },
    /// Leader to coordinator: make these the members (R2). The epoch to change is the header's.
    ChangeAsked {
        /// In order of their names.
        members: Vec<Member>,
    },
    /// Coordinator to member: could you lead in place of this leader (R5)?
    CandidateAsked {
        /// This incarnation of the leader is proven dead (R25).
        proven_dead: bool,
    },
    /// Member to coordinator. Says yes with `promise_left` 0, and makes no promise in this epoch from then on.
    CandidateAnswer {
        /// Where its log stands.
        end: Mark,
        /// How long its promise to the leader still binds it (R16), by its clock.
        promise_left: Duration,
        /// Its log may lack what it once acked (D1, D2).
        doubtful: bool,
    },
    /// Leader to all: I lead no more in this epoch and read no more (R25).
    Resigned,
    /// Member to leader: leave me out, my data is not what yours is.
    Leaving,
    /// Follower to leader: a client's write (C1).
    Forward(Forward),
    /// Leader to learner: the log holds what you need no more.
    SnapshotNeeded {
        /// Where the learner would have to go on.
        from: Mark,
    },
    /// The first in a stream that holds a snapshot, never a datagram.
    SnapshotOffer,
    /// Follower to leader: do you still lead, and what is committed (strict reads)?
    ReadIndexAsked {
        /// Counts up in the sender's incarnation from 1.
        number: u64,
    },
    /// Leader to follower: all have said so since you asked.
    ReadIndex {
        /// As asked.
        number: u64,
        /// Everything below was committed.
        commit: Position,
    },
    /// Leader to follower: the answer to a write that changed nothing.
    ForwardAnswer {
        /// The write's number.
        number: u64,
        /// As the leader's write path put it.
        reply: Vec<u8>,
    },
}

/// Leader to follower.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// When it was sent, by the leader's clock.
    pub sent: Time,
    /// How long the leader's lease relies on the promise that this asks for (R16).
    pub lease: Duration,
    /// Counts up from 1 with each append of this leader to this receiver.
    pub number: u64,
    /// The newest `sent` of this follower for which the leader promised to wait (R18).
    pub echo: Option<Time>,
    /// Where the leader's log stood before `frame`. The follower's must stand there too.
    pub previous: Mark,
    /// One frame, or none.
    pub frame: Option<Frame>,
    /// Everything below is committed.
    pub commit: Position,
    /// A digest of the data at a committed position.
    pub digest: Option<Digest>,
}

/// A digest of everything in the store with all entries below `position` applied and no other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest {
    /// A frame's end.
    pub position: Position,
    /// Order-independent, over key, value, flags, expiry and cas id.
    pub digest: u64,
}

/// Follower to leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// When it was sent, by the follower's clock.
    pub sent: Time,
    /// The largest number of an append that came in this epoch; 0 before the first.
    pub newest: u64,
    /// The newest `sent` of the leader for which it promised not to take over (R16); nothing when it makes no promise.
    pub echo: Option<Time>,
    /// It told the coordinator that its promise has ended, and promises no more in this epoch (R5).
    pub withdrawn: bool,
    /// Its disk is full (D4).
    pub full: bool,
    /// How its log agrees with the leader's.
    pub standing: Standing,
}

/// How a follower's log agrees with the leader's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Not known in this epoch: nothing of the leader's has fitted yet.
    Unknown {
        /// This may fit: the newest mark of its log that is not newer than what came.
        last: Mark,
    },
    /// Up to `end`.
    Matched {
        /// Everything below is on its disk.
        durable: Position,
        /// Where the part of its log ends that is the leader's.
        end: Mark,
        /// What it lacks of what is below `top`, in order; the first begins at `end`.
        missing: Vec<Missing>,
        /// The rest up to here is kept until the log reaches it; `end` when nothing came ahead of a gap.
        top: Position,
        /// Frames that begin here or later find no room (R11).
        limit: Position,
    },
    /// Nothing that it has is to be trusted: it takes a snapshot and nothing else.
    Lost,
}

/// A part of the log that has not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Where it begins.
    pub from: Position,
    /// Where it ends.
    pub to: Position,
}

/// A client's write on its way to the leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// Its number in the sender's incarnation; the first is 1.
    pub number: u64,
    /// The number before it in this epoch, 0 for the first: the leader takes them in order and each once.
    pub previous: u64,
    /// All numbers below are decided.
    pub undecided: u64,
    /// The request, as the write paths of both ends understand it.
    pub request: Vec<u8>,
}
