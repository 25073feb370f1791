//! One state of everything: three servers, the coordinator, the network between them, what is left of the scope's budgets.

use std::collections::VecDeque;
use std::sync::Arc;

use ringstore::cluster::{
    Configuration, Coordinator, CoordinatorBoot, CoordinatorEffect, CoordinatorInput, Effect, Input, Message, Outcome,
};
use ringstore::log::{LogId, NodeId};
use ringstore::time::Time;

use crate::ghost::Ghost;
use crate::node::Node;
use crate::print::Printer;
use crate::scope::{Fault, QUANTUM, Scope};
use crate::step::{Act, Step};
use xxhash_rust::xxh3::xxh3_64;

/// A message under way.
#[derive(Clone, Debug)]
pub struct Flying {
    pub from: u8,
    pub to: u8,
    pub message: Arc<Message>,
    pub print: u64,
}

/// The coordinator and its disk.
#[derive(Clone, Debug)]
pub struct Office {
    /// Nothing while it is down.
    pub machine: Option<Coordinator>,
    /// As it is on the disk.
    pub record: Option<Configuration>,
    /// Being written.
    pub records: VecDeque<Configuration>,
    pub ticked: bool,
}

/// What has been used of the budgets.
#[derive(Clone, Copy, Debug, Default, Hash, PartialEq, Eq)]
pub struct Used {
    pub time: u8,
    pub writes: u8,
    pub lost: u8,
    pub doubled: u8,
    /// 0 before the fault, 1 while it lasts, 2 when it is over.
    pub fault: u8,
    pub resigned: bool,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct World {
    pub now: Time,
    pub nodes: [Arc<Node>; 3],
    pub office: Arc<Office>,
    /// Fingerprints of office and nodes.
    prints: [u64; 4],
    /// By link, in the order they were sent.
    pub flying: Vec<Flying>,
    /// Those that went astray.
    pub astray: Vec<Flying>,
    pub used: Used,
    /// The links that are cut.
    cut: u16,
    /// Which server crashed, and who has not seen its lifeline's end, as bits.
    pub ended: Option<(u8, u64, u8)>,
    /// The epoch at the beginning.
    pub first_epoch: u64,
    pub ghost: Ghost,
}

/// Carries steps out.
pub struct Engine {
    pub scope: Scope,
    printer: Printer,
    oldest: u64,
    /// How many the coordinator's dice chose among in the last step.
    pub choices: u8,
}

impl Engine {
    #[must_use]
    pub fn new(scope: Scope) -> Self {
        let promise = scope.timing().promise(scope.rules).0;
        Self { scope, printer: Printer::default(), oldest: 3 * promise + QUANTUM.0, choices: 1 }
    }

    /// Nobody runs but the coordinator.
    pub fn nothing(&mut self) -> World {
        let office = Office { machine: None, record: None, records: VecDeque::new(), ticked: false };
        let mut world = World {
            now: Time(1000 * QUANTUM.0),
            nodes: [1, 2, 3].map(|name| Arc::new(Node::new(name))),
            office: Arc::new(office),
            prints: [0; 4],
            flying: Vec::new(),
            astray: Vec::new(),
            used: Used::default(),
            cut: 0,
            ended: None,
            first_epoch: 0,
            ghost: Ghost::default(),
        };
        self.start_office(&mut world);
        self.print_all(&mut world);
        world
    }

    fn start_office(&self, world: &mut World) {
        let office = Arc::make_mut(&mut world.office);
        let (timing, rules) = (self.scope.timing(), self.scope.rules);
        let boot =
            CoordinatorBoot { record: office.record.clone(), fresh: LogId(7), min_insync: 2, timing, rules };
        office.machine = Some(Coordinator::start(world.now, boot));
    }

    /// The state after `step`.
    ///
    /// # Errors
    /// When something happened that never may.
    pub fn after(&mut self, world: &World, step: Step) -> Result<World, String> {
        let mut next = world.clone();
        self.choices = 1;
        self.carry_out(&mut next, step)?;
        self.check(&mut next)?;
        Ok(next)
    }

