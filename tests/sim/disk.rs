//! The disk of a node: jobs that take their time, and a crash that keeps of un-fsynced bytes what it likes. Owns the
//! bytes; knows nothing of what they mean.
//!
//! ```text
//! submit --queue, one at a time--> done: in the page cache --Sync--> durable
//!                                              |
//!                                            crash: each kept, lost or torn; what was still queued may have begun
//! ```

use std::collections::{BTreeMap, VecDeque};

use ringstore::time::{Duration, Time};

use crate::dice::Dice;

/// What is asked of a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Job<F> {
    /// More bytes at the end of a file.
    Append(F, Vec<u8>),
    /// The file ends here.
    Truncate(F, u64),
    /// Everything that was done to the file is durable.
    Sync(F),
    /// The file holds this and nothing else: written beside, synced, renamed, directory synced.
    Replace(F, Vec<u8>),
}

/// Why a job was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No space; nothing of it was written.
    Full,
    /// An input/output error. After one at a sync the process must not go on.
    Broken,
}

/// A finished job.
#[derive(Debug, PartialEq, Eq)]
pub struct Done {
    /// What `submit` gave.
    pub ticket: u64,
    pub result: Result<(), Refusal>,
}

/// How slow the disk is.
#[derive(Clone, Copy, Debug)]
pub struct Latency {
    pub write: (Duration, Duration),
    pub sync: (Duration, Duration),
}

impl Latency {
    /// The measured figures of a good day.
    pub const CALM: Self =
        Self { write: (Duration(3_000), Duration(10_000)), sync: (Duration(100_000), Duration(300_000)) };

    pub fn draw(dice: &mut Dice) -> Self {
        let write = Duration(dice.skewed(5_000, 1_000_000));
        let sync = Duration(dice.skewed(200_000, 30_000_000));
        Self { write: (Duration(3_000), write), sync: (Duration(100_000), sync) }
    }
}

/// What went wrong, so that a test can say that its faults took place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub torn: u64,
    pub lost: u64,
    /// Unsynced and there all the same.
    pub kept: u64,
    pub full: u64,
    pub broken: u64,
    pub flipped: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.torn += other.torn;
        self.lost += other.lost;
        self.kept += other.kept;
        self.full += other.full;
        self.broken += other.broken;
        self.flipped += other.flipped;
    }
}

/// Unit in which a crash tears.
const SECTOR: usize = 512;

#[derive(Clone, Debug)]
enum Change {
    Write { at: usize, bytes: Vec<u8> },
    Truncate { length: usize },
}

impl Change {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Self::Write { at, bytes } => {
                let end = at + bytes.len();
                to.resize(to.len().max(end), 0);
                to[*at..end].copy_from_slice(bytes);
            }
            Self::Truncate { length } => to.truncate(*length),
        }
    }
}

#[derive(Clone, Debug, Default)]
struct File {
    /// What a crash cannot take.
    durable: Vec<u8>,
    /// What readers see: `durable` and every change in `unsynced`, in order.
    seen: Vec<u8>,
    unsynced: Vec<Change>,
}

impl File {
    fn change(&mut self, change: Change) {
        change.apply(&mut self.seen);
        self.unsynced.push(change);
    }

    fn sync(&mut self) {
        for change in self.unsynced.drain(..) {
            change.apply(&mut self.durable);
        }
        debug_assert_eq!(self.durable, self.seen);
    }

    /// Every un-synced change is kept, lost or torn, whatever became of the others.
    fn crash(&mut self, dice: &mut Dice, tally: &mut Tally) {
        let fate = dice.below(4);
        for change in std::mem::take(&mut self.unsynced) {
            match if fate == 3 { dice.below(3) } else { fate } {
                0 => tally.lost += 1,
                1 => {
                    tally.kept += 1;
                    change.apply(&mut self.durable);
                }
                _ => {
                    tally.torn += 1;
                    tear(&change, &mut self.durable, dice);
                }
            }
        }
        self.seen.clone_from(&self.durable);
    }
}

/// Some sectors of a write reach the disk; the length of the file may be that of all of them.
fn tear(change: &Change, durable: &mut Vec<u8>, dice: &mut Dice) {
    let Change::Write { at, bytes } = change else { return };
    if dice.chance(0.5) {
        durable.resize(durable.len().max(at + bytes.len()), 0);
    }
    let mut from = 0;
    while from < bytes.len() {
        // sectors are those of the file, not those of the write
        let upto = bytes.len().min(((at + from) / SECTOR + 1) * SECTOR - at);
        if dice.chance(0.5) {
            Change::Write { at: at + from, bytes: bytes[from..upto].to_vec() }.apply(durable);
        }
        from = upto;
    }
}

/// The disk.
pub struct Disk<F> {
    dice: Dice,
    latency: Latency,
    files: BTreeMap<F, File>,
    queue: VecDeque<(Time, u64, Job<F>)>,
    tickets: u64,
    /// Bytes that all files together may hold.
    capacity: u64,
    /// The next job of this kind fails: (sync or not).
    broken: Option<bool>,
    tally: Tally,
}

impl<F: Ord + Clone> Disk<F> {
    pub const fn new(dice: Dice, latency: Latency) -> Self {
        Self {
            dice,
            latency,
            files: BTreeMap::new(),
            queue: VecDeque::new(),
            tickets: 0,
            capacity: u64::MAX,
            broken: None,
            tally: Tally { torn: 0, lost: 0, kept: 0, full: 0, broken: 0, flipped: 0 },
        }
    }

    pub const fn tally(&self) -> Tally {
        self.tally
    }

