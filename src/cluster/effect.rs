//! What a server's cluster machine is told and what it tells its surroundings to do.

use super::configuration::{Doubt, Epoch, Incarnation, LogId, LogIndex, Mark, Member, NodeId, NodeRecord, Position};
use super::frame::Frame;
use super::history::EpochStart;
use super::lease::Timing;
use super::message::{Digest, Message};
use super::rules::Rules;
use crate::log::Origin;
use crate::time::Time;

/// What a server knows of itself when it starts.
#[derive(Clone, Debug)]
pub struct Boot {
    /// As it was read back; `NodeRecord::new` at the first start.
    pub record: NodeRecord,
    /// Where others reach it.
    pub contact: String,
    /// The id of a log that is not empty and was written before the server was in a cluster: a cluster that it founds gets this id, and
    /// another cluster does not take it in. 0 when the log is empty or the record names a cluster.
    pub log_id: LogId,
    /// Where each epoch begins in its log.
    pub history: Vec<EpochStart>,
    /// Where its log stands; all of it is durable.
    pub end: Mark,
    /// The newest leader's time in the log.
    pub last_time: Time,
    /// How far the store is: what a snapshot held, 0 without one. Entries of the log above are not applied.
    pub applied: Mark,
    /// A snapshot's data is exact from here on; not beyond `applied` when it was made at rest.
    pub consistent: Mark,
    /// What was found to be wrong at this start; what the record remembers need not be said again. `Tail` when the machine
    /// went down without a sync of what was acked (`--fsync interval` and `never`), and wherever a tail was cut that may
    /// have been acked. A log that was found damaged is cut on the disk only on `Truncate`, which comes when the record
    /// that says so is durable.
    pub doubt: Doubt,
    /// Times and bounds.
    pub timing: Timing,
    /// Reads are confirmed with a round, `--reads=strict`.
    pub strict_reads: bool,
    /// A larger frame leaves in several datagrams, whose loss the transport repairs: `PiecesSettled` says when it has.
    pub whole_bytes: usize,
    /// The rules.
    pub rules: Rules,
}

impl Boot {
    /// Of a server that has no log and no data, at the usual times.
    #[must_use]
    pub fn empty(record: NodeRecord, contact: String) -> Self {
        let (end, applied, consistent) = <(Mark, Mark, Mark)>::default();
        let (history, last_time, doubt) = (Vec::new(), Time(0), Doubt::None);
        let (timing, strict_reads, rules) = (Timing::default(), false, Rules::ALL);
        let whole_bytes = usize::MAX;
        let log_id = LogId(0);
        Self {
            record,
            contact,
            log_id,
            history,
            end,
            last_time,
            applied,
            consistent,
            doubt,
            timing,
            strict_reads,
            whole_bytes,
            rules,
        }
    }
}

/// What makes a snapshot more than its items: the stream begins with where its log goes on and ends with where it is exact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The sender's commit when it began: the log goes on from here.
    pub start: Mark,
    /// The sender's commit when it ended. Items were read while entries between the two were applied, and an entry is a
    /// result, so that the data is exact when all entries up to here have been applied to it once more.
    pub consistent: Mark,
    /// Where each epoch up to `start` begins.
    pub history: Vec<EpochStart>,
    /// The newest leader's time at `start`.
    pub last_time: Time,
}

impl Snapshot {
    /// What is wrong with it, if anything: what a correct sender never says.
    #[must_use]
    pub fn fault(&self) -> Option<&'static str> {
        let Self { start, consistent, history, .. } = self;
        let grows = |a: &EpochStart, b: &EpochStart| {
            a.epoch < b.epoch && a.first_index < b.first_index && a.position < b.position
        };
        if consistent.position < start.position || !history.is_sorted_by(grows) {
            return Some("a snapshot that goes back");
        }
        let whole = match history.last() {
            Some(last) => {
                last.epoch == start.epoch && last.position < start.position && last.first_index <= start.index
            }
            None => *start == Mark::default(),
        };
        if whole { start.fault() } else { Some("a history that is not the log's") }
    }
}

