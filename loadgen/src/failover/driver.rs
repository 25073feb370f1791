//! The load: one thread sends what is due, takes what is answered, and looks at the load balancer, so that all instants are of
//! one clock and nobody has to be woken first. It is given [`Order`]s and says what came of them.
//!
//! Requests are due at equal distances, in turn at each client, whatever became of the ones before: who waits is measured from
//! when his request was due.

use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant, SystemTime};

use hdrhistogram::Histogram;
use rustix::event::{Timespec, poll};
use rustix::thread::set_current_timer_slack;

use super::audit::Audit;
use super::gap::{self, Finding, Kind, Loss, Outcome};
use super::ledger::{Ledger, Verdicts};
use super::observer::Observer;
use super::slot::{Common, Request, Slot};
use super::timeline::Timeline;
use crate::recording::{DIGITS_OF_RUN, Interval, histogram};
use crate::report::scale;

/// Longest time between two looks at the orders.
const LOOK: Duration = Duration::from_millis(2);
/// Between two looks at whether a kill is over.
const JUDGE: Duration = Duration::from_millis(20);
/// Requests of the fill that a client has under way.
const FILL_WINDOW: usize = 8;
/// Outcomes older than this are of no kill.
const REMEMBERED: Duration = Duration::from_secs(1);
/// How late the kernel may wake a thread that waits; its default of 50 us would be seen in every latency.
const TIMER_SLACK_NS: NonZeroU64 = NonZeroU64::new(1_000).expect("not zero");

/// How the load is.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where each server is.
    pub addresses: Vec<SocketAddr>,
    /// Where the load balancer is.
    pub balancer: SocketAddr,
    /// Clients of each server.
    pub connections: usize,
    /// Requests a second, of all clients together.
    pub rate: f64,
    /// Of a hundred requests, how many are sets.
    pub sets: u32,
    /// A connection that has not answered for so long is given up.
    pub timeout: Duration,
    /// Length of the short intervals.
    pub interval: Duration,
    /// Whether a line is printed each second.
    pub live: bool,
}

impl Plan {
    /// Of the clients of each server, how many set; the others get.
    fn setters(&self) -> usize {
        if self.sets == 100 {
            return self.connections;
        }
        let share = (self.connections * self.sets as usize).div_ceil(100);
        share.clamp(1, self.connections.saturating_sub(1).max(1))
    }
}

/// What the load is told.
pub enum Order {
    /// From now on it counts. Before it, every key is set once.
    Measure,
    /// That server, or else the load balancer, is about to be lost; to be looked at for this long at least.
    Watch(Option<usize>, Duration),
    /// It was lost then.
    Lost(Instant),
    /// All servers are back.
    Home,
    /// No more requests; said when all are over.
    Quiesce,
    /// Every key is read at these servers.
    Audit(Vec<usize>),
    /// The end.
    Stop,
}

/// What the load says.
pub enum Said {
    /// Every key was set once.
    Filled,
    /// What a kill cost, and the requests around it.
    Found(Box<(Finding, Loss, Vec<Outcome>)>),
    /// No request is under way.
    Quiet,
    /// The audit is over.
    Audited,
    /// It cannot go on, in words.
    Failed(String),
}

/// What was driven.
pub struct Driven {
    /// When the measured part began.
    pub began: SystemTime,
    /// The same on the clock of all instants.
    pub zero: Instant,
    /// The run in intervals.
    pub intervals: Vec<Interval>,
    /// Latencies of all answers in nanoseconds.
    pub latencies: Histogram<u64>,
    /// How late requests were sent whose connection was there, in nanoseconds.
    pub lags: Histogram<u64>,
    /// What the reads found.
    pub verdicts: Verdicts,
    /// Some of what was wrong, in words.
    pub told: Vec<String>,
    /// Sets acknowledged.
    pub acked: u64,
    /// Keys, and of these those whose newest set is of unknown outcome.
    pub keys: (usize, usize),
}

