//! One peer: what goes to it and what comes from it.

use super::acks::Acks;
use super::assembly::Assembly;
use super::chunk::{self, Chunk, Chunks};
use super::key::{ClusterKey, Guard};
use super::outgoing::{Outgoing, Piece};
use super::packet::{CHECKSUM_BYTES, HEADER_BYTES, Header, SEAL_BYTES, Session};
use super::recovery::{Fate, Recovery};
use super::replay::ReplayWindow;
use super::train::Train;
use crate::cluster::COORDINATOR;
use crate::config;
use crate::log::NodeId;
use crate::time::{Duration, Time};

/// Whether a lost message is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repair {
    /// The next one supersedes it.
    Never,
    /// Its lost pieces are.
    Pieces,
}

/// Why a datagram was dropped, or a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Not one of ours: magic, version or length.
    Foreign,
    /// Sealed with another key, changed on the way, or with no key where one is needed.
    Forged,
    /// It has come before, or is of a start of the sender that has ended.
    Replayed,
    /// Genuine, and yet nothing that this version says.
    Malformed,
    /// There are as many peers as there may be.
    TooManyPeers,
    /// More is under way to the peer than it takes.
    Full,
}

/// What happened, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Counts {
    pub datagrams_sent: u64,
    pub bytes_sent: u64,
    pub datagrams_received: u64,
    pub bytes_received: u64,
    /// Bytes of pieces that were sent again.
    pub bytes_resent: u64,
    /// Messages that were given up.
    pub messages_expired: u64,
    pub refused_foreign: u64,
    pub refused_forged: u64,
    pub refused_replayed: u64,
    pub refused_malformed: u64,
    pub refused_peers: u64,
}

/// Bytes of the largest message that leaves in one datagram of so many bytes; a larger one goes in pieces, which are repaired.
#[must_use]
pub const fn whole_bytes_max(datagram_bytes: usize, sealed: bool) -> usize {
    let guard_bytes = if sealed { SEAL_BYTES } else { CHECKSUM_BYTES };
    datagram_bytes - HEADER_BYTES - guard_bytes - chunk::MESSAGE_BYTES
}

/// The peer's side: of one start of it.
struct Incoming {
    session: Session,
    guard: Guard,
    replay: ReplayWindow,
    acks: Acks,
    assembly: Assembly,
}

/// See the module.
pub struct Link {
    own: Session,
    guard: Guard,
    datagram_bytes: usize,
    outgoing: Outgoing,
    recovery: Recovery,
    /// The number given last.
    number: u64,
    incoming: Option<Incoming>,
    /// Starts of the peer that have ended, newest last.
    ended: Vec<Session>,
    probe: bool,
    fates: Vec<Fate>,
}

impl Link {
    /// Numbers go on behind `number`: none is used twice for a peer in a start of this end.
    pub fn new(
        me: NodeId,
        own: Session,
        peer: NodeId,
        key: Option<&ClusterKey>,
        datagram_bytes: usize,
        number: u64,
    ) -> Self {
        Self {
            own,
            guard: Guard::new(key, me, own, peer),
            datagram_bytes,
            outgoing: Outgoing::default(),
            recovery: Recovery::new(datagram_bytes),
            number,
            incoming: None,
            ended: Vec::new(),
            probe: false,
            fates: Vec::new(),
        }
    }

    /// Takes a message for the peer.
    pub fn send(&mut self, now: Time, message: Vec<u8>, repair: Repair) -> Result<(), Refusal> {
        if self.outgoing.is_full(message.len()) {
            self.outgoing.on_refused();
            return Err(Refusal::Full);
        }
        let fits = message.len() <= whole_bytes_max(self.datagram_bytes, self.guard.is_sealed());
        match repair {
            Repair::Never if fits => self.outgoing.push_once(message),
            Repair::Never | Repair::Pieces => self.outgoing.push_repaired(now, message),
        }
        Ok(())
    }

    /// The number given last.
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// Empty memory for a message.
    pub fn buffer(&mut self) -> Vec<u8> {
        self.outgoing.buffer()
    }

    /// Whether nothing is under way in pieces any more, when something was since this was last asked.
    pub fn take_settled(&mut self) -> bool {
        self.outgoing.take_settled()
    }

    /// Whether a datagram is to be sent now.
    pub fn is_due(&self) -> bool {
        let acks = self.incoming.as_ref().is_some_and(|incoming| incoming.acks.is_due());
        acks || self.outgoing.has_once() || (self.outgoing.has_piece() && (self.probe || self.recovery.has_room()))
    }

    /// When `on_time` is due.
    pub fn deadline(&self) -> Option<Time> {
        self.recovery.deadline()
    }

    pub const fn round_trip(&self) -> Option<Duration> {
        self.recovery.round_trip()
    }

    pub fn on_time(&mut self, now: Time, counts: &mut Counts) {
        let expired = self.outgoing.expire(now);
        if expired > 0 {
            counts.messages_expired += expired;
            self.recovery = Recovery::new(self.datagram_bytes);
        }
        self.probe |= self.recovery.on_time(now, &mut self.fates);
        self.settle(now, counts);
    }