    fn carry_out(&mut self, world: &mut World, step: Step) -> Result<(), String> {
        let pick = step.pick;
        match step.act {
            Act::Deliver { from, to } => {
                let message = world.flying.remove(world.oldest(from, to).expect("one is under way")).message;
                self.deliver(world, to, &message, pick)
            }
            Act::Lose { from, to } => {
                let stray = world.flying.remove(world.oldest(from, to).expect("one is under way"));
                world.used.lost += 1;
                world.astray.push(stray);
                Ok(())
            }
            Act::Double { from, to } => {
                let stray = world.flying[world.oldest(from, to).expect("one is under way")].clone();
                world.used.doubled += 1;
                world.astray.push(stray);
                Ok(())
            }
            Act::Found(at) => {
                let stray = world.astray.remove(usize::from(at));
                self.deliver(world, stray.to, &stray.message, pick)
            }
            Act::Written(node) => {
                let input = world.node(node).written();
                self.input(world, node, input)
            }
            Act::Recorded(0) => {
                self.record(world, pick);
                Ok(())
            }
            Act::Recorded(node) => {
                let input = world.node(node).recorded();
                self.input(world, node, input)
            }
            Act::Tick(0) => {
                Arc::make_mut(&mut world.office).ticked = true;
                self.tell(world, CoordinatorInput::Ticked, pick);
                Ok(())
            }
            Act::Tick(node) => {
                world.node(node).ticked = true;
                self.input(world, node, Input::Ticked)
            }
            Act::Advance => {
                world.used.time += 1;
                self.advance(world);
                if !self.scope.phases {
                    self.tick_all(world, pick)?;
                }
                Ok(())
            }
            Act::Write(node) => self.write(world, node),
            Act::Resign(node) => {
                world.used.resigned = true;
                self.input(world, node, Input::Resign)
            }
            Act::Cut => {
                world.used.fault = 1;
                world.cut = self.scope.fault.cuts();
                Ok(())
            }
            Act::Heal => {
                world.used.fault = 2;
                world.cut = 0;
                Ok(())
            }
            Act::Crash { node, frames, record } => {
                self.crash(world, node, usize::from(frames), record);
                Ok(())
            }
            Act::Restart(node) => self.restart(world, node),
            Act::SeeEnd(observer) => {
                let (node, incarnation, unseen) = world.ended.take().expect("one crashed");
                world.ended = Some((node, incarnation, unseen & !(1 << observer)));
                let (node, incarnation) = (NodeId(node.into()), ringstore::log::Incarnation(incarnation));
                if observer == 0 {
                    self.tell(world, CoordinatorInput::LifelineEnded { node, incarnation }, pick);
                    Ok(())
                } else {
                    self.input(world, observer, Input::LifelineEnded { node, incarnation })
                }
            }
        }
    }

    /// The coordinator's record is on the disk.
    fn record(&mut self, world: &mut World, pick: u8) {
        let office = Arc::make_mut(&mut world.office);
        let configuration = office.records.pop_front().expect("it is being written");
        let epoch = configuration.epoch;
        office.record = Some(configuration);
        self.tell(world, CoordinatorInput::Persisted { epoch }, pick);
    }

    /// All timers fire. Each server and the coordinator only sends, so it does not matter in which order.
    fn tick_all(&mut self, world: &mut World, pick: u8) -> Result<(), String> {
        for node in 1..4 {
            if world.runs(node) {
                world.node(node).ticked = true;
                self.input(world, node, Input::Ticked)?;
            }
        }
        Arc::make_mut(&mut world.office).ticked = true;
        self.tell(world, CoordinatorInput::Ticked, pick);
        Ok(())
    }

    /// Time goes on, and with it every age.
    pub fn advance(&mut self, world: &mut World) {
        world.now = world.now.after(QUANTUM);
        Arc::make_mut(&mut world.office).ticked = false;
        for node in 1..4 {
            world.node(node).ticked = false;
        }
        self.print_all(world);
    }

    fn print_all(&mut self, world: &mut World) {
        for node in 0..4 {
            self.print(world, node);
        }
        let now = world.now;
        for flying in world.flying.iter_mut().chain(&mut world.astray) {
            flying.print = self.printer.of(now, self.oldest, &flying.message);
        }
    }