/// Something that has happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// A `Persist` is done.
    RecordPersisted {
        /// The record's epoch.
        epoch: Epoch,
    },
    /// A message came.
    Received {
        /// Decoded and, where the transport does that, authenticated.
        message: Message,
    },
    /// Time has passed; comes every few milliseconds.
    Ticked,
    /// All large frames that were sent to that server have come there, or the transport has given them up.
    PiecesSettled {
        /// The server.
        node: NodeId,
    },
    /// At the leader: the write path made a frame. It continues the log, in the epoch of the last `BecameLeader`.
    FrameBuilt {
        /// The frame.
        bytes: Vec<u8>,
    },
    /// What was appended is on the disk up to here.
    Persisted {
        /// The end of a frame.
        upto: Position,
        /// The `cut` of the `Append` that wrote it.
        cut: u64,
    },
    /// The disk is full: nothing beyond this was written.
    Refused {
        /// The end of a frame.
        written: Position,
        /// As in `Persisted`.
        cut: u64,
    },
    /// A `Commit` is done and this is what the store holds now.
    Applied {
        /// Where, and what.
        digest: Digest,
    },
    /// The lifeline to that server ended in order: it is dead (R25).
    LifelineEnded {
        /// The server.
        node: NodeId,
        /// The incarnation that had opened the lifeline.
        incarnation: Incarnation,
    },
    /// The lifeline to that server was reset or refused: a hint and no proof (R25).
    LifelineLost {
        /// The server.
        node: NodeId,
        /// The incarnation that had opened the lifeline.
        incarnation: Incarnation,
    },
    /// Stop in order: hand the lead on.
    Resign,
    /// The server ends: what clients wrote here and nobody has decided is of unknown outcome (C2).
    GiveUpForwards,
    /// Say when reads are possible.
    ReadAsked {
        /// Comes back.
        ticket: u64,
    },
    /// At a follower: a client's write, for the leader.
    ForwardAsked {
        /// The write, as the leader's write path understands it.
        request: Vec<u8>,
    },
    /// At the leader: the write of `Forwarded` changed nothing and this is the answer. A write that made an entry with its
    /// origin needs no such input.
    ForwardAnswered {
        /// As in `Forwarded`.
        origin: Origin,
        /// What to say.
        reply: Vec<u8>,
    },
    /// What `ReadLog` asked for: frames without gaps; none when the log holds them no more.
    LogRead {
        /// As in `ReadLog`.
        node: NodeId,
        /// As in `ReadLog`.
        from: Mark,
        /// The frames.
        frames: Vec<Frame>,
    },
    /// A server opened a stream to this one, and this was the first in it.
    SnapshotOffered {
        /// The `offer` of the sender's `SendSnapshot`.
        message: Message,
    },
    /// All of the stream came and is on the disk: the keystore, and a log that begins at its start and is empty.
    SnapshotInstalled {
        /// What it is.
        snapshot: Snapshot,
    },
    /// The stream that was taken broke off.
    SnapshotLost,
    /// The stream of `SendSnapshot` was taken to its end and is installed there.
    SnapshotSent {
        /// To whom.
        node: NodeId,
    },
    /// It was not taken, or broke off.
    SnapshotFailed {
        /// To whom.
        node: NodeId,
    },
}

