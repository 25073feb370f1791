//! Snapshots of a simulated server: streams of pieces to who needs one, a stream that is taken, and logs that are shortened
//! because a keystore holds what they began with. A piece is sent when the one before it has arrived, so that a stream can
//! end in the middle by a crash, a partition or a restart at either end.

use std::collections::BTreeMap;
use std::rc::Rc;

use ringstore::cluster::{Input, Mark, Message, codec};
use ringstore::keystore::Piece as Part;
use ringstore::log::layout::file;
use ringstore::log::{NodeId, Position};
use ringstore::store::{Item, ItemBits};
use ringstore::time::{Duration, Expiry, Time};
use ringstore::writes::{Snapshot, Writes};

use super::process::{Process, Work};
use super::{File, Host, Out, Shared};
use crate::network::Address;
use crate::recovery::{LOG, keystore, new_log};
use crate::wire::Piece;

/// A stream on which nothing happens for so long is given up by its sender, and later by its receiver.
const PATIENCE: Duration = Duration::from_millis(1200);

/// About so many bytes of items in a piece.
const PIECE_BYTES: usize = 64;

struct Sending {
    to: NodeId,
    snapshot: Option<Snapshot>,
    /// The log is kept from here on.
    start: Position,
    moved: Time,
}

struct Taking {
    from: Address,
    stream: u64,
    bytes: Vec<u8>,
    moved: Time,
}

/// See the module.
#[derive(Default)]
pub struct Streams {
    sending: BTreeMap<u64, Sending>,
    taking: Option<Taking>,
    /// What the machine said to the offer that it was just told of.
    taken: bool,
}

impl Streams {
    pub fn refuse(&mut self) {
        self.taken = false;
    }
}

/// Reads a keystore into a store.
pub fn restore(writes: &mut Writes, bytes: &[u8]) {
    keystore(bytes, |part| match part {
        Part::Header(header) => writes.begin_restore(&header),
        Part::Epochs(_) => {}
        Part::Items(items) => {
            for item in items {
                let item = item.expect("it was checked");
                assert!(writes.restore(&item).expect("the store is large enough"), "there is always room");
            }
        }
        Part::End(end) => writes.end_restore(&end),
    });
}

impl Process {
    /// The log file begins at `base` and ends at `end`.
    pub(super) fn on_rebased(&mut self, base: Mark, end: Position) {
        (self.base, self.start, self.written, self.durable) = (base.position, base, end, end);
    }

    /// Everything that is applied, as a file.
    fn keystore(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let history = self.core.epochs_below(self.core.applied().position);
        let writes = self.core.writes();
        let mut snapshot = writes.begin_snapshot(LOG, &history, &mut bytes);
        while writes.go_on_snapshot(&mut snapshot, usize::MAX, &mut bytes) {}
        writes.end_snapshot(snapshot, &mut bytes);
        bytes
    }
}

impl Host {
    /// The machine wants a snapshot sent.
    pub(super) fn send_snapshot(&mut self, now: Time, offer: &Message, outs: &mut Vec<Out>, shared: &mut Shared) {
        shared.streams += 1;
        let (stream, to) = (shared.streams, offer.header.destination);
        shared.trace.line(now, &self.name(), || format!("opens stream {stream} to {}", to.0));
        let mut bytes = Vec::new();
        codec::encode(offer, &mut bytes);
        outs.push(Out::Open(to, stream, Piece::Offer(Rc::from(bytes))));
        let start = self.running().core.applied().position;
        let sending = Sending { to, snapshot: None, start, moved: now };
        self.running().streams.sending.insert(stream, sending);
    }

    /// The machine takes what it was offered: nothing of what is here counts any more.
    pub(super) fn take_snapshot(&mut self) {
        let process = self.running();
        process.streams.taken = true;
        let of_log = |work: &Work| matches!(work, Work::Append { .. } | Work::Sync { .. } | Work::Truncate { .. });
        process.queue.retain(|work| !of_log(work));
        process.queue.push_back(Work::Drop);
    }