/// A kill that is looked at.
struct Watch {
    loss: Option<Loss>,
    victim: Option<usize>,
    at_least: Duration,
    epoch: u64,
    ends: Vec<Instant>,
}

#[derive(PartialEq)]
enum Stage {
    Filling,
    Filled,
    Measured,
    Quiescing,
    Quiet,
}

/// The load and all it knows.
pub struct Driver {
    plan: Plan,
    common: Common,
    slots: Vec<Slot>,
    observer: Observer,
    timeline: Timeline,
    began: (SystemTime, Instant),
    stage: Stage,
    /// When the last request was over.
    ended: Option<Instant>,
    lags: Histogram<u64>,
    watch: Option<Watch>,
    audits: Vec<Audit>,
    /// Requests so far, by which it is decided what is asked and whose turn it is.
    asked: u64,
    due: Instant,
    judged: Instant,
    lived: Instant,
}

impl Driver {
    /// Of these keys; nothing is connected yet.
    pub fn new(plan: Plan, ledger: Ledger) -> Self {
        let now = Instant::now();
        let (servers, setters) = (plan.addresses.len(), plan.setters());
        let homes = |clients: usize| (0..servers * clients).map(move |slot| Slot::new(slot % servers));
        Self {
            // a server answers each connection in order, and a get shall not wait for the disk behind a set
            slots: homes(setters).chain(homes(plan.connections - setters)).collect(),
            observer: Observer::new(plan.balancer),
            timeline: Timeline::new(now, plan.interval),
            common: Common {
                addresses: plan.addresses.clone(),
                timeout: plan.timeout,
                ledger,
                outcomes: Vec::new(),
                ends: Vec::new(),
                lags: Vec::new(),
            },
            plan,
            began: (SystemTime::now(), now),
            stage: Stage::Filling,
            ended: None,
            lags: histogram(DIGITS_OF_RUN),
            watch: None,
            audits: Vec::new(),
            asked: 0,
            due: now,
            judged: now,
            lived: now,
        }
    }

    /// Works until it is told to stop, or whoever gives orders is gone.
    pub fn run(mut self, orders: &Receiver<Order>, said: &Sender<Said>) -> Driven {
        let _ = set_current_timer_slack(Some(TIMER_SLACK_NS)); // without it the lag is seen
        let mut outcomes = Vec::new();
        loop {
            loop {
                match orders.try_recv() {
                    Ok(Order::Stop) | Err(std::sync::mpsc::TryRecvError::Disconnected) => return self.finish(),
                    Ok(order) => self.take(order),
                    Err(std::sync::mpsc::TryRecvError::Empty) => break,
                }
            }
            let now = Instant::now();
            for word in [self.work(now), self.record(now, &mut outcomes), self.audit(now)].into_iter().flatten() {
                let _ = said.send(word); // who has gone will be noticed by the orders
            }
            if let Err(words) = self.wait() {
                let _ = said.send(Said::Failed(words));
            }
        }
    }

    fn take(&mut self, order: Order) {
        let now = Instant::now();
        match order {
            Order::Measure => {
                (self.stage, self.began, self.due) = (Stage::Measured, (SystemTime::now(), now), now);
                self.timeline = Timeline::new(now, self.plan.interval);
                self.lags.clear();
                self.common.lags.clear();
            }
            Order::Watch(victim, at_least) => {
                let (epoch, ends) = (self.observer.epoch, Vec::new());
                self.watch = Some(Watch { loss: None, victim, at_least, epoch, ends });
                self.observer.ask_often();
            }
            Order::Lost(at) => {
                self.timeline.kill(at);
                if let Some(watch) = &mut self.watch {
                    // of a user's command it is known only when it has returned, and its effect may be seen before
                    let at = watch.ends.first().map_or(at, |first| at.min(*first));
                    watch.loss = Some(Loss { at, victim: watch.victim, ends: Vec::new(), announced: None });
                }
            }
            Order::Home => self.slots.iter_mut().for_each(Slot::go_home),
            Order::Quiesce => self.stage = Stage::Quiescing,
            Order::Audit(servers) => {
                let audits = servers.into_iter().map(|server| Audit::new(server, self.common.addresses[server]));
                self.audits.extend(audits);
            }
            Order::Stop => unreachable!("it is looked at before"),
        }
    }

