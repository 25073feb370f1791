//! Snapshots in the scenarios: streams of one item in each turn, which break when a link is cut or an end is gone; and logs
//! that are shortened.

use super::*;

/// The data on a server's disk. The log goes on at the snapshot's start.
#[derive(Clone)]
pub struct Keystore {
    pub snapshot: Snapshot,
    pub data: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Default for Keystore {
    fn default() -> Self {
        let (start, consistent, history) = (Mark::default(), Mark::default(), Vec::new());
        Self { snapshot: Snapshot { start, consistent, history, last_time: Time(0) }, data: BTreeMap::new() }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Offered,
    /// Items are read behind this key.
    Items,
    /// All are there and are being made durable.
    Installing,
}

/// A snapshot on its way.
pub struct Stream {
    offer: Message,
    from: u64,
    to: u64,
    stage: Stage,
    behind: Vec<u8>,
    keystore: Keystore,
}

impl Stream {
    pub fn new(offer: Message, start: Mark, history: Vec<EpochStart>, last_time: Time) -> Self {
        let (from, to) = (offer.header.source.0, offer.header.destination.0);
        let snapshot = Snapshot { start, consistent: start, history, last_time };
        let keystore = Keystore { snapshot, data: BTreeMap::new() };
        Self { offer, from, to, stage: Stage::Offered, behind: Vec::new(), keystore }
    }

    pub fn items(&self) -> usize {
        self.keystore.data.len()
    }
}

impl Host {
    /// The log and the data are no more; the record says so.
    pub fn drop_all(&mut self) {
        let doubt = self.record.as_ref().map(|record| record.doubt);
        assert_eq!(doubt, Some(Doubt::Data), "nothing is dropped before the record says why");
        (self.frames, self.data, self.locks) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        self.writing.clear();
        (self.keystore, self.durable, self.applied) = (None, Position(0), Mark::default());
        self.taken = Some(true);
    }
}

impl World {
    /// Drops what the log holds of what is applied, and keeps the data instead.
    pub fn shorten(&mut self, node: u64) {
        let host = self.hosts.get_mut(&node).expect("it was started");
        let start = host.applied;
        let mut history = host.keystore.take().unwrap_or_default().snapshot.history;
        for frame in host.frames.extract_if(.., |frame| frame.end() <= start.position) {
            let first = EpochStart::of(frame.header());
            if history.last().is_none_or(|last: &EpochStart| last.epoch < first.epoch) {
                history.push(first);
            }
        }
        let snapshot = Snapshot { start, consistent: start, history, last_time: Time(self.now) };
        host.keystore = Some(Keystore { snapshot, data: host.data.clone() });
    }

    /// Each stream gets one step further, or breaks.
    pub fn move_streams(&mut self) {
        for mut stream in std::mem::take(&mut self.streams) {
            let (from, to) = (stream.from, stream.to);
            let header = stream.offer.header;
            let receives = self.runs(to, header.destination_incarnation);
            let whole = receives
                && self.runs(from, header.source_incarnation)
                && !self.cut.contains(&(from, to))
                && !self.cut.contains(&(to, from));
            if whole && self.move_stream(&mut stream) {
                self.streams.push(stream);
            } else if !whole {
                if receives && stream.stage != Stage::Offered {
                    self.input(to, Input::SnapshotLost);
                }
                self.fail(from, to);
            }
        }
    }

    fn runs(&self, node: u64, incarnation: Incarnation) -> bool {
        let replica = self.hosts.get(&node).and_then(|host| host.replica.as_ref());
        replica.is_some_and(|replica| replica.incarnation() == incarnation)
    }

    fn fail(&mut self, from: u64, to: u64) {
        self.input(from, Input::SnapshotFailed { node: NodeId(to) });
    }

    /// Whether it goes on.
    fn move_stream(&mut self, stream: &mut Stream) -> bool {
        let (from, to) = (stream.from, stream.to);
        match stream.stage {
            Stage::Offered => {
                self.hosts.get_mut(&to).expect("it runs").taken = None;
                self.input(to, Input::SnapshotOffered { message: stream.offer.clone() });
                stream.stage = Stage::Items;
                if self.hosts[&to].taken == Some(true) {
                    return true;
                }
                self.fail(from, to);
                false
            }
            Stage::Items => {
                let sender = &self.hosts[&from];
                let behind = std::ops::Bound::Excluded(stream.behind.clone());
                match sender.data.range((behind, std::ops::Bound::Unbounded)).next() {
                    Some((key, value)) => {
                        stream.behind.clone_from(key);
                        stream.keystore.data.insert(key.clone(), value.clone());
                    }
                    None => {
                        stream.keystore.snapshot.consistent = sender.applied;
                        stream.stage = Stage::Installing;
                    }
                }
                true
            }
            Stage::Installing => {
                self.install(to, stream.keystore.clone());
                self.input(from, Input::SnapshotSent { node: NodeId(to) });
                false
            }
        }
    }

    /// On the disk, and then the machine is told.
    fn install(&mut self, node: u64, keystore: Keystore) {
        let host = self.hosts.get_mut(&node).expect("it runs");
        let snapshot = keystore.snapshot.clone();
        (host.applied, host.durable) = (snapshot.start, snapshot.start.position);
        host.data.clone_from(&keystore.data);
        host.keystore = Some(keystore);
        self.input(node, Input::SnapshotInstalled { snapshot });
    }
}
