//! Where each epoch begins in a log. Two logs that hold a frame of the same epoch at the same place are alike up to there,
//! because an epoch has one leader and a frame is taken only behind the frame it was made behind. So two histories are
//! enough to find where two logs part.

use super::configuration::{Epoch, LogIndex, Mark, Position};
use crate::config;
use crate::log::{FrameHeader, FrameStart};

/// The first frame of an epoch in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochStart {
    /// The epoch.
    pub epoch: Epoch,
    /// Index of its first entry.
    pub first_index: LogIndex,
    /// Where its first frame begins.
    pub position: Position,
}

impl EpochStart {
    /// As if this frame were the first of its epoch.
    #[must_use]
    pub const fn of(header: &FrameHeader) -> Self {
        let FrameStart { epoch, first_index, position, .. } = header.start;
        Self { epoch, first_index, position }
    }
}

/// The newest of them and the log's end. Invariant: epochs, indices and positions grow, and the end is behind the last start.
/// Old ones are forgotten: when the first one kept is not at 0, nothing is known of what is below it but that it is committed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    starts: Vec<EpochStart>,
    end: Mark,
}

impl History {
    /// Of a log that was read back.
    #[must_use]
    pub fn new(starts: Vec<EpochStart>, end: Mark) -> Self {
        let history = Self { starts, end };
        history.check_invariants();
        history
    }

    /// Where the log stands.
    #[must_use]
    pub const fn end(&self) -> Mark {
        self.end
    }

    /// Where each epoch begins whose first frame is below `position`.
    pub fn starts_below(&self, position: Position) -> impl Iterator<Item = &EpochStart> {
        self.starts.iter().take_while(move |start| start.position < position)
    }

    /// Where `epoch` begins, if the log has a frame of it.
    #[must_use]
    pub fn start_of(&self, epoch: Epoch) -> Option<EpochStart> {
        self.starts.iter().rev().find(|start| start.epoch == epoch).copied()
    }

    /// A frame was appended whose mark is `mark` and which began at `start`.
    pub fn push(&mut self, start: EpochStart, mark: Mark) {
        assert!(start.position == self.end.position, "a frame begins where the log ends");
        assert!(start.first_index.0 == self.end.index.0 + 1, "indices continue");
        assert!(start.epoch >= self.end.epoch, "epochs never go back");
        if start.epoch > self.end.epoch {
            self.starts.push(start);
        }
        self.end = mark;
    }

    /// Forgets the oldest past the bound, as far as another has begun below `commit`.
    pub fn trim(&mut self, commit: Position) {
        let surplus = self.starts.len().saturating_sub(config::HISTORY_EPOCHS_MAX);
        if surplus > 0 {
            let committed = self.starts.partition_point(|start| start.position < commit).saturating_sub(1);
            self.starts.drain(..surplus.min(committed));
        }
    }

    /// Whether `position` lies where nothing is known but that this log was committed beyond it: so it is every leader's there.
    #[must_use]
    pub fn forgot(&self, position: Position) -> bool {
        position.0 > 0 && self.starts.first().is_some_and(|first| position <= first.position)
    }

    /// The log was cut; it ends with `to` now.
    pub fn truncate(&mut self, to: Mark) {
        assert!(to.position <= self.end.position, "a log is cut, not grown");
        self.starts.retain(|start| start.position < to.position);
        self.end = to;
        self.check_invariants();
    }

    /// The epoch of the frame that ends at `position` or goes across it; 0 at the log's beginning, and where it is forgotten.
    fn epoch_before(&self, position: Position) -> Epoch {
        let later = self.starts.partition_point(|start| start.position < position);
        later.checked_sub(1).map_or(Epoch(0), |last| self.starts[last].epoch)
    }

    /// Whether this log is known to have `mark` in it: the same frame ends there.
    #[must_use]
    pub fn contains(&self, mark: Mark) -> bool {
        mark.position <= self.end.position && self.epoch_before(mark.position) == mark.epoch
    }

