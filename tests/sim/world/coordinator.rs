//! The coordinator's process: its machine, its disk with one record, its pauses and crashes.

use ringstore::cluster::{
    COORDINATOR, Configuration, Coordinator, CoordinatorBoot, CoordinatorEffect, CoordinatorInput,
};
use ringstore::log::{Epoch, LogId};
use ringstore::time::Time;

use super::{Event, TICK, World, describe};
use crate::dice::Dice;
use crate::disk::{Disk, Job, Latency};
use crate::host::Arrival;
use crate::network::Way;
use crate::time::{Clock, Inbox};
use ringstore::time::Duration;

/// See the module.
pub struct CoordinatorHost {
    clock: Clock,
    pub inbox: Inbox<Arrival>,
    pub disk: Disk<()>,
    pub machine: Option<Coordinator>,
    pub life: u64,
    dice: Dice,
    /// Configurations by the number that is on the disk.
    pub(super) records: Vec<Configuration>,
    in_flight: Option<Epoch>,
    fresh: u128,
    /// So many effects from now on it loses its power.
    pub crash_after: Option<u64>,
}

impl CoordinatorHost {
    pub fn new(dice: &mut Dice, now: Time, latency: Latency) -> Self {
        Self {
            clock: Clock::draw(dice, now),
            inbox: Inbox::new(100),
            disk: Disk::new(dice.split(), latency),
            machine: None,
            life: 0,
            dice: dice.split(),
            records: Vec::new(),
            in_flight: None,
            fresh: 0,
            crash_after: None,
        }
    }

    fn record(&self) -> Option<Configuration> {
        let number = <[u8; 8]>::try_from(self.disk.read(&())).ok()?;
        Some(self.records[u64::from_le_bytes(number) as usize].clone())
    }

    /// The newest configuration that was decided, durable or not.
    pub fn newest(&self) -> Option<&Configuration> {
        self.records.last()
    }

    /// When its disk is done with something.
    pub fn next_disk(&self) -> Option<Time> {
        if self.inbox.is_paused() { None } else { self.disk.next() }
    }
}

impl World {
    pub fn start_coordinator(&mut self) {
        let host = &mut self.coordinator;
        if host.machine.is_some() {
            return;
        }
        host.life += 1;
        host.fresh += 1;
        let boot = CoordinatorBoot {
            record: host.record(),
            fresh: LogId(1000 + host.fresh),
            min_insync: self.plan.min_insync,
            timing: self.shared.timing,
            rules: self.shared.rules,
        };
        let epoch = boot.record.as_ref().map_or(0, |record| record.epoch.0);
        host.machine = Some(Coordinator::start(host.clock.read(self.now), boot));
        let life = host.life;
        self.say(0, || format!("starts, its record is of epoch {epoch}"));
        self.schedule(TICK, Event::Tick(0, life));
    }

    pub(super) fn coordinator_receives(&mut self, arrival: Arrival, way: Way) {
        let host = &mut self.coordinator;
        if host.machine.is_none() {
            return;
        }
        if let Some(arrival) = host.inbox.offer(arrival, way == Way::Datagram) {
            self.coordinator_takes(arrival);
        }
    }

    fn coordinator_takes(&mut self, arrival: Arrival) {
        let input = match arrival {
            Arrival::Message(message) => {
                self.say(0, || format!("<- {}", describe(&message)));
                CoordinatorInput::Received { message }
            }
            Arrival::Lifeline { node, incarnation, ended: true } => {
                CoordinatorInput::LifelineEnded { node, incarnation }
            }
            Arrival::Lifeline { node, incarnation, ended: false } => {
                CoordinatorInput::LifelineLost { node, incarnation }
            }
            Arrival::Asked(..) | Arrival::Stream(..) | Arrival::Resign => unreachable!("only servers are asked that"),
        };
        self.coordinator_input(input);
    }

