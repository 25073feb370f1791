//! What one server or the coordinator makes of one thing that happens to it. Nothing here knows of the others, so a reaction
//! depends on who reacts, to what and when, and is worked out once however many states of the whole it stands in.

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use ringstore::cluster::{
    Configuration, Coordinator, CoordinatorBoot, CoordinatorEffect, CoordinatorInput, Effect, Frame, Input, Message,
    Outcome,
};
use ringstore::log::{Epoch, Incarnation, LogId, NodeId, Position};
use ringstore::time::Time;

use crate::node::{Node, write_of};
use crate::print::{Plain, Printer, mix};
use crate::scope::{QUANTUM, Scope};

/// A message and its fingerprint.
#[derive(Clone, Debug)]
pub struct Letter {
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

/// Something that happens to one of them.
#[derive(Clone, Debug)]
pub enum Cause {
    Message(Letter),
    Written,
    Recorded,
    Tick,
    /// Time went on.
    Advance,
    /// A client's write of this number.
    Write(u8),
    Resign,
    /// Frames and record that survive.
    Crash(u8, bool),
    Boot,
    /// This server's lifeline ended.
    Ended(u8, u64),
}

impl Cause {
    fn print(&self) -> u64 {
        match self {
            Self::Message(letter) => letter.print,
            Self::Written => 1,
            Self::Recorded => 2,
            Self::Tick => 3,
            Self::Advance => 4,
            Self::Resign => 5,
            Self::Boot => 6,
            Self::Write(write) => mix(&[7, u64::from(*write)]),
            Self::Crash(frames, record) => mix(&[8, u64::from(*frames), u64::from(*record)]),
            Self::Ended(node, incarnation) => mix(&[9, u64::from(*node), *incarnation]),
        }
    }
}

/// Something that concerns what is true of all servers together.
#[derive(Clone, Debug)]
pub enum News {
    /// Frames are committed, the first is the log's frame of that number.
    Committed(usize, Vec<Frame>),
    Leads(Epoch),
    /// A client was told that its write is stored.
    Answered(u8, Position),
}

/// A server at one instant.
#[derive(Clone, Debug)]
pub struct Seat {
    pub node: Arc<Node>,
    pub print: u64,
    /// Where the newest visible write ends if a read is answered now.
    pub shown: Option<Position>,
    /// The epoch it serves in.
    pub serves: Option<Epoch>,
}

/// What a server does.
#[derive(Debug)]
pub struct Reaction {
    pub seat: Seat,
    pub sent: Vec<Letter>,
    pub news: Vec<News>,
}

/// What the coordinator does.
#[derive(Debug)]
pub struct Ruling {
    pub office: Arc<Office>,
    pub print: u64,
    pub sent: Vec<Letter>,
    /// How many its dice chose among.
    pub choices: u8,
}

type Known<T> = HashMap<(u64, u64, u64), Result<Arc<T>, String>, Plain>;

/// See the module.
pub struct Reactions {
    scope: Scope,
    printer: Printer,
    oldest: u64,
    of_servers: Known<Reaction>,
    of_coordinator: Known<Ruling>,
    /// Each server at each instant once.
    seats: HashMap<(u64, u64), Seat, Plain>,
}

impl Reactions {
    #[must_use]
    pub fn new(scope: Scope) -> Self {
        let promise = scope.timing().promise(scope.rules).0;
        Self {
            scope,
            printer: Printer::default(),
            oldest: 3 * promise + QUANTUM.0,
            of_servers: HashMap::default(),
            of_coordinator: HashMap::default(),
            seats: HashMap::default(),
        }
    }

    /// A server as it stands now.
    pub fn seat(&mut self, now: Time, node: Node) -> Seat {
        let print = self.printer.of(now, self.oldest, &node);
        let seat = || {
            let serving = node.replica.as_ref().filter(|replica| replica.is_serving());
            let serves = serving.and_then(|replica| replica.configuration()).map(|one| one.epoch);
            Seat { print, shown: node.read(now), serves, node: Arc::new(node) }
        };
        self.seats.entry((now.0, print)).or_insert_with(seat).clone()
    }

    /// The coordinator's fingerprint.
    pub fn print(&mut self, now: Time, office: &Office) -> u64 {
        self.printer.of(now, self.oldest, office)
    }

    pub fn letter(&mut self, now: Time, message: Arc<Message>) -> Letter {
        let print = self.printer.of(now, self.oldest, &message);
        Letter { message, print }
    }