/// Something to do, in order.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Make the record durable, then say `RecordPersisted`.
    Persist {
        /// Replaces the record before it.
        record: NodeRecord,
    },
    /// Send a message.
    Send {
        /// To its header's destination.
        message: Message,
    },
    /// Write a frame at the log's end, then say `Persisted`.
    Append {
        /// The frame.
        frame: Frame,
        /// How often the log was truncated before.
        cut: u64,
    },
    /// Drop everything from here on, prepared entries and their locks too. What is below and still being written is said
    /// to be persisted with the new `cut`. May lie behind what is written while the disk is full: what was refused is not there.
    Truncate {
        /// Where the log stands then.
        to: Mark,
        /// How often the log has been truncated, this time included: comes back with `Persisted`.
        cut: u64,
    },
    /// Lock the keys of the frame's entries: reads of them wait until they are committed or truncated (R24). Comes after
    /// `Append` and before the frame can be acked.
    LockKeys {
        /// The frame.
        frame: Frame,
    },
    /// Apply all entries up to here, unlock their keys, answer the writes of this server's own clients.
    Commit {
        /// The end of a frame.
        upto: Mark,
    },
    /// This server leads: the write path goes on from here, in this epoch. Comes again for each epoch.
    BecameLeader {
        /// The epoch of coming frames.
        epoch: Epoch,
        /// The log's end, behind the epoch's no-op.
        end: Mark,
        /// No coming frame is earlier.
        time: Time,
    },
    /// This server leads no more: entries that are not committed may be or not, their clients are told so (C2).
    SteppedDown,
    /// At the leader: evaluate this write and give its entry the origin.
    Forwarded {
        /// Who asked.
        origin: Origin,
        /// The write.
        request: Vec<u8>,
    },
    /// At a follower: the write got this number.
    ForwardTaken {
        /// Counts up from 1.
        number: u64,
    },
    /// At a follower: what became of a write.
    ForwardDone {
        /// Its number.
        number: u64,
        /// What became of it.
        outcome: Outcome,
    },
    /// Reads are possible now: take the value, then see whether the deadline has passed.
    ReadAllowed {
        /// As asked.
        ticket: u64,
        /// When the right to read ends.
        deadline: Time,
    },
    /// No reads here for now.
    ReadRefused {
        /// As asked.
        ticket: u64,
        /// Who may know, if anyone.
        leader: Option<NodeId>,
    },
    /// Read frames from the log on disk from here on, then say `LogRead`.
    ReadLog {
        /// For whom.
        node: NodeId,
        /// Where.
        from: Mark,
        /// About how many bytes.
        bytes: usize,
    },
    /// Open a stream to the offer's destination and send it the data: `offer` first; when that was taken, where the data
    /// stands that is applied then, the epochs that begin below (`Replica::epochs_below`), and the newest leader's time; then all items while entries
    /// go on being applied; then how far they are committed at the end. The log from the start on is kept meanwhile. Then
    /// say `SnapshotSent` or `SnapshotFailed`. It never keeps the loop from its other work.
    SendSnapshot {
        /// To whom, in the name of which epoch.
        offer: Message,
    },
    /// The stream that was offered is what this server needs: drop data, locks, log and any other such stream, install
    /// what comes, then say `SnapshotInstalled`, or `SnapshotLost`.
    TakeSnapshot,
    /// It is not: close it.
    RefuseSnapshot,
    /// Open a lifeline to this server, which names its incarnation on it, and not before that is durable: a process that
    /// ended earlier has the same one as the next.
    Watch {
        /// The server.
        member: Member,
    },
    /// Something worth a line in the operator's log.
    Report(Report),
}

/// What became of a forwarded write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Its entry is committed and applied here.
    Committed {
        /// The entry's index.
        index: LogIndex,
    },
    /// It changed nothing; this is the answer.
    Answered {
        /// As the leader's write path put it.
        reply: Vec<u8>,
    },
    /// Nobody knows: what this server had came from a snapshot since, and the log that would say it is not here.
    Unknown,
}

/// What an operator should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// This server adopted a configuration.
    Adopted {
        /// Its epoch.
        epoch: Epoch,
        /// Its leader.
        leader: NodeId,
    },
    /// As leader it serves: the epoch's no-op is committed.
    Serving {
        /// The epoch.
        epoch: Epoch,
    },
    /// A message of another cluster came.
    OtherCluster {
        /// From there.
        from: NodeId,
    },
    /// The coordinator does not let this server in: it holds data of another cluster.
    RefusedByCoordinator,
    /// This server's data is not the leader's.
    DigestDiffers {
        /// Where.
        position: Position,
    },
    /// The leader asks the coordinator to leave this server out.
    LeavesOut {
        /// The silent one.
        node: NodeId,
    },
    /// The log holds what this server needs no more.
    NeedsSnapshot {
        /// The server.
        node: NodeId,
    },
    /// This server's log or data is doubted from now on.
    Doubted {
        /// Why.
        doubt: Doubt,
    },
    /// It has all that is committed again.
    Trusted,
    /// An operator made this server lead, and it is in the middle of a snapshot: what it holds is nothing that ever was.
    CannotLead,
}