    pub(super) fn coordinator_tick(&mut self, life: u64) {
        if self.coordinator.life != life {
            return;
        }
        if !self.coordinator.inbox.is_paused() {
            self.coordinator_input(CoordinatorInput::Ticked);
        }
        if self.coordinator.life == life {
            self.schedule(TICK, Event::Tick(0, life));
        }
    }

    pub(super) fn coordinator_resumes(&mut self) {
        if self.coordinator.inbox.paused_until().is_none_or(|until| until > self.now) {
            return;
        }
        self.say(0, || "goes on".into());
        let waiting = self.coordinator.inbox.resume();
        self.figures.queued += waiting.len() as u64;
        for arrival in waiting {
            self.coordinator_receives(arrival, Way::Stream);
        }
    }

    pub(super) fn coordinator_disk(&mut self) {
        let Some(done) = self.coordinator.disk.take(self.now) else { return };
        let epoch = self.coordinator.in_flight.take().expect("one record at a time");
        if done.result.is_err() {
            self.say(0, || "ends: its disk has failed".into());
            return self.end_coordinator(false);
        }
        self.say(0, || format!("has made epoch {} durable", epoch.0));
        if !self.traps.is_empty() {
            self.on_decided();
        }
        self.coordinator_input(CoordinatorInput::Persisted { epoch });
    }

    fn coordinator_input(&mut self, input: CoordinatorInput) {
        let host = &mut self.coordinator;
        let Some(machine) = &mut host.machine else { return };
        let mut effects = Vec::new();
        let dice = &mut host.dice;
        machine.step(host.clock.read(self.now), input, &mut |n| dice.below(n), &mut effects);
        machine.check_invariants();
        for effect in effects {
            match &mut self.coordinator.crash_after {
                Some(0) => {
                    self.say(0, || "loses its power in the middle of a step".into());
                    return self.end_coordinator(true);
                }
                Some(left) => *left -= 1,
                None => {}
            }
            self.coordinator_effect(effect);
        }
    }

    fn coordinator_effect(&mut self, effect: CoordinatorEffect) {
        match effect {
            CoordinatorEffect::Persist { configuration } => {
                let members: Vec<u64> = configuration.nodes().map(|node| node.0).collect();
                let (epoch, leader) = (configuration.epoch, configuration.leader.0);
                self.say(0, || format!("decides epoch {}: {leader} leads {members:?}", epoch.0));
                let host = &mut self.coordinator;
                host.records.push(configuration);
                let number = (host.records.len() as u64 - 1).to_le_bytes().to_vec();
                host.disk.submit(self.now, Job::Replace((), number));
                host.in_flight = Some(epoch);
                if !self.traps.is_empty() {
                    self.on_deciding();
                }
            }
            CoordinatorEffect::Send { message } => {
                debug_assert_eq!(message.header.source, COORDINATOR);
                self.send(0, &message);
            }
            CoordinatorEffect::Watch { member, .. } => self.watch(0, member.node),
            CoordinatorEffect::ServerAhead { node, epoch } => {
                panic!("server {} is of epoch {}, which the coordinator does not know", node.0, epoch.0);
            }
            CoordinatorEffect::ForceRefused { .. } => unreachable!("no operator is here"),
            CoordinatorEffect::RefusedServer { node, .. } => {
                panic!("the coordinator refuses server {} as one of another cluster", node.0);
            }
        }
    }

    /// The coordinator's process or machine ends, and starts again some time later.
    pub(super) fn end_coordinator(&mut self, power: bool) {
        let host = &mut self.coordinator;
        host.machine = None;
        host.life += 1;
        host.inbox.clear();
        (host.in_flight, host.crash_after) = (None, None);
        if power {
            host.disk.crash();
        } else {
            host.disk.kill();
        }
        self.lifelines.retain(|lifeline| lifeline.watcher != 0);
        let (low, high) = self.plan.restarts;
        let after = Duration::from_millis(self.dice.skewed(low, high + high / 3));
        let life = self.coordinator.life;
        self.schedule(after, Event::Start(0, life));
    }
}
