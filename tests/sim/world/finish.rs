//! The end of a run: the cluster must come to itself within a bound, and then everything is compared.

use ringstore::cluster::Rules;
use ringstore::time::Duration;

use super::{START, World};
use crate::figures::Figures;
use crate::linear::{Op, Outcome, Verdict, check, explain};
use crate::plan::Plan;
use crate::request::{Key, key_bytes};

/// Within so long of quiet all servers are members again and serve.
pub const RECOVERY: Duration = Duration::from_millis(8000);

/// How often it is looked whether they do.
pub(super) const LOOK: Duration = Duration::from_millis(20);

impl World {
    /// A whole run: faults, quiet, checks.
    pub fn run(seed: u64, rules: Rules, plan: Plan, trace: bool) -> Figures {
        let (faulty, standing) = (plan.faulty, plan.standing);
        let mut world = Self::new(seed, rules, plan, trace);
        world.begin_faults();
        world.run_until(START.after(faulty));
        world.end_faults();
        world.recover();
        if world.is_beyond_repair() {
            world.figures.beyond_repair += 1;
            world.check_histories();
            world.sum_up();
            return world.figures;
        }
        if let Some(standing) = standing {
            world.stand(standing);
        }
        world.finish();
        world.sum_up();
        world.figures
    }

    fn sum_up(&mut self) {
        let figures = &mut self.figures;
        (figures.runs, figures.epochs) = (1, self.shared.checks.epochs() as u64);
        figures.network = self.network.tally();
        for host in &self.servers {
            figures.disk += host.disk.tally();
        }
    }

    /// Waits until all servers are members of one configuration whose leader serves.
    pub fn recover(&mut self) {
        let (from, bound) = (self.now, self.now.after(RECOVERY));
        while !self.is_whole_without(None) && !self.is_beyond_repair() {
            assert!(self.now < bound, "liveness: the cluster does not come to itself:\n{}", self.standing());
            self.run_until(self.now.after(LOOK));
        }
        let took = self.now.since(from).0 / 1_000_000;
        self.figures.recovery_ms_max = self.figures.recovery_ms_max.max(took);
        self.say(0, || "*** all servers are members again".into());
    }

    /// Whether the log of every member was damaged or wiped, so that none may lead and an operator has to decide (D1, D3): that
    /// happened at one server while another was still a member, and that one was left out by a change that was under way.
    pub fn is_beyond_repair(&self) -> bool {
        let Some(configuration) = self.coordinator.machine.as_ref().and_then(|machine| machine.configuration()) else {
            return false;
        };
        // a wiped disk makes another server of its machine
        let process_of = |node| self.servers.iter().find(|host| host.names.contains(&node))?.process.as_ref();
        let is_lost =
            |node| process_of(node).is_some_and(|one| one.node != node || (one.is_damaged() && !one.is_serving()));
        configuration.nodes().all(is_lost)
    }

    /// Whether all are members and serve, but perhaps one.
    pub(super) fn is_whole_without(&self, victim: Option<usize>) -> bool {
        let Some(configuration) = self.coordinator.machine.as_ref().and_then(|machine| machine.configuration()) else {
            return false;
        };
        let here = |host: &crate::host::Host| {
            host.process.as_ref().is_some_and(|process| {
                configuration.has(process.node)
                    && process.epoch() == configuration.epoch
                    && (process.is_serving() || process.follows())
            })
        };
        let leads = |host: &crate::host::Host| {
            host.process.as_ref().is_some_and(|process| process.node == configuration.leader && process.is_serving())
        };
        let mut concerned = self.servers.iter().filter(|host| Some(host.place) != victim);
        configuration.members.len() == concerned.clone().count() && concerned.clone().all(here) && concerned.any(leads)
    }

    /// Who stands where, for a message.
    pub(super) fn standing(&self) -> String {
        let mut text = String::new();
        let configuration = self.coordinator.machine.as_ref().map(|machine| format!("{:?}", machine.configuration()));
        text.push_str(&format!("  coordinator: {}\n", configuration.unwrap_or_else(|| "down".into())));
        for host in &self.servers {
            let process = host.process.as_ref().map_or_else(|| "down".into(), crate::host::Process::standing);
            text.push_str(&format!("  {}: {process}\n", host.name()));
        }
        text
    }

    /// Ends the clients' work, reads every key at every server, and compares.
    pub fn finish(&mut self) {
        self.plan.clients_stopped = true;
        self.wait(Duration::from_millis(2000), Self::clients_are_idle);
        for key in 0..self.plan.keys {
            for place in 1..=self.plan.servers {
                self.must_answer(place, key, &Op::Get);
            }
        }
        self.write_at_last();
        self.compare_stores();
        self.check_histories();
    }

    /// Whether what the clients were told has an explanation.
    pub fn check_histories(&mut self) {
        for key in 0..self.plan.keys {
            let history = self.history_of(key);
            let Err(misfit) = explain(&history, &self.shared.checks.written(&key_bytes(key))) else { continue };
            match check(&history) {
                Verdict::Linearizable => {}
                Verdict::Not(story) => panic!("the history of key {key} is not linearizable:\n{story}"),
                // in the order in which it was written it has none, and no other was found
                Verdict::Undecided => panic!("the history of key {key} is not explained by its log: {misfit}"),
            }
        }
    }

    /// Goes on until something is so, but no longer than that.
    fn wait(&mut self, most: Duration, done: impl Fn(&Self) -> bool) {
        let bound = self.now.after(most);
        while self.now < bound && !done(self) {
            self.run_until(self.now.after(Duration::from_millis(2)));
        }
    }

    /// A client asks, and must be answered: within the bound of a recovery, because a pause may end only now.
    pub(super) fn must_answer(&mut self, place: usize, key: Key, op: &Op) -> Outcome {
        let client = self.new_client(place);
        let bound = self.now.after(RECOVERY);
        while self.now < bound {
            let asked = self.ask(client, place, key, op.clone());
            self.wait(Duration::from_millis(100), |world| {
                *world.outcome_of(asked) != Outcome::Unknown || world.is_refused(asked)
            });
            if self.is_refused(asked) {
                self.run_until(self.now.after(LOOK));
            }
            let outcome = self.outcome_of(asked).clone();
            if outcome != Outcome::Unknown {
                return outcome;
            }
        }
        panic!("liveness: server {place} does not answer {op:?}:\n{}", self.standing());
    }

    /// A write through each server is done, and all have it.
    fn write_at_last(&mut self) {
        for place in 1..=self.plan.servers {
            let outcome = self.must_answer(place, 0, &Op::Set(format!("{place}00{}", self.history.len()).into_bytes()));
            assert_eq!(outcome, Outcome::Stored);
        }
    }

    /// All members hold the same, and all that is committed.
    fn compare_stores(&mut self) {
        // who was told to stop may be starting again
        self.wait(RECOVERY, |world| {
            let end = world.shared.checks.committed_end();
            world.servers.iter().all(|host| host.process.as_ref().is_some_and(|p| p.applied().position == end))
        });
        let end = self.shared.checks.committed_end();
        for process in self.servers.iter().map(|host| host.process.as_ref().expect("all run")) {
            process.check_invariants();
            assert_eq!(process.applied().position, end, "a member has applied what is committed");
            assert_eq!(&process.items(), self.shared.checks.items(), "a member holds what the committed log says");
        }
    }
}
