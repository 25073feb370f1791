//! Faults that aim: they wait for a moment of a change of members or of an election and then cut, stop or kill where it
//! hurts most, some of them in stages. What random faults hit once in a million runs these hit in a dozen.

use ringstore::cluster::Member;
use ringstore::log::NodeId;
use ringstore::time::Duration;

use super::{Event, Fault, World};
use crate::network::Address;

/// A fault that waits for its moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trap {
    /// For a server that is let in.
    Join,
    /// For this follower to be left out.
    Shrink(Address),
    /// For a change under the same leader.
    Change,
    /// For another leader: then these are cut off for good.
    Election(Vec<Address>),
    /// For the coordinator to begin a change.
    Deciding,
}

/// What comes next in a fault that has begun.
#[derive(Clone, Debug)]
pub enum Stage {
    /// These neither hear the others nor are heard.
    Cut(Vec<Address>),
    /// All cuts end but that around one server.
    IsolateOnly(Address),
    /// Loses its power and starts again within so many milliseconds.
    PowerCycle(Address, u64),
    /// The process is killed, or its machine loses power, or is cut off.
    Lose(Address),
    CoordinatorDies,
}

impl World {
    fn all(&self) -> impl Iterator<Item = Address> + use<> {
        0..=self.plan.servers
    }

    fn cut_off(&mut self, side: &[Address]) {
        let others: Vec<Address> = self.all().filter(|place| !side.contains(place)).collect();
        self.network.partition(side, &others);
    }

    fn millis(&mut self, low: u64, high: u64) -> Duration {
        Duration(self.dice.skewed(low * 1_000_000, high * 1_000_000))
    }

    /// No cut ends before so much time has passed, and all end then.
    fn hold(&mut self, time: Duration) {
        self.hold_until = self.hold_until.max(self.now.after(time));
        self.schedule(time, Event::Mend);
    }

    fn sprung(&mut self, trap: &Trap) {
        self.figures.sprung += 1;
        self.say(0, || format!("*** sprung: {trap:?}"));
    }

    /// Begins a fault that aims.
    pub(super) fn set_trap(&mut self, fault: Fault) {
        let Some(leader) = self.leader_place() else { return };
        let followers: Vec<Address> = (1..=self.plan.servers).filter(|&place| place != leader).collect();
        let follower = *self.dice.pick(&followers);
        let mut trap = None;
        match fault {
            Fault::Mute => trap = Some(self.mute(leader, &followers)),
            Fault::LeaderFades => {
                self.network.partition(&[0], &[leader]);
                let after = self.millis(50, 1200);
                self.schedule(after, Event::Stage(Stage::Cut(vec![leader])));
                let time = self.millis(1500, 4000);
                self.hold(Duration(time.0 + after.0));
            }
            Fault::RestartUnderLease => {
                self.cut_off(&[leader]);
                let time = self.millis(500, 2500);
                self.hold(time);
                for place in followers {
                    let after = self.millis(1, 150);
                    self.schedule(after, Event::Stage(Stage::PowerCycle(place, 40)));
                }
            }
            Fault::RestartWhileSlow => {
                let until = self.now.after(self.millis(100, 600));
                self.server(follower).inbox.pause(until);
                self.schedule(until.since(self.now), Event::Resume(follower));
                for place in followers.into_iter().filter(|&place| place != follower) {
                    let after = self.millis(1, 60);
                    self.schedule(after, Event::Stage(Stage::PowerCycle(place, 20)));
                }
            }
            Fault::SplitAtJoin => trap = Some(Trap::Join),
            Fault::SplitAtShrink => {
                self.network.partition(&[leader], &[follower]);
                self.mend_later();
                trap = Some(Trap::Shrink(follower));
            }
            Fault::LoseLeaderAtChange => trap = Some(Trap::Change),
            Fault::CoordinatorDiesAtChange => trap = Some(Trap::Deciding),
            _ => unreachable!("{fault:?} does not aim"),
        }
        if let Some(trap) = trap.filter(|trap| !self.traps.contains(trap)) {
            self.traps.push(trap);
        }
    }

    /// The leader and some others hear and are not heard.
    fn mute(&mut self, leader: Address, followers: &[Address]) -> Trap {
        let mut side = vec![leader];
        for &place in &followers[1..] {
            if self.dice.chance(0.5) {
                side.push(place);
            }
        }
        for &from in &side {
            for to in self.all().filter(|to| !side.contains(to)) {
                self.network.cut(from, to);
            }
            // the others of its side know only what it tells them
            if from != leader {
                for other in self.all().filter(|other| !side.contains(other)) {
                    self.network.cut(other, from);
                }
            }
        }
        let time = self.millis(1500, 4000);
        self.hold(time);
        Trap::Election(side)
    }