    pub const fn set_latency(&mut self, latency: Latency) {
        self.latency = latency;
    }

    /// From now on there is room for so many bytes more.
    pub fn leave_room(&mut self, bytes: u64) {
        self.capacity = self.used().saturating_add(bytes);
    }

    /// The next sync fails (`sync`), or the next write.
    pub const fn fail_next(&mut self, sync: bool) {
        self.broken = Some(sync);
    }

    /// What was to fail does not.
    pub const fn fail_no_more(&mut self) {
        self.broken = None;
    }

    fn used(&self) -> u64 {
        self.files.values().map(|file| file.seen.len() as u64).sum()
    }

    /// What a reader finds.
    pub fn read(&self, file: &F) -> &[u8] {
        self.files.get(file).map_or(&[], |file| &file.seen)
    }

    /// What is there whatever happens.
    pub fn durable(&self, file: &F) -> &[u8] {
        self.files.get(file).map_or(&[], |file| &file.durable)
    }

    /// Takes a job; it is done after those before it.
    pub fn submit(&mut self, now: Time, job: Job<F>) -> u64 {
        let (low, high) = match job {
            Job::Append(..) | Job::Truncate(..) => self.latency.write,
            Job::Sync(_) | Job::Replace(..) => self.latency.sync,
        };
        let begins = self.queue.back().map_or(now, |(before, ..)| now.max(*before));
        let at = begins.after(Duration(self.dice.between(low.0, high.0)));
        self.tickets += 1;
        self.queue.push_back((at, self.tickets, job));
        self.tickets
    }

    /// Does a job now and without a fault: at a start, when nothing else is under way.
    pub fn do_at_once(&mut self, job: Job<F>) {
        assert!(self.queue.is_empty(), "jobs are done in order");
        self.perform(job);
    }

    /// When the next job is done.
    pub fn next(&self) -> Option<Time> {
        self.queue.front().map(|(at, ..)| *at)
    }

    /// A job that is done by `now`.
    pub fn take(&mut self, now: Time) -> Option<Done> {
        let (at, ..) = self.queue.front()?;
        if *at > now {
            return None;
        }
        let (_, ticket, job) = self.queue.pop_front()?;
        let result = self.refusal(&job).map_or_else(
            || {
                self.perform(job);
                Ok(())
            },
            Err,
        );
        Some(Done { ticket, result })
    }

    fn refusal(&mut self, job: &Job<F>) -> Option<Refusal> {
        let is_sync = matches!(job, Job::Sync(_) | Job::Replace(..));
        if self.broken == Some(is_sync) {
            self.broken = None;
            self.tally.broken += 1;
            return Some(Refusal::Broken);
        }
        let more = match job {
            Job::Append(_, bytes) => bytes.len() as u64,
            Job::Replace(file, bytes) => (bytes.len() as u64).saturating_sub(self.read(file).len() as u64),
            Job::Truncate(..) | Job::Sync(_) => 0,
        };
        if more == 0 || self.used() + more <= self.capacity {
            return None;
        }
        self.tally.full += 1;
        Some(Refusal::Full)
    }

    fn perform(&mut self, job: Job<F>) {
        match job {
            Job::Append(file, bytes) => {
                let file = self.files.entry(file).or_default();
                let at = file.seen.len();
                file.change(Change::Write { at, bytes });
            }
            Job::Truncate(file, length) => {
                self.files.entry(file).or_default().change(Change::Truncate { length: length as usize });
            }
            Job::Sync(file) => self.files.entry(file).or_default().sync(),
            Job::Replace(file, bytes) => {
                let new = File { durable: bytes.clone(), seen: bytes, unsynced: Vec::new() };
                self.files.insert(file, new);
            }
        }
    }

    /// The machine loses its power: of what was queued some may have begun, of what was not synced some may be kept.
    pub fn crash(&mut self) {
        let begun = self.dice.below(self.queue.len() + 1);
        for (_, _, job) in std::mem::take(&mut self.queue).into_iter().take(begun) {
            // a sync that nobody heard of may have done its work or not, as a rename may
            let durable = matches!(job, Job::Sync(_) | Job::Replace(..));
            if (!durable || self.dice.chance(0.5)) && self.refusal(&job).is_none() {
                self.perform(job);
            }
        }
        for file in self.files.values_mut() {
            file.crash(&mut self.dice, &mut self.tally);
        }
        self.broken = None;
    }

    /// The process is killed and the machine goes on: everything written is there, nothing queued is lost or known.
    pub fn kill(&mut self) {
        let begun = self.dice.below(self.queue.len() + 1);
        for (_, _, job) in std::mem::take(&mut self.queue).into_iter().take(begun) {
            if self.refusal(&job).is_none() {
                self.perform(job);
            }
        }
        self.broken = None;
    }

    /// A new, empty disk.
    pub fn wipe(&mut self) {
        self.files.clear();
        self.queue.clear();
        self.broken = None;
    }

    /// Flips a bit of a byte of `file` in `range`; where, if there is one.
    pub fn flip(&mut self, file: &F, range: std::ops::Range<usize>) -> Option<usize> {
        let file = self.files.get_mut(file)?;
        let end = range.end.min(file.durable.len()).min(file.seen.len());
        if range.start >= end {
            return None;
        }
        let at = self.dice.between(range.start as u64, end as u64 - 1) as usize;
        let bit = 1 << self.dice.below(8);
        self.tally.flipped += 1;
        file.durable[at] ^= bit;
        file.seen[at] ^= bit;
        Some(at)
    }
}

#[cfg(test)]
mod tests;
