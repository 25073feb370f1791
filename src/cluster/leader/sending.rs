//! What a leader sends and when: frames as far as the windows of receiver and network allow, lost ones first, members before
//! learners; beacons, which are probes too. Nothing is sent again before it is known to be lost.

use super::Leader;
use crate::cluster::configuration::{Mark, NodeId, Position};
use crate::cluster::effect::Effect;
use crate::cluster::frame::Frame;
use crate::cluster::message::{Ack, Body, Digest, Standing};
use crate::cluster::progress::{Asks, Progress};
use crate::cluster::server::Server;
use crate::config;
use crate::time::Time;

impl Leader {
    /// The write path made a frame.
    pub fn on_frame(&mut self, now: Time, frame: Frame, server: &mut Server, effects: &mut Vec<Effect>) {
        assert!(frame.epoch() == self.epoch, "a frame is made in the epoch of the last BecameLeader");
        server.append(frame, effects);
        if self.may_beacon(now, server) {
            self.send_to_all(now, server, effects);
        }
    }

    /// Members first, so that nobody who is catching up delays a commit.
    pub(super) fn send_to_all(&mut self, now: Time, server: &Server, effects: &mut Vec<Effect>) {
        if self.resigned {
            return;
        }
        let asks = self.asks(now);
        for learns in [false, true] {
            for (node, progress) in self.peers.iter_mut().filter(|(_, progress)| progress.learns == learns) {
                if self.snapshots.is_lost(*node) {
                    continue;
                }
                send_frames(asks, progress, server, effects);
            }
        }
    }

    /// What everything asks for that is sent now.
    const fn asks(&self, now: Time) -> Asks {
        Asks { now, lease: self.pace.length() }
    }

    pub(super) fn send_to(&mut self, now: Time, node: NodeId, server: &Server, effects: &mut Vec<Effect>) {
        let asks = self.asks(now);
        let progress = self.peers.get_mut(&node).expect("the caller knows it");
        if !self.resigned && !self.snapshots.is_lost(node) {
            send_frames(asks, progress, server, effects);
        }
    }

    pub(super) fn beacon(&mut self, now: Time, node: NodeId, server: &Server, effects: &mut Vec<Effect>) {
        let (asks, digest) = (self.asks(now), self.digest);
        let progress = self.peers.get_mut(&node).expect("the caller knows it");
        send_beacon(asks, progress, digest, server, effects);
    }

    pub(super) fn beacon_to_all(&mut self, now: Time, server: &Server, effects: &mut Vec<Effect>) {
        let asks = self.asks(now);
        for progress in self.peers.values_mut().filter(|progress| !progress.dead) {
            send_beacon(asks, progress, self.digest, server, effects);
        }
    }

    /// Those who were told nothing for long, and those who should have answered.
    pub(super) fn beacon_when_due(&mut self, now: Time, server: &Server, effects: &mut Vec<Effect>) {
        let asks = self.asks(now);
        for (node, progress) in self.peers.iter_mut().filter(|(_, progress)| !progress.dead) {
            let unanswered = progress.on_ticked(now);
            if !self.snapshots.is_lost(*node) {
                send_frames(asks, progress, server, effects);
            }
            if unanswered || now.since(progress.sent) >= server.timing.beacon {
                send_beacon(asks, progress, self.digest, server, effects);
            }
        }
    }

    /// What left for a peer in pieces has come there, or was given up.
    pub fn on_pieces_settled(&mut self, now: Time, node: NodeId) {
        if let Some(progress) = self.peers.get_mut(&node) {
            progress.on_pieces_settled(now);
        }
    }

    /// Takes an ack's word on where a log stands and what of the frames under way has come.
    pub(super) fn on_standing(now: Time, progress: &mut Progress, ack: &Ack, server: &Server) {
        let last = server.journal.end().position;
        match &ack.standing {
            Standing::Unknown { last } if progress.durable.is_none() => {
                progress.rewind(server.journal.history().agree(*last), ack.newest);
            }
            Standing::Unknown { .. } | Standing::Lost => {}
            // what was never sent cannot be there
            Standing::Matched { durable, end, top, .. }
                if *durable > end.position || end.position > *top || *top > last => {}
            Standing::Matched { durable, end, missing, top, limit } => {
                progress.on_matched(*durable, *end, *limit, &server.journal);
                progress.on_seen(now, missing, *top, ack.newest);
            }
        }
    }

    /// Frames from the disk for a peer that lacks what the tail holds no more.
    pub fn on_log_read(
        &mut self,
        now: Time,
        node: NodeId,
        from: Mark,
        frames: Vec<Frame>,
        server: &Server,
        effects: &mut Vec<Effect>,
    ) {
        let asks = self.asks(now);
        let Some(progress) = self.peers.get_mut(&node) else { return };
        if progress.reading.take_if(|reading| *reading == from).is_none() {
            return;
        }
        if frames.is_empty() {
            return self.on_log_too_short(now, node, from, server, effects);
        }
        let (commit, end) = (server.journal.commit().position, server.journal.end().position);
        for frame in frames {
            let wanted = progress.to_send().is_some_and(|mark| mark.position == frame.position());
            if wanted && frame.end() <= end {
                send_frame(asks, progress, &frame, commit, server, effects);
            }
        }
    }
}

/// Sends what the tail holds and the windows allow; what the tail holds no more comes from the disk.
fn send_frames(asks: Asks, progress: &mut Progress, server: &Server, effects: &mut Vec<Effect>) {
    if progress.dead || progress.reading.is_some() {
        return;
    }
    let (commit, end) = (server.journal.commit().position, server.journal.end().position);
    while let Some(from) = progress.to_send().filter(|mark| mark.position < end) {
        let Some(frame) = server.journal.tail().at(from.position) else {
            progress.reading = Some(from);
            let (node, bytes) = (progress.member.node, config::CATCH_UP_BYTES);
            effects.push(Effect::ReadLog { node, from, bytes });
            return;
        };
        send_frame(asks, progress, frame, commit, server, effects);
    }
}

fn send_frame(
    asks: Asks,
    progress: &mut Progress,
    frame: &Frame,
    commit: Position,
    server: &Server,
    effects: &mut Vec<Effect>,
) {
    let append = progress.append_frame(asks, frame, commit, server.whole_bytes);
    server.send(progress.member.node, Body::Append(append), effects);
}

fn send_beacon(
    asks: Asks,
    progress: &mut Progress,
    digest: Option<Digest>,
    server: &Server,
    effects: &mut Vec<Effect>,
) {
    let append = progress.beacon(asks, server.journal.commit().position, digest);
    server.send(progress.member.node, Body::Append(append), effects);
}