    /// A leader asks for these members.
    pub(super) fn on_change_asked(&mut self, members: &[Member]) {
        let places: Vec<Address> = members.iter().filter_map(|member| self.place_of(member.node)).collect();
        let shrinks = |trap: &Trap| matches!(trap, Trap::Shrink(place) if !places.contains(place));
        if let Some(at) = self.traps.iter().position(shrinks) {
            let trap = self.traps.remove(at);
            self.sprung(&trap);
            let Trap::Shrink(place) = trap else { unreachable!("it was looked for") };
            self.cut_off(&[0, place]);
            let time = self.millis(600, 3500);
            self.hold(time);
        }
    }

    /// The coordinator has begun to make a configuration durable.
    pub(super) fn on_deciding(&mut self) {
        if let Some(at) = self.traps.iter().position(|trap| *trap == Trap::Deciding) {
            let trap = self.traps.remove(at);
            self.sprung(&trap);
            if self.dice.chance(0.5) {
                // before it is durable, or when nobody knows yet that it is
                let after = Duration(self.dice.between(0, 400_000));
                self.schedule(after, Event::Stage(Stage::CoordinatorDies));
            } else {
                self.coordinator.crash_after = Some(self.dice.between(0, 8));
            }
        }
    }

    /// A configuration is durable and nobody was told yet.
    pub(super) fn on_decided(&mut self) {
        let [.., before, decided] = self.coordinator.records.as_slice() else { return };
        let joined: Option<NodeId> = decided.nodes().find(|&node| !before.has(node));
        let (old, new) = (before.leader, decided.leader);
        for trap in std::mem::take(&mut self.traps) {
            match &trap {
                Trap::Join if joined.is_some() && old == new => self.split_at_join(&trap, joined, new),
                Trap::Change if old == new => {
                    self.sprung(&trap);
                    let leader = self.place_of(new).expect("a leader has a place");
                    let after = self.millis(0, 25);
                    self.schedule(after, Event::Stage(Stage::Lose(leader)));
                }
                Trap::Election(side) if old != new => {
                    self.sprung(&trap);
                    self.cut_off(side);
                }
                _ => self.traps.push(trap),
            }
        }
    }

    /// Only who is let in learns of it.
    fn split_at_join(&mut self, trap: &Trap, joined: Option<NodeId>, leader: NodeId) {
        let places = (joined.and_then(|node| self.place_of(node)), self.place_of(leader));
        let (Some(newcomer), Some(leader)) = places else { return };
        self.sprung(trap);
        self.cut_off(&[0, newcomer]);
        if self.dice.chance(0.5) {
            let time = self.millis(600, 3500);
            return self.hold(time);
        }
        // the coordinator is away until the others have forgotten what was before; then the old leader is alone
        let away = self.millis(3, 20);
        self.schedule(away, Event::Stage(Stage::Cut(vec![0])));
        let settled = self.millis(200, 3000);
        self.schedule(settled, Event::Stage(Stage::IsolateOnly(leader)));
        let alone = self.millis(300, 1500);
        self.hold(Duration(settled.0 + alone.0));
    }

    /// A fault goes on.
    pub(super) fn stage(&mut self, stage: Stage) {
        if !self.is_faulty() {
            return;
        }
        self.say(0, || format!("*** next: {stage:?}"));
        match stage {
            Stage::Cut(side) => self.cut_off(&side),
            Stage::IsolateOnly(place) => {
                self.network.heal(self.now);
                self.cut_off(&[place]);
            }
            Stage::PowerCycle(place, within) => {
                self.kill(place, false);
                self.restart_within(place, 1, within);
            }
            Stage::Lose(place) => match self.dice.below(3) {
                0 => {
                    self.kill(place, true);
                    self.restart_soon(place);
                }
                1 => {
                    self.kill(place, false);
                    self.restart_soon(place);
                }
                _ => {
                    self.cut_off(&[place]);
                    let time = self.some_time();
                    self.hold(time);
                }
            },
            Stage::CoordinatorDies => {
                if self.coordinator.machine.is_some() {
                    self.end_coordinator(true);
                }
            }
        }
    }
}
