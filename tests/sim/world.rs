//! The whole of it: servers, coordinator, network and clients, moved by one queue of events in virtual time. A run is a
//! stretch of faults, then a quiet stretch in which the cluster must come to itself again, then the last checks.

mod clients;
mod coordinator;
mod faults;
mod finish;
#[cfg(test)]
mod scripted;
mod standing;
mod traps;

use std::collections::BTreeMap;

use ringstore::cluster::{Body, COORDINATOR, Message, Rules};
use ringstore::config::ServerConfig;
use ringstore::log::{Incarnation, NodeId};
use ringstore::time::{Duration, Time};

use crate::checks::Checks;
use crate::dice::Dice;
use crate::disk::Latency;
use crate::figures::Figures;
use crate::host::{Arrival, Host, Out, Shared};
use crate::linear::Operation;
use crate::network::{Address, Conditions, Network, Packet, Way};
use crate::plan::Plan;
use crate::request::Key;
use crate::time::{Clock, RATE_MAX, RATE_MIN};
use crate::trace::{Trace, name};
use crate::wire::{self, Wire};
use clients::Client;
use coordinator::CoordinatorHost;
pub use faults::Fault;
use traps::{Stage, Trap};

/// When a run begins.
pub const START: Time = Time(1_700_000_000_000_000_000);

/// Between two ticks of a machine, by the world's clock.
const TICK: Duration = Duration::from_millis(7);

/// What is due at some instant.
#[derive(Debug)]
enum Event {
    /// The machine at a place ticks, in this life of it.
    Tick(Address, u64),
    /// A read's next step at a server, in this life of it.
    Read(Address, u64, u64),
    /// A client does what it does next.
    Client(usize),
    /// A client has waited for long enough for this operation.
    Timeout(usize, usize),
    /// A pause ends.
    Resume(Address),
    /// A process starts again, in this life of it.
    Start(Address, u64),
    /// A process that was told to stop ends, in this life of it.
    End(Address, u64),
    /// Something goes wrong.
    Fault,
    /// A fault goes on.
    Stage(Stage),
    /// Cuts end, disks have room.
    Mend,
}

/// A lifeline: opened by a place to the process that ran at another one then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lifeline {
    watcher: Address,
    target: Address,
    node: NodeId,
    incarnation: Incarnation,
}

/// See the module.
pub struct World {
    now: Time,
    events: BTreeMap<(Time, u64), Event>,
    number: u64,
    dice: Dice,
    network: Network<Wire>,
    /// For encoding.
    scratch: Vec<u8>,
    servers: Vec<Host>,
    coordinator: CoordinatorHost,
    lifelines: Vec<Lifeline>,
    clients: Vec<Client>,
    history: Vec<(Key, Operation)>,
    shared: Shared,
    plan: Plan,
    figures: Figures,
    /// Faults that wait for their moment.
    traps: Vec<Trap>,
    /// Before this no cut ends: a fault in stages is under way.
    hold_until: Time,
    /// A server has lost data.
    damaged: bool,
}

impl World {
    /// The cluster of a seed, its processes started.
    pub fn new(seed: u64, rules: Rules, plan: Plan, trace: bool) -> Self {
        let mut dice = Dice::new(seed);
        let latency = if plan.calm { Latency::CALM } else { Latency::draw(&mut dice) };
        let conditions = if plan.calm { Conditions::CALM } else { Conditions::draw(&mut dice) };
        let servers = (1..=plan.servers).map(|place| Host::new(place, &mut dice, START, latency)).collect();
        let coordinator = CoordinatorHost::new(&mut dice, START, latency);
        let shared = Shared {
            checks: Checks::default(),
            trace: Trace::new(trace, START),
            dice: dice.split(),
            rules,
            timing: plan.timing,
            strict_reads: plan.strict_reads,
            read_stall: plan.read_stall,
            streams: 0,
            stats: ringstore::stats::Shared::new(ServerConfig::default(), 1, START),
        };
        let network = Network::new(dice.split(), conditions);
        let mut world = Self {
            now: START,
            events: BTreeMap::new(),
            number: 0,
            dice,
            network,
            scratch: Vec::new(),
            servers,
            coordinator,
            lifelines: Vec::new(),
            clients: Vec::new(),
            history: Vec::new(),
            shared,
            plan,
            figures: Figures::default(),
            traps: Vec::new(),
            hold_until: START,
            damaged: false,
        };
        if world.plan.extreme_clocks {
            for host in &mut world.servers {
                let rate = *world.dice.pick(&[RATE_MIN, RATE_MAX]);
                host.clock = Clock::new(START, host.clock.read(START), rate);
            }
        }
        world.start_coordinator();
        for place in 1..=world.plan.servers {
            world.start(place);
        }
        world.make_clients();
        world
    }

    fn schedule(&mut self, after: Duration, event: Event) {
        self.number += 1;
        self.events.insert((self.now.after(after), self.number), event);
    }

    fn say(&self, place: Address, what: impl FnOnce() -> String) {
        self.shared.trace.line(self.now, &name(place), what);
    }

    fn server(&mut self, place: Address) -> &mut Host {
        &mut self.servers[place - 1]
    }