    fn print(&mut self, world: &mut World, node: u8) {
        let now = world.now;
        world.prints[usize::from(node)] = match node {
            0 => self.printer.of(now, self.oldest, &world.office),
            _ => self.printer.of(now, self.oldest, &world.nodes[usize::from(node) - 1]),
        };
    }

    fn crash(&mut self, world: &mut World, node: u8, frames: usize, record: bool) {
        world.used.fault = 1;
        // what is under way to it finds nobody
        world.flying.retain(|flying| flying.to != node);
        if node == 0 {
            let office = Arc::make_mut(&mut world.office);
            if record {
                office.record = office.records.pop_front();
            }
            office.records.clear();
            (office.machine, office.ticked) = (None, false);
        } else {
            let incarnation = world.nodes[usize::from(node) - 1].replica.as_ref().map_or(0, |one| one.incarnation().0);
            world.node(node).crash(frames, record);
            world.ended = Some((node, incarnation, 0b1111 & !(1 << node)));
        }
        self.print(world, node);
    }

    fn restart(&mut self, world: &mut World, node: u8) -> Result<(), String> {
        world.used.fault = 2;
        if node == 0 {
            self.start_office(world);
            Arc::make_mut(&mut world.office).ticked = false;
            self.print(world, 0);
            return Ok(());
        }
        self.boot(world, node)
    }

    /// Starts a server.
    ///
    /// # Errors
    /// As `after`.
    pub fn boot(&mut self, world: &mut World, node: u8) -> Result<(), String> {
        let (now, timing, rules) = (world.now, self.scope.timing(), self.scope.rules);
        let effects = world.node(node).start(now, timing, rules);
        self.obey(world, node, effects)
    }

    fn write(&mut self, world: &mut World, node: u8) -> Result<(), String> {
        world.used.writes += 1;
        let write = world.used.writes;
        if let Some(input) = world.node(node).build(write, None) {
            return self.input(world, node, input);
        }
        self.input(world, node, Input::ForwardAsked { request: vec![write] })
    }

    fn deliver(&mut self, world: &mut World, to: u8, message: &Message, pick: u8) -> Result<(), String> {
        let message = message.clone();
        if to == 0 {
            self.tell(world, CoordinatorInput::Received { message }, pick);
            return Ok(());
        }
        self.input(world, to, Input::Received { message })
    }

    /// The coordinator takes an input.
    fn tell(&mut self, world: &mut World, input: CoordinatorInput, pick: u8) {
        let mut effects = Vec::new();
        let mut choices = 1;
        let mut dice = |among: usize| {
            choices = among as u8;
            usize::from(pick)
        };
        let office = Arc::make_mut(&mut world.office);
        let Some(machine) = &mut office.machine else { return };
        machine.step(world.now, input, &mut dice, &mut effects);
        machine.check_invariants();
        self.choices = choices;
        for effect in effects {
            match effect {
                CoordinatorEffect::Persist { configuration } => {
                    Arc::make_mut(&mut world.office).records.push_back(configuration);
                }
                CoordinatorEffect::Send { message } => self.send(world, message),
                CoordinatorEffect::Watch { .. } | CoordinatorEffect::RefusedServer { .. } => {}
            }
        }
        self.print(world, 0);
        if !self.scope.slow_records && !world.office.records.is_empty() {
            self.record(world, pick);
        }
    }

    /// A server takes an input.
    fn input(&mut self, world: &mut World, node: u8, input: Input) -> Result<(), String> {
        let now = world.now;
        let Some(replica) = &mut world.node(node).replica else { return Ok(()) };
        let mut effects = Vec::new();
        replica.step(now, input, &mut effects);
        replica.check_invariants();
        self.obey(world, node, effects)
    }