    fn settle(&mut self, now: Time, counts: &mut Counts) {
        for fate in self.fates.drain(..) {
            match fate {
                Fate::Acked(piece) => self.outgoing.on_acked(now, piece),
                Fate::Lost(piece) => counts.bytes_resent += self.outgoing.on_lost(piece),
            }
        }
    }

    /// Appends the datagrams that may leave now to the train.
    pub fn transmit(&mut self, now: Time, me: NodeId, train: &mut Train, counts: &mut Counts) {
        for _ in 0..config::TRAIN_DATAGRAMS_MAX {
            if !self.is_due() {
                break;
            }
            self.number += 1;
            let start = train.start();
            let header = Header { sealed: self.guard.is_sealed(), source: me, session: self.own, number: self.number };
            header.encode(&mut train.bytes);
            let pieces = self.fill(start + self.datagram_bytes - self.guard.bytes(), &mut train.bytes);
            self.guard.seal(self.number, &mut train.bytes, start);
            train.end();
            let bytes = train.bytes.len() - start;
            counts.datagrams_sent += 1;
            counts.bytes_sent += bytes as u64;
            self.recovery.on_sent(now, self.number, bytes, pieces);
        }
    }

    /// Writes chunks up to `end`.
    fn fill(&mut self, end: usize, out: &mut Vec<u8>) -> Vec<Piece> {
        if let Some(incoming) = &mut self.incoming
            && incoming.acks.is_due()
            && out.len() + chunk::ack_bytes(incoming.acks.ranges()) <= end
        {
            chunk::put_ack(out, incoming.acks.take());
        }
        while let Some(room) = end.checked_sub(out.len() + chunk::MESSAGE_BYTES)
            && let Some(message) = self.outgoing.next_once(room)
        {
            chunk::put_message(out, &message);
            self.outgoing.keep_buffer(message);
        }
        let mut pieces = self.recovery.spare_pieces();
        if !(self.probe || self.recovery.has_room()) {
            return pieces;
        }
        while let Some(room) = end.checked_sub(out.len() + chunk::PIECE_BYTES + 1)
            && let Some((place, piece, bytes)) = self.outgoing.next_piece(room + 1)
        {
            chunk::put_piece(out, place, bytes);
            pieces.push(piece);
            self.probe = false;
        }
        pieces
    }

    /// Opens a datagram of the peer and hands out the messages that are whole now. `fresh` makes the guard of a start of
    /// the peer that was not heard before.
    pub fn receive(
        &mut self,
        now: Time,
        header: Header,
        datagram: &mut [u8],
        fresh: impl FnOnce() -> Guard,
        counts: &mut Counts,
        deliver: &mut dyn FnMut(&[u8]),
    ) -> Result<(), Refusal> {
        let Header { session, number, source, .. } = header;
        let payload: &[u8] = match &self.incoming {
            Some(incoming) if incoming.session == session => {
                if incoming.replay.has(number) {
                    return Err(Refusal::Replayed);
                }
                incoming.guard.open(number, datagram).ok_or(Refusal::Forged)?
            }
            before => {
                // a server counts its starts on its disk; a coordinator may have lost its own
                let is_older =
                    before.as_ref().is_some_and(|incoming| session.incarnation < incoming.session.incarnation);
                if self.ended.contains(&session) || (is_older && source != COORDINATOR) {
                    return Err(Refusal::Replayed);
                }
                let guard = fresh();
                let payload = guard.open(number, datagram).ok_or(Refusal::Forged)?;
                self.begin(session, guard);
                payload
            }
        };
        let taken = self.take(now, number, payload, deliver);
        self.settle(now, counts);
        taken.map_err(|chunk::Malformed| Refusal::Malformed)
    }

    /// The peer has started, maybe again: what the old start had of messages is gone.
    fn begin(&mut self, session: Session, guard: Guard) {
        let incoming = Incoming {
            session,
            guard,
            replay: ReplayWindow::default(),
            acks: Acks::default(),
            assembly: Assembly::default(),
        };
        if let Some(before) = self.incoming.replace(incoming) {
            if self.ended.len() >= config::ENDED_SESSIONS_KEPT {
                self.ended.remove(0);
            }
            self.ended.push(before.session);
            self.outgoing.forget_repaired();
            self.recovery = Recovery::new(self.datagram_bytes);
        }
    }

    fn take(
        &mut self,
        now: Time,
        number: u64,
        payload: &[u8],
        deliver: &mut dyn FnMut(&[u8]),
    ) -> Result<(), chunk::Malformed> {
        let incoming = self.incoming.as_mut().expect("its session has begun");
        incoming.replay.note(number);
        let mut waits = false;
        for chunk in Chunks(payload) {
            match chunk? {
                Chunk::Ack(ranges) => {
                    if !self.recovery.on_ack(now, &ranges, self.number, &mut self.fates) {
                        return Err(chunk::Malformed);
                    }
                }
                Chunk::Message(message) => deliver(message),
                Chunk::Piece(place, bytes) => {
                    waits = true;
                    if let Some(message) = incoming.assembly.take(place, bytes)? {
                        deliver(&message);
                    }
                }
            }
        }
        incoming.acks.note(number, waits);
        Ok(())
    }

    pub fn check_invariants(&self) {
        self.outgoing.check_invariants();
        self.recovery.check_invariants();
        if let Some(incoming) = &self.incoming {
            incoming.assembly.check_invariants();
        }
    }
}
