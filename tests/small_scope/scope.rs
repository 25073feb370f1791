//! What is explored: where it begins, and how much of each kind of thing may happen.

use std::fmt;

use ringstore::cluster::{Lengths, Rules, Timing};
use ringstore::time::Duration;

/// One step of time. Every wait of the protocol is a small number of them, so that time advances by "the silence was
/// noticed", "the lease ran out", "the promise ran out".
pub const QUANTUM: Duration = Duration::from_millis(100);

/// How the cluster stands at the beginning, with nothing under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Three members, the first leads; all leases run.
    Three,
    /// Two members, the first leads; the third has just registered.
    Registered,
    /// Two members, the first leads; the third is a learner that holds everything.
    CaughtUp,
}

/// Who cannot reach whom from some point on. Servers 2 and 3 are alike, so 3 stands for both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing of the kind.
    None,
    /// The server's process ends; it may be started again.
    Crash(u8),
    /// As `Crash`, and the server never comes back.
    Death(u8),
    /// The coordinator's process ends and is started again.
    CoordinatorCrash,
    /// Nobody reaches it and it reaches nobody.
    Isolate(u8),
    /// As `Isolate`, but it and the coordinator reach each other.
    FromServers(u8),
    /// It hears others and is not heard.
    Mute(u8),
    /// It is heard and does not hear.
    Deaf(u8),
    /// These two do not reach each other.
    Apart(u8, u8),
    /// The second does not hear the first.
    OneWay(u8, u8),
    /// These two (0 is the coordinator) and the other two do not reach each other.
    Split(u8, u8),
}

impl Fault {
    /// The links that it cuts, as bits of `from * 4 + to`.
    #[must_use]
    pub fn cuts(self) -> u16 {
        let link = |from: u8, to: u8| 1_u16 << (from * 4 + to);
        let others = |node: u8| (0..4).filter(move |&other| other != node);
        let from = |node: u8| others(node).map(|to| link(node, to)).sum::<u16>();
        let to = |node: u8| others(node).map(|from| link(from, node)).sum::<u16>();
        match self {
            Self::None | Self::Crash(_) | Self::Death(_) | Self::CoordinatorCrash => 0,
            Self::Isolate(node) => from(node) | to(node),
            Self::FromServers(node) => (from(node) | to(node)) & !(link(node, 0) | link(0, node)),
            Self::Mute(node) => from(node),
            Self::Deaf(node) => to(node),
            Self::Apart(a, b) => link(a, b) | link(b, a),
            Self::OneWay(from, to) => link(from, to),
            Self::Split(a, b) => {
                let side = |node: u8| node == a || node == b;
                let pairs = (0..4).flat_map(|from| (0..4).map(move |to| (from, to)));
                pairs.filter(|&(from, to)| side(from) != side(to)).map(|(from, to)| link(from, to)).sum()
            }
        }
    }
}

/// See the module. Every budget is of one course of events.
#[derive(Clone, Copy, Debug)]
pub struct Scope {
    pub start: Start,
    pub fault: Fault,
    /// The partition may end.
    pub heals: bool,
    /// Writes to one key, by clients of whoever takes them.
    pub writes: u8,
    /// Writes are taken by followers too and sent on.
    pub forwards: bool,
    /// New configurations.
    pub changes: u8,
    /// How often time advances.
    pub time: u8,
    /// D, in steps of time.
    pub lease: u8,
    /// Messages that are lost, or come late, behind others.
    pub lost: u8,
    /// Messages that come a second time, whenever.
    pub doubled: u8,
    /// Messages under way on one link; more are lost.
    pub queue: u8,
    /// The leader may resign.
    pub resigns: bool,
    /// What is under way arrives and what is written is done before time advances, except for what is lost.
    pub prompt: bool,
    /// Timers of one instant fire one by one, with anything between them. Otherwise all at once, when time advances.
    pub phases: bool,
    /// Writes to logs take any time. Otherwise they are done at once.
    pub slow_logs: bool,
    /// So do records.
    pub slow_records: bool,
    /// States at which the search gives up; 0 for never.
    pub states: u64,
    pub rules: Rules,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { start, fault, writes, changes, time, lease, lost, doubled, .. } = self;
        write!(f, "{start:?}, {fault:?}, writes {writes}, changes {changes}, time {time}, lease {lease}")?;
        let named =
            [("lost", *lost > 0), ("doubled", *doubled > 0), ("heals", self.heals), ("forwards", self.forwards)];
        let more = [("resigns", self.resigns), ("phases", self.phases), ("slow logs", self.slow_logs)];
        let last = [("slow records", self.slow_records), ("not prompt", !self.prompt)];
        let given = named.into_iter().chain(more).chain(last).filter(|(_, given)| *given);
        given.into_iter().try_for_each(|(name, _)| write!(f, ", {name}"))
    }
}

impl Scope {
    /// Nothing but what the cluster does by itself.
    #[must_use]
    pub const fn new(start: Start, fault: Fault) -> Self {
        Self {
            start,
            fault,
            heals: false,
            writes: 2,
            forwards: false,
            changes: 1,
            time: 3,
            lease: 2,
            lost: 0,
            doubled: 0,
            queue: 3,
            resigns: false,
            prompt: true,
            phases: false,
            slow_logs: true,
            slow_records: true,
            states: 0,
            rules: Rules::ALL,
        }
    }

    /// All waits in steps of time. A promise outlasts a lease by less than one step: a lease of 2 steps has ended after 2, the
    /// promise for it after 3.
    #[must_use]
    pub const fn timing(&self) -> Timing {
        const fn steps(count: u64) -> Duration {
            Duration(count * QUANTUM.0)
        }
        Timing {
            lease: Lengths::always(steps(self.lease as u64)),
            beacon: steps(1),
            silence: steps(2),
            slack: steps(0),
            heartbeat: steps(1),
            resend: steps(1),
            // no reads wait, no disk is full
            patience: steps(2),
            full: steps(2),
            leader_silence: Lengths::always(steps(2)),
        }
    }
}