    fn send(&mut self, world: &mut World, message: Message) {
        let (from, to) = (message.header.source.0 as u8, message.header.destination.0 as u8);
        let runs = if to == 0 { world.office.machine.is_some() } else { world.node_at(to).replica.is_some() };
        let under_way = world.flying.iter().filter(|flying| (flying.from, flying.to) == (from, to)).count();
        if world.cut & 1 << (from * 4 + to) != 0 || !runs || under_way >= usize::from(self.scope.queue) {
            return;
        }
        let message = Arc::new(message);
        let print = self.printer.of(world.now, self.oldest, &message);
        let at = world.flying.partition_point(|flying| (flying.from, flying.to) <= (from, to));
        world.flying.insert(at, Flying { from, to, message, print });
    }

    fn obey(&mut self, world: &mut World, node: u8, effects: Vec<Effect>) -> Result<(), String> {
        let mut inputs = Vec::new();
        for effect in effects {
            match effect {
                Effect::Persist { record } => world.node(node).records.push_back(record),
                Effect::Send { message } => self.send(world, message),
                Effect::Append { frame, cut } => world.node(node).append(frame, cut),
                Effect::Truncate { to, cut } => world.node(node).truncate(to, cut),
                Effect::LockKeys { frame } => {
                    if crate::node::write_of(&frame).is_some() {
                        world.node(node).locked.push(frame.position());
                    }
                }
                Effect::Commit { upto } => {
                    let from = world.node_at(node).applied;
                    let frames = world.node(node).apply(upto);
                    world.ghost.commit(node, from, &frames)?;
                    let host = world.node(node);
                    let done: Vec<_> = host.mine.extract_if(.., |(_, end)| *end <= upto.position).collect();
                    for (write, end) in done {
                        world.ghost.answer(write, end);
                    }
                }
                Effect::BecameLeader { epoch, end, .. } => {
                    world.ghost.lead(epoch.0, node)?;
                    world.node(node).lead = Some((epoch, end));
                }
                Effect::SteppedDown => {
                    let host = world.node(node);
                    host.lead = None;
                    host.mine.clear();
                }
                Effect::Forwarded { origin, request } => {
                    inputs.extend(world.node(node).build(request[0], Some(origin)));
                }
                Effect::ForwardTaken { number } => {
                    let write = world.used.writes;
                    world.node(node).sent_on.push((number, write));
                }
                Effect::ForwardDone { number, outcome } => {
                    let host = world.node(node);
                    let at = host.sent_on.iter().position(|(of, _)| *of == number).expect("it was taken");
                    let (_, write) = host.sent_on.remove(at);
                    let Outcome::Committed { index } = outcome else { return Err("a put made no entry".into()) };
                    let end = host.log.iter().find(|frame| frame.last_index() == index).map(ringstore::cluster::Frame::end);
                    world.ghost.answer(write, end.ok_or("a write was answered that is not in the log")?);
                }
                Effect::ReadLog { node: to, from, .. } => {
                    let frames = world.node_at(node).log.iter().filter(|frame| frame.position() >= from.position);
                    let frames = frames.cloned().collect();
                    inputs.push(Input::LogRead { node: to, from, frames });
                }
                Effect::Watch { .. }
                | Effect::Report(_)
                | Effect::ReadAllowed { .. }
                | Effect::ReadRefused { .. } => {}
            }
        }
        self.print(world, node);
        inputs.into_iter().try_for_each(|input| self.input(world, node, input))?;
        self.finish_disk(world, node)
    }

    /// Disks that take no time are done.
    fn finish_disk(&mut self, world: &mut World, node: u8) -> Result<(), String> {
        if !self.scope.slow_records && !world.node_at(node).records.is_empty() {
            let input = world.node(node).recorded();
            self.input(world, node, input)?;
        }
        if !self.scope.slow_logs && !world.node_at(node).writing.is_empty() {
            let input = world.node(node).written();
            self.input(world, node, input)?;
        }
        Ok(())
    }

    /// What must hold in every state.
    fn check(&self, world: &mut World) -> Result<(), String> {
        world.check_members()?;
        world.check_leaders()?;
        world.check_reads()
    }
}

impl World {
    pub fn node(&mut self, node: u8) -> &mut Node {
        Arc::make_mut(&mut self.nodes[usize::from(node) - 1])
    }

