//! Lease arithmetic. Both directions are alike: one side promises for G from *receipt*, the other relies on it for D from its
//! *own* send time, which came back as an echo. Whatever the network does, the promise outlives the reliance.
//!
//! ```text
//! relies    s ---------- D ---------->|          by its own clock, from when it sent
//!            \                          .
//! promises    r --------------- G --------------->|   by its own clock, from when it received
//! ```

use std::collections::BTreeMap;

use super::configuration::NodeId;
use super::pace::Lengths;
use super::rules::{Rule, Rules};
use crate::config;
use crate::time::{Duration, Time};

/// How long things take and how long one waits for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// D: how long a lease lasts. A follower's is always the longest.
    pub lease: Lengths,
    /// Between two beacons of a leader, and two acks of an idle follower.
    pub beacon: Duration,
    /// Silence after which a leader asks to leave a member out, and takes the coordinator for gone.
    pub silence: Duration,
    /// How much longer than others a leader may be silent while nothing is wrong with it; `silence` has it too.
    pub slack: Duration,
    /// Between two heartbeats of the coordinator.
    pub heartbeat: Duration,
    /// Without an answer for so long something is sent again.
    pub resend: Duration,
    /// How long a read waits for a lease or a round.
    pub patience: Duration,
    /// How long a member's disk may be full before it is left out (D4).
    pub full: Duration,
    /// Silence after which the coordinator looks for another leader.
    pub leader_silence: Lengths,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            lease: Lengths { calm: config::CLUSTER_LEASE_CALM, longest: config::CLUSTER_LEASE },
            beacon: config::CLUSTER_BEACON,
            silence: config::CLUSTER_SILENCE,
            slack: Duration(0),
            heartbeat: config::CLUSTER_HEARTBEAT,
            resend: config::CLUSTER_RESEND,
            patience: config::CLUSTER_READ_PATIENCE,
            full: config::CLUSTER_FULL_PATIENCE,
            leader_silence: Lengths {
                calm: config::CLUSTER_LEADER_SILENCE_CALM,
                longest: config::CLUSTER_LEADER_SILENCE,
            },
        }
    }
}

impl Timing {
    /// Who is silent is left out long before its lease ends, so that nothing but the leases keeps a stale value from being
    /// read. For tests: with the default a silent server's lease has mostly run out by itself when it is left out.
    #[must_use]
    pub const fn impatient() -> Self {
        Self {
            lease: Lengths::always(Duration::from_millis(300)),
            beacon: Duration::from_millis(20),
            silence: Duration::from_millis(60),
            slack: Duration(0),
            heartbeat: Duration::from_millis(20),
            resend: Duration::from_millis(20),
            patience: Duration::from_millis(1000),
            full: Duration::from_millis(300),
            leader_silence: Lengths::always(Duration::from_millis(60)),
        }
    }

    /// G: how long a promise binds, at most.
    #[must_use]
    pub const fn promise(&self, rules: Rules) -> Duration {
        promise_for(self.lease.longest, rules)
    }
}

/// G: how long a promise binds that a lease of this length is to rely on.
#[must_use]
pub const fn promise_for(lease: Duration, rules: Rules) -> Duration {
    // R21: clock rates differ by at most 10 %, so 1.25 D by the slower outlasts D by the faster; 5 ms for the rest
    if rules.hold(Rule::R21) { Duration(lease.0 + lease.0 / 4 + 5_000_000) } else { lease }
}

/// What one side has promised: nothing before this instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Promise {
    until: Time,
}

impl Promise {
    /// Binds for G from now.
    pub fn make(&mut self, now: Time, g: Duration) {
        self.until = self.until.max(now.after(g));
    }

    /// What was promised to one that is dead, or gave it back, binds no more.
    pub const fn release(&mut self) {
        self.until = Time(0);
    }

    /// How long it still binds.
    #[must_use]
    pub const fn left(&self, now: Time) -> Duration {
        self.until.since(now)
    }

    /// Whether it binds no more.
    #[must_use]
    pub const fn has_ended(&self, now: Time) -> bool {
        self.left(now).0 == 0
    }

    /// When it ends.
    #[must_use]
    pub const fn until(&self) -> Time {
        self.until
    }
}

/// The newest own send times that came back with a promise, of each server asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Echoes {
    newest: BTreeMap<NodeId, Time>,
}

