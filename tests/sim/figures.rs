//! What happened in runs, in numbers: that the faults took place, and that under them work was done.

use std::collections::BTreeMap;
use std::fmt;

use crate::disk;
use crate::network;
use crate::world::Fault;

/// What came of a run, or of many.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    pub runs: u64,
    pub events: u64,
    pub faults: BTreeMap<Fault, u64>,
    /// Traps that were sprung.
    pub sprung: u64,
    pub network: network::Tally,
    pub disk: disk::Tally,
    /// Damaged datagrams that were refused.
    pub refused: u64,
    /// Datagrams and others that waited for a paused process.
    pub queued: u64,
    /// Runs with something that stayed wrong for long.
    pub standing: u64,
    /// Epochs in which a server led.
    pub epochs: u64,
    /// Times that a leader began to serve.
    pub elections: u64,
    pub writes_at_leaders: u64,
    pub writes_at_followers: u64,
    pub reads_at_leaders: u64,
    pub reads_at_followers: u64,
    /// Operations refused for certain, and those of which nobody knows.
    pub refusals: u64,
    pub unknown: u64,
    /// Snapshots that were installed.
    pub snapshots: u64,
    /// Runs in which every member's log was damaged: an operator would have to decide.
    pub beyond_repair: u64,
    /// Servers that held wrong data for a while.
    pub rotten: u64,
    /// Longest time from the end of all faults until all are members again, in milliseconds.
    pub recovery_ms_max: u64,
}

impl std::ops::AddAssign for Figures {
    fn add_assign(&mut self, other: Self) {
        for (fault, times) in other.faults {
            *self.faults.entry(fault).or_default() += times;
        }
        self.network += other.network;
        self.disk += other.disk;
        self.recovery_ms_max = self.recovery_ms_max.max(other.recovery_ms_max);
        for (sum, more) in [
            (&mut self.runs, other.runs),
            (&mut self.events, other.events),
            (&mut self.sprung, other.sprung),
            (&mut self.refused, other.refused),
            (&mut self.queued, other.queued),
            (&mut self.standing, other.standing),
            (&mut self.epochs, other.epochs),
            (&mut self.elections, other.elections),
            (&mut self.writes_at_leaders, other.writes_at_leaders),
            (&mut self.writes_at_followers, other.writes_at_followers),
            (&mut self.reads_at_leaders, other.reads_at_leaders),
            (&mut self.reads_at_followers, other.reads_at_followers),
            (&mut self.refusals, other.refusals),
            (&mut self.unknown, other.unknown),
            (&mut self.snapshots, other.snapshots),
            (&mut self.beyond_repair, other.beyond_repair),
            (&mut self.rotten, other.rotten),
        ] {
            *sum += more;
        }
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} runs, {} events, {} epochs, {} elections",
            self.runs, self.events, self.epochs, self.elections
        )?;
        let (writes, reads) = (self.writes_at_leaders, self.reads_at_leaders);
        writeln!(f, "acknowledged writes: {writes} at leaders, {} at followers", self.writes_at_followers)?;
        writeln!(f, "reads: {reads} at leaders, {} at followers", self.reads_at_followers)?;
        writeln!(f, "refused: {}, unknown: {}", self.refusals, self.unknown)?;
        writeln!(f, "snapshots installed: {}, beyond repair: {}", self.snapshots, self.beyond_repair)?;
        writeln!(f, "longest recovery after faults: {} ms", self.recovery_ms_max)?;
        writeln!(f, "standing faults: {}, traps sprung: {}", self.standing, self.sprung)?;
        let network::Tally { sent, lost, duplicated, replayed, damaged, late, reordered, clogged, cut_off } =
            self.network;
        writeln!(f, "datagrams: {sent} sent, {lost} lost, {duplicated} doubled, {replayed} old ones replayed")?;
        writeln!(f, "  {damaged} damaged and {} of them refused, {late} late, {reordered} reordered", self.refused)?;
        writeln!(f, "  {clogged} clogged, {cut_off} cut off, {} waited for a pause's end", self.queued)?;
        let disk::Tally { torn, lost, kept, full, broken, flipped } = self.disk;
        writeln!(f, "unsynced writes at power losses: {torn} torn, {lost} lost, {kept} kept")?;
        writeln!(f, "disks: {full} times full, {broken} errors, {flipped} bits flipped")?;
        write!(f, "faults:")?;
        for (fault, times) in &self.faults {
            write!(f, " {fault:?} {times}")?;
        }
        Ok(())
    }
}