    /// What is to be sent.
    fn work(&mut self, now: Instant) -> Option<Said> {
        match self.stage {
            Stage::Filling => self.fill(now),
            Stage::Measured => self.ask_due(now),
            _ => {}
        }
        for slot in &mut self.slots {
            slot.pump(now, &mut self.common);
        }
        self.observer.pump(now);
        let pending = self.slots.iter().any(|slot| slot.pending() > 0);
        match self.stage {
            Stage::Filling if self.common.ledger.acked >= self.common.ledger.keys() as u64 && !pending => {
                self.stage = Stage::Filled;
                Some(Said::Filled)
            }
            Stage::Quiescing if !pending => {
                (self.stage, self.ended) = (Stage::Quiet, Some(now));
                Some(Said::Quiet)
            }
            _ => None,
        }
    }

    /// Keys are written in order: each was when as many sets as there are keys were acknowledged, unless one was refused, and
    /// its key is owed nothing.
    fn fill(&mut self, now: Instant) {
        let ledger = &self.common.ledger;
        let mut under_way = self.slots.iter().map(Slot::pending).sum::<usize>() as u64;
        for slot in &mut self.slots {
            while ledger.acked + under_way < ledger.keys() as u64 && slot.pending() < FILL_WINDOW {
                slot.ask(Request { due: now, kind: Kind::Set });
                under_way += 1;
            }
        }
    }

    fn ask_due(&mut self, now: Instant) {
        let setting = self.plan.setters() * self.plan.addresses.len();
        while self.due <= now {
            self.asked += 1;
            let sets = u64::from(self.plan.sets);
            let sets_so_far = self.asked * sets / 100;
            let (kind, place) = if sets_so_far > (self.asked - 1) * sets / 100 {
                (Kind::Set, sets_so_far as usize % setting)
            } else {
                (Kind::Get, setting + (self.asked - sets_so_far) as usize % (self.slots.len() - setting))
            };
            self.slots[place].ask(Request { due: self.due, kind });
            self.due += Duration::from_secs_f64(1.0 / self.plan.rate);
        }
    }

    /// Takes in what is over. `kept` is what is remembered for the next kill.
    fn record(&mut self, now: Instant, kept: &mut Vec<Outcome>) -> Option<Said> {
        for lag in self.common.lags.drain(..) {
            self.lags.saturating_record(lag);
        }
        let counts = matches!(self.stage, Stage::Measured | Stage::Quiescing | Stage::Quiet);
        for outcome in self.common.outcomes.drain(..).filter(|_| counts) {
            self.timeline.record(outcome.due, outcome.over, outcome.fate);
            kept.push(outcome);
        }
        if counts && self.ended.is_none() {
            self.timeline.advance(now);
            let leader = self.observer.leader;
            let place = leader.and_then(|leader| self.plan.addresses.iter().position(|one| *one == leader));
            self.timeline.leader = place.map(|place| format!("server{}", place + 1));
            self.tell_live(now);
        }
        for (server, end) in self.common.ends.drain(..) {
            if let Some(watch) = self.watch.as_mut().filter(|watch| watch.victim == Some(server)) {
                watch.ends.push(end);
            }
        }
        if now < self.judged + JUDGE {
            return None;
        }
        self.judged = now;
        if self.watch.is_none() {
            kept.retain(|outcome| outcome.over + REMEMBERED > now);
        }
        self.judge(now, kept)
    }