    #[must_use]
    pub fn node_at(&self, node: u8) -> &Node {
        &self.nodes[usize::from(node) - 1]
    }

    #[must_use]
    pub fn runs(&self, node: u8) -> bool {
        if node == 0 { self.office.machine.is_some() } else { self.node_at(node).replica.is_some() }
    }

    /// The oldest message on a link.
    #[must_use]
    pub fn oldest(&self, from: u8, to: u8) -> Option<usize> {
        self.flying.iter().position(|flying| (flying.from, flying.to) == (from, to))
    }

    /// All of it in one number.
    #[must_use]
    pub fn print(&self) -> u64 {
        let mut all: Vec<u64> = Vec::with_capacity(64);
        all.extend(self.prints);
        all.extend(self.flying.iter().map(|flying| flying.print.rotate_left(u32::from(flying.from * 4 + flying.to))));
        let mut astray: Vec<u64> = self.astray.iter().map(|flying| flying.print).collect();
        astray.sort_unstable();
        all.extend(astray);
        let Used { time, writes, lost, doubled, fault, resigned } = self.used;
        all.push(u64::from_le_bytes([time, writes, lost, doubled, fault, u8::from(resigned), self.ghost.answered, 0]));
        let (node, _, unseen) = self.ended.unwrap_or_default();
        all.extend([self.ghost.floor.0, u64::from(self.cut), u64::from(node) << 8 | u64::from(unseen)]);
        all.extend(self.ghost.committed.iter().map(|frame| frame.end().0 << 8 | frame.epoch().0));
        all.extend(self.ghost.leaders.iter().map(|(epoch, node)| epoch << 8 | u64::from(*node)));
        let bytes: Vec<u8> = all.iter().flat_map(|number| number.to_le_bytes()).collect();
        xxh3_64(&bytes)
    }

    /// More configurations than the scope has.
    #[must_use]
    pub fn is_beyond(&self, scope: &Scope) -> bool {
        let newest = self.office.records.back().or(self.office.record.as_ref());
        newest.is_some_and(|newest| newest.epoch.0 > self.first_epoch + u64::from(scope.changes))
    }

    /// What is committed is on the disks of all members of the newest configuration, whether they run or not.
    fn check_members(&self) -> Result<(), String> {
        let members = self.office.record.iter().flat_map(Configuration::nodes);
        for node in members {
            if !self.node_at(node.0 as u8).holds(&self.ghost.committed) {
                return Err(format!("server {} is a member and its disk lacks what is committed", node.0));
            }
        }
        Ok(())
    }

    /// One leader serves in an epoch.
    fn check_leaders(&self) -> Result<(), String> {
        let serving = self.nodes.iter().filter_map(|node| {
            let replica = node.replica.as_ref().filter(|replica| replica.is_serving())?;
            Some((replica.configuration()?.epoch, node.name))
        });
        let serving: Vec<_> = serving.collect();
        for (at, (epoch, node)) in serving.iter().enumerate() {
            if let Some((_, other)) = serving[at + 1..].iter().find(|(of, _)| of == epoch) {
                return Err(format!("servers {node} and {other} both serve in epoch {}", epoch.0));
            }
        }
        Ok(())
    }

    /// A read at any server that may answer it shows what was answered or read before, anywhere. Every such read is taken
    /// to be made.
    fn check_reads(&mut self) -> Result<(), String> {
        let now = self.now;
        let reads = || self.nodes.iter().filter_map(|node| Some((node.name, node.read(now)?)));
        let floor = reads().map(|(_, shown)| shown).max().unwrap_or_default().max(self.ghost.floor);
        if let Some((node, shown)) = reads().find(|(_, shown)| *shown < floor) {
            return Err(format!(
                "a stale read at server {node}: it shows the write that ends at {}, one up to {} was answered or read",
                shown.0, floor.0
            ));
        }
        self.ghost.floor = floor;
        Ok(())
    }

    /// Everything that may happen next.
    #[must_use]
    pub fn acts(&self, scope: &Scope) -> Vec<Act> {
        let mut acts = self.under_way();
        let quiet = acts.is_empty();
        self.spoiled(scope, &mut acts);
        self.timers(scope, quiet, &mut acts);
        self.clients(scope, &mut acts);
        self.faults(scope, &mut acts);
        acts
    }