    /// Where a server of that name is or was last.
    fn place_of(&self, node: NodeId) -> Option<Address> {
        if node == COORDINATOR {
            return Some(0);
        }
        self.servers.iter().find(|host| host.names.contains(&node)).map(|host| host.place)
    }

    /// Runs until `until`.
    pub fn run_until(&mut self, until: Time) {
        while let Some(at) = self.next().filter(|&at| at <= until) {
            self.now = self.now.max(at);
            self.step();
        }
        self.now = until;
    }

    fn next(&self) -> Option<Time> {
        let disks = self.servers.iter().filter(|host| !host.inbox.is_paused()).filter_map(|host| host.disk.next());
        let event = self.events.keys().next().map(|&(at, _)| at);
        let coordinator = self.coordinator.next_disk();
        disks.chain(event).chain(coordinator).chain(self.network.next()).min()
    }

    /// One thing that is due now.
    fn step(&mut self) {
        self.figures.events += 1;
        let now = self.now;
        if let Some(packet) = self.network.take(now) {
            return self.deliver(packet);
        }
        if self.coordinator.next_disk().is_some_and(|at| at <= now) {
            return self.coordinator_disk();
        }
        let busy = |host: &Host| !host.inbox.is_paused() && host.disk.next().is_some_and(|at| at <= now);
        if let Some(place) = self.servers.iter().position(busy).map(|at| at + 1) {
            return self.disk(place);
        }
        // what the network had for now may have been cut off or clogged
        let due = self.events.first_entry().filter(|event| event.key().0 <= now);
        let Some(event) = due.map(std::collections::btree_map::OccupiedEntry::remove) else { return };
        match event {
            Event::Tick(place, life) => self.tick(place, life),
            Event::Read(place, life, ticket) => self.read(place, life, ticket),
            Event::Client(client) => self.client_goes_on(client),
            Event::Timeout(client, op) => self.client_gives_up(client, op),
            Event::Resume(place) => self.resume(place),
            Event::Start(0, life) if self.coordinator.life == life => self.start_coordinator(),
            Event::Start(place, life) if place > 0 && self.server(place).life == life => self.start(place),
            Event::End(place, life) if self.server(place).life == life => {
                self.say(place, || "ends in order".into());
                self.kill(place, true);
                self.restart_soon(place);
            }
            Event::Start(..) | Event::End(..) => {}
            Event::Fault => self.fault(),
            Event::Stage(stage) => self.stage(stage),
            Event::Mend if self.now < self.hold_until => {
                self.schedule(Duration(self.hold_until.since(self.now).0), Event::Mend);
            }
            Event::Mend if self.is_faulty() => self.mend(),
            Event::Mend => {}
        }
    }

    fn deliver(&mut self, packet: Packet<Wire>) {
        let (to, way) = (packet.to, packet.way);
        let Some(arrival) = wire::receive(packet) else {
            self.figures.refused += 1;
            return;
        };
        if to == 0 {
            return self.coordinator_receives(arrival, way);
        }
        let host = self.server(to);
        if host.is_up()
            && let Some(arrival) = host.inbox.offer(arrival, way == Way::Datagram)
        {
            self.arrive(to, arrival);
        }
    }

    pub fn arrive(&mut self, place: Address, arrival: Arrival) {
        if let Arrival::Message(message) = &arrival {
            self.shared.trace.line(self.now, &name(place), || format!("<- {}", describe(message)));
        }
        let outs = self.servers[place - 1].arrive(self.now, arrival, &mut self.shared);
        self.outs(place, outs);
    }

    fn tick(&mut self, place: Address, life: u64) {
        if place == 0 {
            return self.coordinator_tick(life);
        }
        let host = &mut self.servers[place - 1];
        if host.life != life {
            return;
        }
        if !host.inbox.is_paused() {
            let outs = host.tick(self.now, &mut self.shared);
            self.outs(place, outs);
        }
        if self.server(place).life == life {
            self.schedule(TICK, Event::Tick(place, life));
        }
    }

    fn read(&mut self, place: Address, life: u64, ticket: u64) {
        let host = &mut self.servers[place - 1];
        if host.life != life {
            return;
        }
        if let Some(until) = host.inbox.paused_until() {
            let after = Duration(until.since(self.now).0 + 1000);
            return self.schedule(after, Event::Read(place, life, ticket));
        }
        let mut outs = Vec::new();
        host.read_step(self.now, ticket, &mut outs, &mut self.shared);
        host.pump_disk(self.now);
        self.outs(place, outs);
    }

    fn disk(&mut self, place: Address) {
        let (goes_on, outs) = self.servers[place - 1].disk_done(self.now, &mut self.shared);
        self.outs(place, outs);
        if !goes_on {
            self.say(place, || "ends: its disk has failed".into());
            self.kill(place, true);
            self.restart_soon(place);
        }
    }