    /// Where the last frame ends whose epoch is at most `epoch`; the log's beginning where that is forgotten.
    #[must_use]
    pub fn end_of(&self, epoch: Epoch) -> Mark {
        let later = self.starts.partition_point(|start| start.epoch <= epoch);
        let Some(next) = self.starts.get(later) else { return self.end };
        let Some(last) = later.checked_sub(1) else { return Mark::default() };
        Mark { epoch: self.starts[last].epoch, index: LogIndex(next.first_index.0 - 1), position: next.position }
    }

    /// Where this log may agree with another of which `theirs` is known: that mark if it is in this log, otherwise
    /// something older. Asked in turn, two logs come to where they part.
    #[must_use]
    pub fn agree(&self, theirs: Mark) -> Mark {
        if self.contains(theirs) {
            return theirs;
        }
        let mut own = self.end_of(theirs.epoch);
        if own.position > theirs.position {
            // of the same epoch both would be the same log up to the shorter; here they are not
            own = self.end_of(Epoch(theirs.epoch.0.saturating_sub(1)));
        }
        own
    }

    /// What must hold.
    pub fn check_invariants(&self) {
        let grows = |a: &EpochStart, b: &EpochStart| {
            a.epoch < b.epoch && a.first_index < b.first_index && a.position < b.position
        };
        assert!(self.starts.is_sorted_by(grows), "epochs begin in order");
        match self.starts.last() {
            Some(last) => {
                assert!(last.epoch == self.end.epoch, "the end is in the last epoch");
                assert!(last.position < self.end.position && last.first_index <= self.end.index);
            }
            None => assert!(self.end == Mark::default(), "a log without frames has not begun"),
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::prelude::*;
    use rand::rngs::StdRng;

    use super::*;

    /// A log of frames of 10 bytes and one entry each, with these epochs.
    fn log(epochs: &[u64]) -> History {
        let mut history = History::default();
        for &epoch in epochs {
            push(&mut history, epoch);
        }
        history.check_invariants();
        history
    }

    fn push(history: &mut History, epoch: u64) {
        let end = history.end();
        let first_index = LogIndex(end.index.0 + 1);
        let start = EpochStart { epoch: Epoch(epoch), first_index, position: end.position };
        history.push(start, mark(epoch, end.index.0 + 1));
    }

    fn mark(epoch: u64, frames: u64) -> Mark {
        Mark { epoch: Epoch(epoch), index: LogIndex(frames), position: Position(10 * frames) }
    }

    /// The two logs ask each other in turn, from the leader's end, as append and gap do.
    fn meet(leader: &History, follower: &History) -> Mark {
        let mut asked = leader.end();
        for _ in 0..20 {
            if follower.contains(asked) || follower.forgot(asked.position) {
                return asked;
            }
            asked = leader.agree(follower.agree(asked));
        }
        panic!("they do not come to an end");
    }

    #[test]
    fn two_logs_find_where_they_part() {
        let cases: [(&[u64], &[u64], u64); 9] = [
            (&[], &[], 0),
            (&[1, 1, 1], &[], 0),
            (&[1, 1, 2], &[1, 1], 2),
            (&[1, 1, 3], &[1, 1, 1, 1, 1], 2),
            (&[1, 2, 2, 5], &[1, 2, 2, 2, 3, 4, 4], 3),
            (&[1, 4, 4, 4], &[1, 2, 3, 3, 3, 3], 1),
            (&[2, 2], &[1, 1, 1], 0),
            (&[1, 1, 1, 1, 1, 6], &[1, 2, 3, 4, 5], 1),
            (&[1, 2, 3, 4, 9], &[1, 2, 5, 6, 7, 8], 2),
        ];
        for (leader, follower, frames) in cases {
            let met = meet(&log(leader), &log(follower));
            assert_eq!(met.index.0, frames, "{leader:?} {follower:?}");
            assert_eq!(met.position.0, 10 * frames);
        }
    }

    /// Which epoch each frame of a log has, of a leader that has all that was committed and of a server that was away.
    fn two_logs(rng: &mut StdRng) -> (Vec<u64>, Vec<u64>, usize) {
        let mut epoch = 1;
        let mut grow = |log: &mut Vec<u64>, frames: usize, rng: &mut StdRng| {
            for _ in 0..frames {
                epoch += u64::from(rng.random_bool(0.4)) * rng.random_range(1..3);
                log.push(epoch);
            }
        };
        let (common, committed) = (rng.random_range(0..40), rng.random_range(0..40));
        let mut leader = Vec::new();
        grow(&mut leader, common, rng);
        let mut other = leader.clone();
        let apart = rng.random_range(0..20);
        // the epochs of the two sides interleave and are never the same
        let from = *leader.last().unwrap_or(&0);
        other.extend((0..apart).map(|frame| from + 1 + 2 * (frame as u64 / 3)));
        let apart = rng.random_range(0..20);
        leader.extend((0..apart).map(|frame| from + 2 + 2 * (frame as u64 / 3)));
        (leader, other, committed.min(common))
    }

    #[test]
    fn with_old_epochs_forgotten_two_logs_still_meet_where_both_are_alike() {
        let (mut exact, mut older) = (0, 0);
        for seed in 0..2000 {
            let mut rng = StdRng::seed_from_u64(seed);
            let (leader, other, committed) = two_logs(&mut rng);
            let alike = leader.iter().zip(&other).take_while(|(a, b)| a == b).count() as u64;
            let (mut leader, mut other) = (log(&leader), log(&other));
            assert_eq!(meet(&leader, &other).index.0, alike, "seed {seed}: nothing is forgotten yet");
            let forget = |log: &mut History, rng: &mut StdRng| {
                let begun = log.starts.partition_point(|start| start.position.0 <= 10 * committed as u64);
                log.starts.drain(..rng.random_range(0..=begun.saturating_sub(1)).min(begun));
            };
            forget(&mut leader, &mut rng);
            forget(&mut other, &mut rng);
            let met = meet(&leader, &other);
            assert!(met.index.0 <= alike, "seed {seed}: {met:?} is beyond where they part");
            let known = |log: &History| !log.forgot(Position(10 * alike)) || alike == 0;
            if known(&leader) && known(&other) {
                assert_eq!(met.index.0, alike, "seed {seed}: both remember where they part");
                exact += 1;
            } else {
                older += 1;
            }
        }
        assert!(exact > 100 && older > 100, "{exact} {older}");
    }

    #[test]
    fn epochs_are_forgotten_past_a_bound_and_below_the_commit_only() {
        let epochs: Vec<u64> = (1..=config::HISTORY_EPOCHS_MAX as u64 + 50).collect();
        let mut history = log(&epochs);
        history.trim(Position(100));
        assert_eq!(history.starts[0].position, Position(90), "what is not committed may be asked for");
        history.trim(history.end().position);
        assert_eq!(history.starts.len(), config::HISTORY_EPOCHS_MAX);
        history.check_invariants();
        assert!(history.forgot(Position(500)) && !history.forgot(Position(510)) && !history.forgot(Position(0)));
        assert!(history.contains(Mark::default()) && !history.contains(mark(30, 30)));
        assert_eq!(history.agree(mark(30, 30)), Mark::default());
    }

    #[test]
    fn a_cut_log_goes_on_in_another_epoch() {
        let mut history = log(&[1, 1, 2, 3, 3]);
        assert_eq!(history.end_of(Epoch(2)), mark(2, 3));
        assert_eq!(history.end_of(Epoch(0)), Mark::default());
        assert!(history.contains(mark(1, 2)) && !history.contains(mark(2, 2)));
        history.truncate(mark(1, 2));
        assert_eq!(history.start_of(Epoch(2)), None);
        push(&mut history, 4);
        assert_eq!(history.end(), mark(4, 3));
        history.truncate(Mark::default());
        assert_eq!(history, History::default());
    }
}