    /// What only needs time: messages arrive, disks finish.
    #[must_use]
    pub fn under_way(&self) -> Vec<Act> {
        let mut acts = Vec::new();
        acts.extend(self.links().map(|(from, to)| Act::Deliver { from, to }));
        for node in self.nodes.iter().filter(|node| node.replica.is_some()) {
            if !node.writing.is_empty() {
                acts.push(Act::Written(node.name));
            }
            if !node.records.is_empty() {
                acts.push(Act::Recorded(node.name));
            }
        }
        if self.runs(0) && !self.office.records.is_empty() {
            acts.push(Act::Recorded(0));
        }
        acts
    }

    /// Links with something on them.
    fn links(&self) -> impl Iterator<Item = (u8, u8)> {
        let mut last = None;
        let links = self.flying.iter().map(|flying| (flying.from, flying.to));
        links.filter(move |&link| last.replace(link) != Some(link))
    }

    /// What the network does wrong.
    fn spoiled(&self, scope: &Scope, acts: &mut Vec<Act>) {
        for (from, to) in self.links() {
            if self.used.lost < scope.lost {
                acts.push(Act::Lose { from, to });
            }
            if self.used.doubled < scope.doubled {
                acts.push(Act::Double { from, to });
            }
        }
        let astray = self.astray.iter().enumerate().filter(|(_, flying)| self.runs(flying.to));
        acts.extend(astray.map(|(at, _)| Act::Found(at as u8)));
    }

    fn timers(&self, scope: &Scope, quiet: bool, acts: &mut Vec<Act>) {
        let due = (0..4).filter(|&node| self.runs(node) && !self.ticked(node));
        let before = acts.len();
        acts.extend(due.map(Act::Tick));
        if self.used.time < scope.time && acts.len() == before && (quiet || !scope.prompt) {
            acts.push(Act::Advance);
        }
    }

    fn ticked(&self, node: u8) -> bool {
        if node == 0 { self.office.ticked } else { self.node_at(node).ticked }
    }

    fn clients(&self, scope: &Scope, acts: &mut Vec<Act>) {
        use ringstore::cluster::WritePlace;
        for node in &self.nodes {
            let Some(replica) = &node.replica else { continue };
            let place = replica.write_place();
            let here = place == Ok(WritePlace::Here) || (scope.forwards && place == Ok(WritePlace::Leader));
            if here && self.used.writes < scope.writes {
                acts.push(Act::Write(node.name));
            }
            if scope.resigns && !self.used.resigned && replica.is_serving() {
                acts.push(Act::Resign(node.name));
            }
        }
    }

    fn faults(&self, scope: &Scope, acts: &mut Vec<Act>) {
        match (scope.fault, self.used.fault) {
            (Fault::None, _) => {}
            (Fault::Crash(node) | Fault::Death(node), 0) => {
                let host = self.node_at(node);
                for frames in 0..=host.volatile() as u8 {
                    acts.push(Act::Crash { node, frames, record: false });
                    if !host.records.is_empty() {
                        acts.push(Act::Crash { node, frames, record: true });
                    }
                }
            }
            (Fault::Crash(node), 1) => acts.push(Act::Restart(node)),
            (Fault::CoordinatorCrash, 0) => {
                acts.push(Act::Crash { node: 0, frames: 0, record: false });
                if !self.office.records.is_empty() {
                    acts.push(Act::Crash { node: 0, frames: 0, record: true });
                }
            }
            (Fault::CoordinatorCrash, 1) => acts.push(Act::Restart(0)),
            (_, 0) => acts.push(Act::Cut),
            (_, 1) if scope.heals && self.cut != 0 => acts.push(Act::Heal),
            _ => {}
        }
        if let Some((_, _, unseen)) = self.ended {
            let seers = (0..4).filter(|&observer| unseen & 1 << observer != 0 && self.runs(observer));
            acts.extend(seers.map(Act::SeeEnd));
        }
    }
}
