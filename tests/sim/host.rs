//! A simulated server: its disk, its clock, what waits for it, and, while it runs, the process with the cluster's machine
//! and the data plane. Carries out the machine's effects and feeds back what comes of them; what concerns others leaves
//! as `Out`. Decides nothing that the machine has to decide.

mod process;
mod reads;
mod snapshot;

use ringstore::cluster::{Boot, Doubt, Mark, Member, Message, NodeRecord, Rules, Snapshot, Timing};
use ringstore::log::layout::file;
use ringstore::log::{FileHeader, Incarnation, LogId, NodeId, Position};
use ringstore::time::Time;

use crate::checks::Checks;
use crate::dice::Dice;
use crate::disk::{Disk, Job, Latency};
use crate::linear::Outcome;
use crate::network::Address;
use crate::recovery::{self, Found, new_log, recover};
use crate::time::{Clock, Inbox};
use crate::trace::{Trace, name};
use crate::wire::Piece;
use process::Log;
pub use process::Process;

/// A server's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum File {
    Log,
    /// The data as of the log's beginning.
    Keystore,
    /// Its identity and the newest configuration; the bytes are a number of `records`.
    Record,
}

/// A client's operation, by its number in the world.
pub type OpId = usize;

/// What comes to a server.
#[derive(Clone, Debug)]
pub enum Arrival {
    Message(Message),
    /// A lifeline to that server ended: in order, or not.
    Lifeline {
        node: NodeId,
        incarnation: Incarnation,
        ended: bool,
    },
    /// A client asks.
    Asked(OpId, crate::request::Key, crate::linear::Op),
    /// Of a stream, from a place.
    Stream(Address, u64, Piece),
    /// SIGTERM.
    Resign,
}

/// What a server does that concerns others.
#[derive(Debug)]
pub enum Out {
    Send(Message),
    Watch(Member),
    /// The client's answer.
    Answer(OpId, Outcome),
    /// The client is told that it was not done.
    Refuse(OpId),
    /// The client's connection is closed: nobody knows.
    Hangup(OpId),
    /// Another step of this read is due after so many nanoseconds.
    ReadStep(u64, u64),
    /// Of a stream that there is.
    Stream(Address, u64, Piece),
    /// Of one that is opened to a server of that name.
    Open(NodeId, u64, Piece),
    /// It serves as leader.
    Serving,
}

/// What everything in a run shares.
pub struct Shared {
    pub checks: Checks,
    pub trace: Trace,
    pub dice: Dice,
    pub rules: Rules,
    pub timing: Timing,
    pub strict_reads: bool,
    /// How often a read is stopped between two of its steps.
    pub read_stall: f64,
    /// Streams opened so far.
    pub streams: u64,
    /// What write paths count to.
    pub stats: ringstore::stats::Shared,
}

/// See the module.
pub struct Host {
    pub place: Address,
    pub clock: Clock,
    pub inbox: Inbox<Arrival>,
    pub disk: Disk<File>,
    pub process: Option<Process>,
    /// Counts up at each start and each end, so that what was meant for an older process is known.
    pub life: u64,
    records: Vec<NodeRecord>,
    /// The name of a server that has no record yet.
    pub fresh_name: NodeId,
    /// All names that it has had: a wiped disk makes another server of it.
    pub names: Vec<NodeId>,
    /// So many effects from now on the machine ends, in the middle of a step.
    pub crash_after: Option<u64>,
    /// The log is shortened at the next tick.
    pub shorten: bool,
    /// Its clock when it last did something.
    pub(crate) last_turn: Time,
    /// The clock as a thread had taken it that was stopped then and goes on now with all that has come meanwhile.
    pub(crate) turn_clock: Option<Time>,
}

/// Arrivals that a paused server's socket holds.
const SOCKET_BUFFER: usize = 200;

impl Host {
    pub fn new(place: Address, dice: &mut Dice, now: Time, latency: Latency) -> Self {
        Self {
            place,
            clock: Clock::draw(dice, now),
            inbox: Inbox::new(SOCKET_BUFFER),
            disk: Disk::new(dice.split(), latency),
            process: None,
            life: 0,
            records: Vec::new(),
            fresh_name: NodeId(place as u64),
            names: vec![NodeId(place as u64)],
            crash_after: None,
            shorten: false,
            last_turn: Time(0),
            turn_clock: None,
        }
    }

    pub fn name(&self) -> String {
        name(self.place)
    }