    /// What a server makes of `cause`.
    ///
    /// # Errors
    /// When one of its assertions does not hold.
    pub fn server(&mut self, now: Time, seat: &Seat, cause: &Cause) -> Result<Arc<Reaction>, String> {
        let key = (now.0, seat.print, cause.print());
        if let Some(known) = self.of_servers.get(&key) {
            return known.clone();
        }
        let node = Node::clone(&seat.node);
        let scope = self.scope;
        let outcome = guarded(|| {
            let mut at_work = AtWork { scope, now, node, sent: Vec::new(), news: Vec::new() };
            at_work.meet(cause)?;
            Ok(at_work)
        });
        let reaction = outcome.map(|AtWork { node, sent, news, .. }| {
            let seat = self.seat(now, node);
            let sent = sent.into_iter().map(|message| self.letter(now, Arc::new(message))).collect();
            Arc::new(Reaction { seat, sent, news })
        });
        self.of_servers.insert(key, reaction.clone());
        reaction
    }

    /// What the coordinator makes of `cause`, and of what its dice show.
    ///
    /// # Errors
    /// When one of its assertions does not hold.
    pub fn coordinator(
        &mut self,
        now: Time,
        (office, print): (&Arc<Office>, u64),
        cause: &Cause,
        pick: u8,
    ) -> Result<Arc<Ruling>, String> {
        let key = (now.0, print, mix(&[cause.print(), u64::from(pick)]));
        if let Some(known) = self.of_coordinator.get(&key) {
            return known.clone();
        }
        let (mut office, scope) = (Office::clone(office), self.scope);
        let outcome = guarded(|| {
            let mut choices = 1;
            let sent = office.meet(now, cause, scope, &mut |among| {
                choices = among as u8;
                usize::from(pick)
            });
            Ok((sent, choices))
        });
        let ruling = outcome.map(|(sent, choices)| {
            let print = self.print(now, &office);
            let sent = sent.into_iter().map(|message| self.letter(now, Arc::new(message))).collect();
            Arc::new(Ruling { office: Arc::new(office), print, sent, choices })
        });
        self.of_coordinator.insert(key, ruling.clone());
        ruling
    }
}

/// An assertion that does not hold is what is looked for.
fn guarded<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    let outcome = catch_unwind(AssertUnwindSafe(work));
    outcome.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        Err(format!("an assertion does not hold: {}", text.unwrap_or_default()))
    })
}

impl Office {
    fn meet(&mut self, now: Time, cause: &Cause, scope: Scope, dice: &mut dyn FnMut(usize) -> usize) -> Vec<Message> {
        let input = match cause {
            Cause::Message(letter) => CoordinatorInput::Received { message: Message::clone(&letter.message) },
            Cause::Recorded => self.recorded(),
            Cause::Tick => {
                self.ticked = true;
                CoordinatorInput::Ticked
            }
            Cause::Ended(node, incarnation) => {
                let (node, incarnation) = (NodeId(u64::from(*node)), Incarnation(*incarnation));
                CoordinatorInput::LifelineEnded { node, incarnation }
            }
            Cause::Advance => {
                self.ticked = false;
                return Vec::new();
            }
            Cause::Crash(_, record) => {
                if *record {
                    self.record = self.records.pop_front();
                }
                self.records.clear();
                (self.machine, self.ticked) = (None, false);
                return Vec::new();
            }
            Cause::Boot => {
                let (record, timing, rules) = (self.record.clone(), scope.timing(), scope.rules);
                let boot = CoordinatorBoot { record, fresh: LogId(7), min_insync: 2, timing, rules };
                self.machine = Some(Coordinator::start(now, boot));
                return Vec::new();
            }
            Cause::Written | Cause::Write(_) | Cause::Resign => panic!("not the coordinator's"),
        };
        let mut sent = Vec::new();
        self.tell(now, input, dice, &mut sent);
        if !scope.slow_records && !self.records.is_empty() {
            let input = self.recorded();
            self.tell(now, input, dice, &mut sent);
        }
        sent
    }

    fn recorded(&mut self) -> CoordinatorInput {
        let configuration = self.records.pop_front().expect("it is being written");
        let epoch = configuration.epoch;
        self.record = Some(configuration);
        CoordinatorInput::Persisted { epoch }
    }

    fn tell(
        &mut self,
        now: Time,
        input: CoordinatorInput,
        dice: &mut dyn FnMut(usize) -> usize,
        sent: &mut Vec<Message>,
    ) {
        let machine = self.machine.as_mut().expect("it runs");
        let mut effects = Vec::new();
        machine.step(now, input, dice, &mut effects);
        machine.check_invariants();
        for effect in effects {
            match effect {
                CoordinatorEffect::Persist { configuration } => self.records.push_back(configuration),
                CoordinatorEffect::Send { message } => sent.push(message),
                CoordinatorEffect::Watch { .. }
                | CoordinatorEffect::RefusedServer { .. }
                | CoordinatorEffect::ServerAhead { .. }
                | CoordinatorEffect::ForceRefused { .. } => {}
            }
        }
    }
}