    fn resume(&mut self, place: Address) {
        if place == 0 {
            return self.coordinator_resumes();
        }
        let (now, host) = (self.now, self.server(place));
        if host.inbox.paused_until().is_none_or(|until| until > now) {
            return;
        }
        host.turn_clock = Some(host.last_turn);
        let (life, waiting) = (host.life, host.inbox.resume());
        self.figures.queued += waiting.len() as u64;
        self.say(place, || format!("goes on, {} arrivals wait", waiting.len()));
        for arrival in waiting {
            if self.server(place).life == life {
                self.arrive(place, arrival);
            }
        }
        self.server(place).turn_clock = None;
    }

    /// Carries out what a server does that concerns others.
    fn outs(&mut self, place: Address, outs: Vec<Out>) {
        let life = self.server(place).life;
        for out in outs {
            match out {
                Out::Send(message) => self.send(place, &message),
                Out::Watch(member) => self.watch(place, member.node),
                Out::Answer(op, outcome) => self.answered(place, op, outcome),
                Out::Refuse(op) => self.refused(place, op),
                Out::Hangup(op) => self.hung_up(op),
                Out::ReadStep(ticket, nanos) => self.schedule(Duration(nanos), Event::Read(place, life, ticket)),
                Out::Stream(to, stream, piece) => {
                    self.figures.snapshots += u64::from(matches!(piece, wire::Piece::Installed));
                    self.network.send_stream(self.now, place, to, Wire::Stream(stream, piece));
                }
                Out::Open(node, stream, piece) => {
                    if let Some(to) = self.place_of(node) {
                        self.network.send_stream(self.now, place, to, Wire::Stream(stream, piece));
                    }
                }
                Out::Serving => self.figures.elections += 1,
            }
        }
        if self.server(place).is_dying() {
            self.say(place, || "loses its power in the middle of a step".into());
            self.kill(place, false);
            self.restart_soon(place);
        }
    }

    fn send(&mut self, from: Address, message: &Message) {
        let Some(to) = self.place_of(message.header.destination) else { return };
        if !self.traps.is_empty()
            && let Body::ChangeAsked { members } = &message.body
        {
            self.on_change_asked(members);
        }
        self.shared.trace.line(self.now, &name(from), || format!("-> {}", describe(message)));
        let datagram = wire::datagram(message, &mut self.scratch);
        self.network.send(self.now, from, to, datagram);
    }

    /// Opens a lifeline, if somebody of that name runs and can be reached.
    fn watch(&mut self, watcher: Address, node: NodeId) {
        let Some(target) = self.place_of(node).filter(|&target| target != watcher && target > 0) else { return };
        if self.network.is_cut(watcher, target) || self.network.is_cut(target, watcher) {
            return;
        }
        let Some(process) = &self.server(target).process else { return };
        // it says who it is when that is durable; another process may have the same incarnation otherwise
        if process.node != node || !process.has_begun() {
            return;
        }
        let lifeline = Lifeline { watcher, target, node, incarnation: process.incarnation };
        if !self.lifelines.contains(&lifeline) {
            self.lifelines.push(lifeline);
        }
    }

    /// Whoever watches `target`'s process hears that its lifeline has ended: in order, or with a reset.
    fn end_lifelines(&mut self, target: Address, ended: bool) {
        let (gone, left) = self.lifelines.iter().partition(|lifeline| lifeline.target == target);
        self.lifelines = left;
        let gone: Vec<Lifeline> = gone;
        for Lifeline { watcher, node, incarnation, .. } in gone {
            let wire = Wire::Lifeline { node, incarnation, ended };
            self.network.send_stream(self.now, target, watcher, wire);
        }
    }

    /// The process starts, or starts again.
    pub fn start(&mut self, place: Address) {
        if self.server(place).is_up() {
            return;
        }
        // who had a lifeline to the process that a power loss ended gets a reset now
        self.end_lifelines(place, false);
        let outs = self.servers[place - 1].start(self.now, &mut self.shared);
        let life = self.server(place).life;
        let after = Duration(self.dice.between(0, TICK.0));
        self.schedule(after, Event::Tick(place, life));
        self.outs(place, outs);
    }

    /// The process ends: the kernel or a guardian says so to whoever watches (`in_order`), or the machine loses its power.
    pub fn kill(&mut self, place: Address, in_order: bool) {
        let host = self.server(place);
        if !host.is_up() {
            return;
        }
        let waiting = host.end();
        if in_order {
            host.disk.kill();
        } else {
            host.disk.crash();
        }
        self.lifelines.retain(|lifeline| lifeline.watcher != place);
        if in_order {
            self.end_lifelines(place, true);
        }
        for op in waiting {
            self.hung_up(op);
        }
    }

    fn restart_soon(&mut self, place: Address) {
        let (low, high) = self.plan.restarts;
        self.restart_within(place, low, high);
    }

    fn restart_within(&mut self, place: Address, low: u64, high: u64) {
        let after = Duration::from_millis(self.dice.skewed(low, high));
        let life = self.server(place).life;
        self.schedule(after, Event::Start(place, life));
    }
}

/// A message in a line.
fn describe(message: &Message) -> String {
    let header = &message.header;
    let who = |node: NodeId| if node == COORDINATOR { "coordinator".into() } else { format!("{}", node.0) };
    format!("e{} {} to {}: {:?}", header.epoch.0, who(header.source), who(header.destination), message.body)
}
