//! What must hold in every run, whatever happens. A violation is a panic that says which promise was broken.

use std::collections::BTreeMap;

use ringstore::cluster::{Digest, Frame, Mark};
use ringstore::log::{Entry, Epoch, Incarnation, NodeId, Position};

use crate::linear::Written;

use crate::data::{Items, Oracle};

/// What has been seen of the cluster from outside of it.
#[derive(Default)]
pub struct Checks {
    /// The committed log, by position: what one server has committed is so for ever and everywhere.
    committed: BTreeMap<u64, Frame>,
    /// The server that may commit in an epoch.
    leaders: BTreeMap<u64, (NodeId, Incarnation)>,
    /// That log, applied.
    oracle: Oracle,
    /// The oracle's digest of everything below a position.
    digests: BTreeMap<u64, u64>,
}

impl Checks {
    /// Where the committed log ends.
    pub fn committed_end(&self) -> Position {
        self.committed.values().next_back().map_or(Position(0), Frame::end)
    }

    /// What every server that has applied all of it must hold.
    pub const fn items(&self) -> &Items {
        self.oracle.items()
    }

    /// Elections seen: epochs in which a server led.
    pub fn epochs(&self) -> usize {
        self.leaders.len()
    }

    /// A server applies these frames, in order.
    pub fn on_commit<'a>(&mut self, node: NodeId, frames: impl Iterator<Item = &'a Frame>) {
        for frame in frames {
            if let Some(known) = self.committed.get(&frame.position().0) {
                assert!(known == frame, "{node:?} commits {frame:?} where {known:?} was committed");
                continue;
            }
            let end = self.committed_end();
            assert!(frame.position() == end, "{node:?} commits {frame:?}, the committed log ends at {}", end.0);
            self.committed.insert(frame.position().0, frame.clone());
            self.oracle.apply(frame);
            self.digests.insert(frame.end().0, self.oracle.digest());
        }
    }

    /// What the committed log says of a key, in its order.
    pub fn written(&self, key: &[u8]) -> Vec<Written> {
        let mut written = Vec::new();
        for frame in self.committed.values() {
            for entry in frame.view().entries() {
                match entry.expect("a whole entry") {
                    (index, Entry::Put { key: of, value, .. }) if of == key => {
                        written.push((index.0, Some(value.to_vec())));
                    }
                    (index, Entry::Delete { key: of, .. }) if of == key => written.push((index.0, None)),
                    _ => {}
                }
            }
        }
        written
    }

    /// A server begins to lead.
    pub fn on_lead(&mut self, node: NodeId, incarnation: Incarnation, epoch: Epoch) {
        let first = *self.leaders.entry(epoch.0).or_insert((node, incarnation));
        assert!(first == (node, incarnation), "{node:?} and {:?} both lead in epoch {}", first.0, epoch.0);
    }

    /// A server's store is like this.
    pub fn on_applied(&mut self, node: NodeId, digest: Digest) {
        let position = digest.position.0;
        let expected = self.digests.get(&position).unwrap_or_else(|| panic!("{node:?}: nothing ends at {position}"));
        assert!(*expected == digest.digest, "{node:?} holds other data than the log says at position {position}");
    }

    /// A server cuts its log.
    pub fn on_truncate(&mut self, node: NodeId, applied: Mark, to: Mark) {
        assert!(to.position >= applied.position, "{node:?} cuts its log below what it has applied");
    }
}

#[cfg(test)]
mod tests {
    use ringstore::log::{FrameBuilder, FrameStart, LogIndex};
    use ringstore::time::Time;

    use super::*;

    fn frame(position: u64, epoch: u64, index: u64) -> Frame {
        let mut builder = FrameBuilder::new();
        builder.begin(FrameStart {
            epoch: Epoch(epoch),
            first_index: LogIndex(index),
            position: Position(position),
            durable_upto: Position(0),
            time: Time(1),
        });
        builder.push(&Entry::NoOp);
        Frame::built(builder.take())
    }

    fn broken(check: impl FnOnce(&mut Checks) + std::panic::UnwindSafe) -> bool {
        std::panic::catch_unwind(|| {
            let mut checks = Checks::default();
            checks.on_commit(NodeId(1), [frame(0, 1, 1)].iter());
            check(&mut checks);
        })
        .is_err()
    }

    #[test]
    fn the_same_frame_is_committed_everywhere() {
        assert!(!broken(|checks| checks.on_commit(NodeId(2), [frame(0, 1, 1)].iter())));
        assert!(broken(|checks| checks.on_commit(NodeId(2), [frame(0, 2, 1)].iter())));
    }

    #[test]
    fn the_committed_log_has_no_gap() {
        let end = frame(0, 1, 1).end().0;
        assert!(!broken(move |checks| checks.on_commit(NodeId(2), [frame(end, 1, 2)].iter())));
        assert!(broken(move |checks| checks.on_commit(NodeId(2), [frame(end + 1, 1, 2)].iter())));
    }

    #[test]
    fn an_epoch_has_one_leader() {
        assert!(broken(|checks| {
            checks.on_lead(NodeId(1), Incarnation(1), Epoch(3));
            checks.on_lead(NodeId(1), Incarnation(1), Epoch(3));
            checks.on_lead(NodeId(2), Incarnation(1), Epoch(3));
        }));
    }

    #[test]
    fn a_store_holds_what_the_log_says() {
        let end = frame(0, 1, 1).end();
        // of a log with nothing but a no-op
        let digest = |digest| Digest { position: end, digest };
        assert!(!broken(move |checks| checks.on_applied(NodeId(1), digest(0))));
        assert!(broken(move |checks| checks.on_applied(NodeId(1), digest(1))));
    }

    #[test]
    fn nobody_cuts_what_it_has_applied() {
        let mark = |position| Mark { position: Position(position), ..Mark::default() };
        assert!(!broken(|checks| checks.on_truncate(NodeId(1), mark(5), mark(5))));
        assert!(broken(|checks| checks.on_truncate(NodeId(1), mark(5), mark(4))));
    }
}