    /// Whether the kill is over, and what it cost.
    fn judge(&mut self, now: Instant, kept: &[Outcome]) -> Option<Said> {
        let watch = self.watch.as_ref()?;
        let mut loss = watch.loss.clone()?;
        if now < loss.at + watch.at_least {
            return None;
        }
        let servers = self.plan.addresses.len();
        let back = gap::is_back(kept, &loss, servers)?;
        if self.slots.iter().filter_map(Slot::oldest_due).min().is_some_and(|due| due <= back) {
            return None;
        }
        loss.ends = watch.ends.iter().copied().filter(|end| *end >= loss.at).collect();
        loss.announced = (self.observer.epoch > watch.epoch).then_some(self.observer.since);
        let finding = gap::find(kept, &loss, servers)?;
        self.watch = None;
        Some(Said::Found(Box::new((finding, loss, kept.to_vec()))))
    }

    fn audit(&mut self, now: Instant) -> Option<Said> {
        if self.audits.is_empty() {
            return None;
        }
        let mut words = None;
        let ledger = &self.common.ledger;
        self.audits.retain_mut(|audit| match audit.pump(now, ledger) {
            Ok(done) => !done,
            Err(failure) => {
                words = Some(Said::Failed(failure));
                false
            }
        });
        words.or_else(|| self.audits.is_empty().then_some(Said::Audited))
    }

    /// Waits until something came or is due, and takes in what came.
    fn wait(&mut self) -> Result<(), String> {
        let now = Instant::now();
        let mut until = (now + LOOK).min(self.observer.due().max(now));
        if self.stage == Stage::Measured {
            until = until.min(self.due);
        }
        let time = until.saturating_duration_since(now);
        let time = Timespec { tv_sec: time.as_secs() as i64, tv_nsec: i64::from(time.subsec_nanos()) };
        let (slots, audits) = (self.slots.len(), self.audits.len());
        let polled = self.slots.iter().map(Slot::polled).chain(self.audits.iter().map(Audit::polled));
        let polled = polled.chain([self.observer.polled()]).enumerate().filter_map(|(id, one)| Some((id, one?)));
        let (ids, mut polled): (Vec<_>, Vec<_>) = polled.unzip();
        match poll(&mut polled, Some(&time)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(format!("waiting for answers: {error}")),
        }
        let ready = polled.iter().map(|one| !one.revents().is_empty()).collect::<Vec<_>>();
        for id in ids.into_iter().zip(ready).filter_map(|(id, ready)| ready.then_some(id)) {
            match id {
                id if id < slots => self.slots[id].ready(Instant::now(), &mut self.common),
                id if id < slots + audits => self.audits[id - slots].ready(&mut self.common.ledger)?,
                _ => self.observer.ready(),
            }
        }
        Ok(())
    }

    fn tell_live(&mut self, now: Instant) {
        if !self.plan.live || now < self.lived + Duration::from_secs(1) {
            return;
        }
        self.lived = now;
        let second = self.timeline.last_second();
        let at = |quantile| scale::time(second.latencies.value_at_quantile(quantile) as f64 / 1e9);
        eprintln!(
            "{:>6.0} s {:>8}/s  errors {:>3}  unknown {:>3}  p50 {:>8}  p99 {:>8}  p99.9 {:>8}  max {:>8}  leader {}",
            now.saturating_duration_since(self.began.1).as_secs_f64(),
            scale::exact(second.requests),
            second.errors,
            second.unknown,
            at(0.5),
            at(0.99),
            at(0.999),
            at(1.0),
            self.timeline.leader.as_deref().unwrap_or("nobody")
        );
    }

    fn finish(self) -> Driven {
        let (intervals, latencies) = self.timeline.finish(self.ended.unwrap_or_else(Instant::now));
        let ledger = self.common.ledger;
        Driven {
            began: self.began.0,
            zero: self.began.1,
            intervals,
            latencies,
            lags: self.lags,
            verdicts: ledger.verdicts,
            acked: ledger.acked,
            keys: (ledger.keys(), ledger.unknown_keys()),
            told: ledger.told,
        }
    }
}