/// A server that reacts.
struct AtWork {
    scope: Scope,
    now: Time,
    node: Node,
    sent: Vec<Message>,
    news: Vec<News>,
}

impl AtWork {
    fn meet(&mut self, cause: &Cause) -> Result<(), String> {
        let input = match cause {
            Cause::Message(letter) => Input::Received { message: Message::clone(&letter.message) },
            Cause::Written => self.node.written(),
            Cause::Recorded => self.node.recorded(),
            Cause::Tick => {
                self.node.ticked = true;
                Input::Ticked
            }
            Cause::Write(write) => {
                self.node.asked = *write;
                let built = self.node.build(*write, None);
                built.unwrap_or_else(|| Input::ForwardAsked { request: vec![*write] })
            }
            Cause::Resign => Input::Resign,
            Cause::Ended(node, incarnation) => {
                let (node, incarnation) = (NodeId(u64::from(*node)), Incarnation(*incarnation));
                Input::LifelineEnded { node, incarnation }
            }
            Cause::Advance => {
                self.node.ticked = false;
                return Ok(());
            }
            Cause::Crash(frames, record) => {
                self.node.crash(usize::from(*frames), *record);
                return Ok(());
            }
            Cause::Boot => {
                let effects = self.node.start(self.now, self.scope.timing(), self.scope.rules);
                return self.obey(effects);
            }
        };
        self.step(input)
    }

    fn step(&mut self, input: Input) -> Result<(), String> {
        let replica = self.node.replica.as_mut().expect("it runs");
        let mut effects = Vec::new();
        replica.step(self.now, input, &mut effects);
        replica.check_invariants();
        self.obey(effects)
    }

    fn obey(&mut self, effects: Vec<Effect>) -> Result<(), String> {
        let mut inputs = VecDeque::new();
        for effect in effects {
            inputs.extend(self.carry_out(effect)?);
        }
        inputs.into_iter().try_for_each(|input| self.step(input))?;
        // disks that take no time are done
        if !self.scope.slow_records && !self.node.records.is_empty() {
            let input = self.node.recorded();
            self.step(input)?;
        }
        if !self.scope.slow_logs && !self.node.writing.is_empty() {
            let input = self.node.written();
            self.step(input)?;
        }
        Ok(())
    }

    /// What it tells the machine in return, if anything.
    fn carry_out(&mut self, effect: Effect) -> Result<Option<Input>, String> {
        let node = &mut self.node;
        match effect {
            Effect::Persist { record } => node.records.push_back(record),
            Effect::Send { message } => self.sent.push(message),
            Effect::Append { frame, cut } => node.append(frame, cut),
            Effect::Truncate { to, cut } => node.truncate(to, cut),
            Effect::LockKeys { frame } if write_of(&frame).is_some() => node.locked.push(frame.position()),
            Effect::Commit { upto } => {
                let from = node.applied;
                self.news.push(News::Committed(from, node.apply(upto)));
                let done = node.mine.extract_if(.., |(_, end)| *end <= upto.position);
                self.news.extend(done.map(|(write, end)| News::Answered(write, end)));
            }
            Effect::BecameLeader { epoch, end, .. } => {
                node.lead = Some((epoch, end));
                self.news.push(News::Leads(epoch));
            }
            Effect::SteppedDown => {
                node.lead = None;
                node.mine.clear();
            }
            Effect::Forwarded { origin, request } => return Ok(node.build(request[0], Some(origin))),
            Effect::ForwardTaken { number } => node.sent_on.push((number, node.asked)),
            Effect::ForwardDone { number, outcome } => {
                let at = node.sent_on.iter().position(|(of, _)| *of == number).expect("it was taken");
                let (_, write) = node.sent_on.remove(at);
                let Outcome::Committed { index } = outcome else { return Err("a put made no entry".into()) };
                let end = node.log.iter().find(|frame| frame.last_index() == index).map(Frame::end);
                let end = end.ok_or("a write was answered that is not in the log")?;
                self.news.push(News::Answered(write, end));
            }
            Effect::ReadLog { node: to, from, .. } => {
                let frames = node.log.iter().filter(|frame| frame.position() >= from.position).cloned().collect();
                return Ok(Some(Input::LogRead { node: to, from, frames }));
            }
            // logs are short and whole here, so that nobody needs another's data
            Effect::SendSnapshot { .. } | Effect::TakeSnapshot | Effect::RefuseSnapshot => {
                return Err("a snapshot is asked for".into());
            }
            Effect::LockKeys { .. }
            | Effect::Watch { .. }
            | Effect::Report(_)
            | Effect::ReadAllowed { .. }
            | Effect::ReadRefused { .. } => {}
        }
        Ok(None)
    }
}