    /// Something came on a stream.
    pub(super) fn stream(
        &mut self,
        now: Time,
        from: Address,
        stream: u64,
        piece: Piece,
        outs: &mut Vec<Out>,
        shared: &mut Shared,
    ) {
        if self.process.is_none() {
            return;
        }
        match piece {
            Piece::Offer(offer) => self.offered(now, from, stream, &offer, outs, shared),
            Piece::Bytes(bytes) => {
                if let Some(taking) = self.taking(from, stream, outs) {
                    (taking.moved, _) = (now, taking.bytes.extend_from_slice(&bytes));
                    outs.push(Out::Stream(from, stream, Piece::Next));
                }
            }
            Piece::End(bytes) => {
                if let Some(taking) = self.taking(from, stream, outs) {
                    taking.moved = now;
                    let bytes = [std::mem::take(&mut taking.bytes).as_slice(), &bytes].concat();
                    self.running().queue.push_back(Work::Keystore { bytes, stream: Some(stream) });
                }
            }
            Piece::Next => self.next(now, from, stream, outs),
            Piece::Installed => self.sent(now, stream, true, outs, shared),
            Piece::Broken => {
                self.sent(now, stream, false, outs, shared);
                if self.process.as_ref().is_some_and(|process| {
                    process.streams.taking.as_ref().is_some_and(|taking| taking.stream == stream)
                }) {
                    self.lose(now, outs, shared);
                }
            }
        }
    }

    fn offered(
        &mut self,
        now: Time,
        from: Address,
        stream: u64,
        offer: &[u8],
        outs: &mut Vec<Out>,
        shared: &mut Shared,
    ) {
        let message = codec::decode(offer).expect("a stream damages nothing");
        self.running().streams.taken = false;
        self.input(now, Input::SnapshotOffered { message }, outs, shared);
        let Some(process) = &mut self.process else { return };
        if !process.streams.taken {
            return outs.push(Out::Stream(from, stream, Piece::Broken));
        }
        let taking = Taking { from, stream, bytes: Vec::new(), moved: now };
        if let Some(before) = process.streams.taking.replace(taking) {
            outs.push(Out::Stream(before.from, before.stream, Piece::Broken));
        }
        outs.push(Out::Stream(from, stream, Piece::Next));
    }

    /// The stream of that number, if it is the one that is taken; its sender is told if not.
    fn taking(&mut self, from: Address, stream: u64, outs: &mut Vec<Out>) -> Option<&mut Taking> {
        let taking = self.running().streams.taking.as_mut().filter(|taking| taking.stream == stream);
        if taking.is_none() {
            outs.push(Out::Stream(from, stream, Piece::Broken));
        }
        taking
    }

    /// The receiver is ready for more.
    fn next(&mut self, now: Time, from: Address, stream: u64, outs: &mut Vec<Out>) {
        let Process { streams, core, .. } = self.running();
        let writes = core.writes();
        let Some(sending) = streams.sending.get_mut(&stream) else {
            return outs.push(Out::Stream(from, stream, Piece::Broken));
        };
        sending.moved = now;
        let mut bytes = Vec::new();
        let Some(snapshot) = &mut sending.snapshot else {
            sending.start = writes.applied().position;
            let history = core.epochs_below(sending.start);
            sending.snapshot = Some(writes.begin_snapshot(LOG, &history, &mut bytes));
            return outs.push(Out::Stream(from, stream, Piece::Bytes(Rc::from(bytes))));
        };
        let piece = if writes.go_on_snapshot(snapshot, PIECE_BYTES, &mut bytes) {
            Piece::Bytes(Rc::from(bytes))
        } else {
            let snapshot = sending.snapshot.take().expect("it is under way");
            writes.end_snapshot(snapshot, &mut bytes);
            Piece::End(Rc::from(bytes))
        };
        outs.push(Out::Stream(from, stream, piece));
    }

    /// The stream that was sent has ended.
    fn sent(&mut self, now: Time, stream: u64, well: bool, outs: &mut Vec<Out>, shared: &mut Shared) {
        if let Some(sending) = self.running().streams.sending.remove(&stream) {
            let node = sending.to;
            let input = if well { Input::SnapshotSent { node } } else { Input::SnapshotFailed { node } };
            self.input(now, input, outs, shared);
        }
    }

    /// The stream that was taken has broken off.
    fn lose(&mut self, now: Time, outs: &mut Vec<Out>, shared: &mut Shared) {
        if self.running().streams.taking.take().is_some() {
            self.input(now, Input::SnapshotLost, outs, shared);
        }
    }