impl Echoes {
    /// `node` promised on receipt of what was sent at `sent`. An older echo changes nothing, however late it comes.
    pub fn note(&mut self, node: NodeId, sent: Time) {
        let newest = self.newest.entry(node).or_default();
        *newest = (*newest).max(sent);
    }

    /// `node` is heard of no more.
    pub fn forget(&mut self, node: NodeId) {
        self.newest.remove(&node);
    }

    /// Since when all of `needed` have promised: the oldest of their newest echoes. Never, if one has not; always, if
    /// nobody is needed.
    #[must_use]
    pub fn round(&self, needed: impl IntoIterator<Item = NodeId>) -> Option<Time> {
        needed
            .into_iter()
            .try_fold(Time(u64::MAX), |oldest, node| self.newest.get(&node).map(|&newest| oldest.min(newest)))
    }

    /// When the lease ends that relies on all of `needed`, for `relied(sent)` on what came back of what was sent then.
    #[must_use]
    pub fn deadline(
        &self,
        needed: impl IntoIterator<Item = NodeId>,
        relied: impl Fn(Time) -> Duration,
    ) -> Option<Time> {
        let end = |node| self.newest.get(&node).map(|&newest| newest.after(relied(newest)));
        needed.into_iter().try_fold(Time(u64::MAX), |first, node| end(node).map(|end| first.min(end)))
    }
}

/// A step of a read at any server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadStep {
    /// Take the value from the store, if its key is not locked.
    Value,
    /// Take the deadline from the machine.
    Deadline,
    /// Read the clock, and answer if the deadline has not passed.
    Clock,
}

/// The order of a read's steps: a thread may be stopped for any time between two of them.
///
/// The deadline is the one that was known before the value was taken. If it has not passed when the clock is read at last, the
/// lease that it belongs to held when the value was taken, and nothing that replaces the value was committed before that. A
/// deadline that is taken behind the value may be of a later lease: in between the server may have been left out, missed
/// writes, and come back. (`a_thread_that_is_stopped_in_a_read` in the scenarios shows both.)
#[must_use]
pub const fn read_order(rules: Rules) -> [ReadStep; 3] {
    // R24: lease expiry as known when the value is taken, clock last
    if rules.hold(Rule::R24Order) {
        [ReadStep::Deadline, ReadStep::Value, ReadStep::Clock]
    } else {
        [ReadStep::Clock, ReadStep::Deadline, ReadStep::Value]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_promise_outlasts_the_lease_at_any_pair_of_clock_rates() {
        for d in [1_000_000, 100_000_000, 10_000_000_000] {
            let timing = Timing { lease: Lengths::always(Duration(d)), ..Timing::default() };
            let g = timing.promise(Rules::ALL).0;
            // in true time a lease by the slowest clock lasts D / 0.9, a promise by the fastest G / 1.1
            assert!(g * 9 > d * 11, "{g} {d}");
            assert!(timing.promise(Rules::ALL.without(Rule::R21)).0 * 9 < d * 11);
        }
    }

    #[test]
    fn a_lease_needs_everyone_and_counts_from_the_oldest_echo() {
        let (a, b) = (NodeId(1), NodeId(2));
        let mut echoes = Echoes::default();
        let relied = |sent| if sent == Time(30) { Duration(1) } else { Duration(5) };
        assert_eq!(echoes.deadline([], relied), Some(Time(u64::MAX)), "who is alone needs nobody");
        echoes.note(a, Time(10));
        assert_eq!(echoes.round([a, b]), None);
        echoes.note(b, Time(20));
        assert_eq!(echoes.deadline([a, b], relied), Some(Time(15)));
        echoes.note(a, Time(30));
        echoes.note(a, Time(12));
        assert_eq!(echoes.deadline([a, b], relied), Some(Time(25)), "an old echo changes nothing");
        echoes.note(b, Time(29));
        assert_eq!(echoes.deadline([a, b], relied), Some(Time(31)), "the newer one was asked for less");
        echoes.forget(b);
        assert_eq!(echoes.round([a, b]), None);
    }

    #[test]
    fn a_promise_is_never_shortened_but_by_release() {
        let mut promise = Promise::default();
        promise.make(Time(100), Duration(50));
        promise.make(Time(90), Duration(50));
        assert_eq!(promise.left(Time(140)), Duration(10));
        assert!(promise.has_ended(Time(150)));
        promise.release();
        assert!(promise.has_ended(Time(0)));
    }
}