    pub const fn is_up(&self) -> bool {
        self.process.is_some()
    }

    /// The record that is on the disk.
    fn record(&self) -> NodeRecord {
        match <[u8; 8]>::try_from(self.disk.read(&File::Record)) {
            Ok(number) => self.records[u64::from_le_bytes(number) as usize].clone(),
            Err(_) => NodeRecord::new(self.fresh_name),
        }
    }

    fn keep_record(&mut self, record: NodeRecord) -> Vec<u8> {
        self.records.push(record);
        (self.records.len() as u64 - 1).to_le_bytes().to_vec()
    }

    /// The process starts: reads its disk and begins to run.
    pub fn start(&mut self, now: Time, shared: &mut Shared) -> Vec<Out> {
        assert!(self.process.is_none(), "it runs already");
        self.life += 1;
        let record = self.record();
        let keystore = self.disk.read(&File::Keystore).to_vec();
        let nothing =
            Snapshot { start: Mark::default(), consistent: Mark::default(), history: Vec::new(), last_time: Time(0) };
        let Snapshot { start, consistent, history, last_time } =
            recovery::keystore(&keystore, |_| ()).unwrap_or(nothing);
        let mut found = recover(self.disk.read(&File::Log));
        found.behind(start);
        let base = self.prepare_log(&found, start, last_time);
        if found.doubt == Doubt::Corruption {
            shared.trace.line(now, &self.name(), || "finds its log corrupt".into());
        }
        let boot = Boot {
            record,
            contact: self.place.to_string(),
            log_id: LogId(0),
            history: found.history(history),
            end: found.end(start),
            last_time: found.last_time(last_time),
            applied: start,
            consistent,
            doubt: found.doubt,
            timing: shared.timing,
            strict_reads: shared.strict_reads,
            whole_bytes: usize::MAX,
            rules: shared.rules,
        };
        shared.trace.line(now, &self.name(), || {
            let (node, end, doubt) = (boot.record.node, boot.end.index, boot.record.doubt);
            format!("starts as {node:?}, its log ends at {end:?}, doubt {doubt:?}")
        });
        let local = self.clock.read(now);
        let log = Log { frames: found.frames, keystore, base };
        let (mut process, said) = Process::start(local, boot, log, shared.dice.number());
        process.step(local, shared, |core, scene| core.begin(said, scene));
        self.process = Some(process);
        self.crash_after = None;
        let mut outs = Vec::new();
        self.carry_out(now, &mut outs, shared);
        self.pump_disk(now);
        outs
    }

    /// What was read is durable before it is trusted. A torn tail is cut; what is cut off as corrupt is not, before the
    /// machine says so. Where the log begins.
    fn prepare_log(&mut self, found: &Found, start: Mark, last_time: Time) -> Position {
        let base = FileHeader::decode(self.disk.read(&File::Log)).ok().map(|header| header.position);
        let whole = found.end(start).position;
        let reaches = |base: &Position| {
            // a log that is to be cut is cut when the record says why
            found.doubt == Doubt::Corruption || !found.frames.is_empty() || *base == start.position
        };
        match base.filter(|base| found.keep_bytes > 0 && reaches(base)) {
            Some(base) => {
                if found.doubt == Doubt::None {
                    self.disk.do_at_once(Job::Truncate(File::Log, whole.0 - base.0 + file::BYTES as u64));
                }
                self.disk.do_at_once(Job::Sync(File::Log));
                base
            }
            None => {
                self.disk.do_at_once(Job::Replace(File::Log, new_log(start, last_time)));
                start.position
            }
        }
    }

    /// The process ends and everything in memory with it: the clients that waited.
    pub fn end(&mut self) -> Vec<OpId> {
        self.life += 1;
        self.inbox.clear();
        self.crash_after = None;
        self.process.take().map(Process::waiting).unwrap_or_default()
    }

    /// The disk is a new one.
    pub fn wipe(&mut self) {
        self.disk.wipe();
        self.fresh_name = NodeId(self.place as u64 + 100);
        self.names.push(self.fresh_name);
    }

    /// Whether an effect of the machine is the one at which it dies.
    pub(crate) fn dies_now(&mut self) -> bool {
        match &mut self.crash_after {
            Some(0) => true,
            Some(left) => {
                *left -= 1;
                false
            }
            None => false,
        }
    }

    /// Whether it should be dead by now.
    pub fn is_dying(&self) -> bool {
        self.crash_after == Some(0)
    }
}