    /// Gives up what does not move, and shortens the log if it was told to.
    pub(super) fn streams_ticked(&mut self, now: Time, outs: &mut Vec<Out>, shared: &mut Shared) {
        let Some(process) = &mut self.process else { return };
        let stuck = |(&stream, sending): (&u64, &Sending)| (now.since(sending.moved) >= PATIENCE).then_some(stream);
        let stuck: Vec<u64> = process.streams.sending.iter().filter_map(stuck).collect();
        for stream in stuck {
            let to = self.running().streams.sending[&stream].to;
            outs.push(Out::Open(to, stream, Piece::Broken));
            self.sent(now, stream, false, outs, shared);
        }
        let Some(process) = &mut self.process else { return };
        let lost = process.streams.taking.as_ref().is_some_and(|taking| now.since(taking.moved).0 >= 3 * PATIENCE.0);
        if lost {
            self.lose(now, outs, shared);
        }
        if std::mem::take(&mut self.shorten) {
            self.shorten_now();
        }
    }

    /// A keystore of what is applied takes the place of the log up to there.
    fn shorten_now(&mut self) {
        let Some(process) = &mut self.process else { return };
        let applied = process.core.applied();
        let busy = process.queue.iter().any(|work| matches!(work, Work::Keystore { .. } | Work::Rebase { .. }));
        let needed = process.streams.sending.values().any(|sending| sending.start < applied.position);
        let exact = applied.position >= process.consistent && !process.rotten;
        if !busy && !needed && exact && process.streams.taking.is_none() && applied.position > process.start.position {
            let bytes = process.keystore();
            process.queue.push_back(Work::Keystore { bytes, stream: None });
        }
    }

    /// A keystore is on the disk; the log is next.
    pub(super) fn keystore_done(&mut self, bytes: Vec<u8>, stream: Option<u64>) {
        let of = keystore(&bytes, |_| ()).expect("it is whole");
        let process = self.running();
        let mut log = new_log(of.start, of.last_time);
        if stream.is_none() {
            let (from, upto) = (of.start.position, process.written);
            let at = |position: Position| (position.0 - process.base.0) as usize + file::BYTES;
            let range = at(from)..at(upto);
            log.extend_from_slice(&self.disk.read(&File::Log)[range]);
        }
        let work = Work::Rebase { start: of.start, keystore: bytes, bytes: log, stream };
        self.running().queue.push_front(work);
    }

    /// The disk has no room for a keystore.
    pub(super) fn keystore_refused(
        &mut self,
        now: Time,
        stream: Option<u64>,
        outs: &mut Vec<Out>,
        shared: &mut Shared,
    ) {
        let taking = &self.running().streams.taking;
        if let Some(taking) = taking.as_ref().filter(|taking| Some(taking.stream) == stream) {
            outs.push(Out::Stream(taking.from, taking.stream, Piece::Broken));
            self.lose(now, outs, shared);
        }
    }

    /// The log begins at the keystore's start now.
    pub(super) fn rebased(
        &mut self,
        now: Time,
        bytes: &[u8],
        stream: Option<u64>,
        outs: &mut Vec<Out>,
        shared: &mut Shared,
    ) {
        let process = self.running();
        let taking = process.streams.taking.take_if(|taking| Some(taking.stream) == stream);
        let Some(taking) = taking else { return };
        shared.trace.line(now, &self.name(), || format!("has installed stream {}", taking.stream));
        let process = self.running();
        process.unapplied.clear();
        restore(process.core.writes_mut(), bytes);
        let snapshot = keystore(bytes, |_| ()).expect("it is whole");
        (process.consistent, process.rotten) = (snapshot.consistent.position, false);
        process.checked = snapshot.start.position;
        outs.push(Out::Stream(taking.from, taking.stream, Piece::Installed));
        self.wake_reads(now, outs);
        self.input(now, Input::SnapshotInstalled { snapshot }, outs, shared);
    }

    /// Something is in the store that no entry put there: as if a bit of a key had flipped.
    pub fn rot(&mut self) -> bool {
        let Some(process) = &mut self.process else { return false };
        let item = Item { key: b"ghost", value: b"boo", flags: 0, expiry: Expiry::NEVER, cas: 1, bits: ItemBits(0) };
        process.rotten = process.core.writes_mut().restore(&item).expect("the store is large enough");
        process.rotten
    }

    /// A bit of a value flips in memory; whether there is such a value.
    #[cfg(test)]
    pub fn flip(&mut self, key: &[u8], bit: usize) -> bool {
        let Some(process) = &mut self.process else { return false };
        process.rotten = process.core.writes_mut().flip_bit(key, bit);
        process.rotten
    }

    /// Whether it holds what no entry put there.
    #[cfg(test)]
    pub fn is_rotten(&self) -> bool {
        self.process.as_ref().is_some_and(|process| process.rotten)
    }
}
