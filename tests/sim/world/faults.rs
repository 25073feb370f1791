//! What goes wrong: faults at random instants, each with an end. Those that aim at a moment are in `traps`.

use ringstore::log::layout::file;
use ringstore::time::Duration;

use super::{Event, World};
use crate::disk::Latency;
use crate::host::{Arrival, File};
use crate::network::{Address, Conditions};
use crate::recovery;
use crate::wire::Wire;

/// Kinds of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The process is killed; its guardian or the kernel says so.
    Kill,
    /// The machine loses its power, perhaps in the middle of a step.
    PowerLoss,
    Pause,
    /// One server hears nobody and nobody hears it.
    Isolate,
    /// One direction between two places.
    OneWay,
    /// Some on one side, the others and the coordinator on the other.
    Split,
    /// The coordinator is not reached by some.
    CoordinatorCut,
    Clog,
    /// A server comes back with an empty disk.
    Wipe,
    /// A bit of a server's log flips while it is down.
    Flip,
    SlowDisk,
    /// A server writes a keystore and shortens its log.
    Shorten,
    /// A follower holds something that its leader does not. Only where a test says so: if the leader goes before the two were
    /// compared, what is wrong becomes what is right.
    Rot,
    FullDisk,
    /// A sync fails: the process must end.
    BrokenSync,
    Resign,
    /// A lifeline is reset, for no reason of the server's.
    LifelineReset,
    CoordinatorPowerLoss,
    CoordinatorPause,
    /// A write fails: the process must end.
    BrokenWrite,
    /// Everything old for a server that is remembered arrives once more.
    ReplayBurst,
    /// The leader and some others are not heard, and hear nobody themselves as soon as another is elected.
    Mute,
    /// The coordinator loses sight of the leader first, the others some time later.
    LeaderFades,
    /// The leader is cut off, and the others lose their power and come back at once, within its lease.
    RestartUnderLease,
    /// One follower is stopped, so that nothing is committed, and another one starts again meanwhile.
    RestartWhileSlow,
    /// When a server is let in, it and the coordinator are cut off from the others; sometimes it is the leader in the end
    /// that is cut off, and only then learns of it.
    SplitAtJoin,
    /// When a follower that the leader cannot hear is to be left out, it and the coordinator are cut off from the others.
    SplitAtShrink,
    /// The leader is lost right when its change has been decided.
    LoseLeaderAtChange,
    /// The coordinator loses its power at some step of a change.
    CoordinatorDiesAtChange,
}

impl Fault {
    /// All that a plan draws from.
    pub const ALL: [Self; 28] = [
        Self::Kill,
        Self::PowerLoss,
        Self::Pause,
        Self::Isolate,
        Self::OneWay,
        Self::Split,
        Self::CoordinatorCut,
        Self::Clog,
        Self::Wipe,
        Self::Flip,
        Self::SlowDisk,
        Self::Shorten,
        Self::FullDisk,
        Self::BrokenSync,
        Self::Resign,
        Self::LifelineReset,
        Self::CoordinatorPowerLoss,
        Self::CoordinatorPause,
        Self::BrokenWrite,
        Self::ReplayBurst,
        Self::Mute,
        Self::LeaderFades,
        Self::RestartUnderLease,
        Self::RestartWhileSlow,
        Self::SplitAtJoin,
        Self::SplitAtShrink,
        Self::LoseLeaderAtChange,
        Self::CoordinatorDiesAtChange,
    ];
}

impl World {
    /// Begins to make trouble.
    pub fn begin_faults(&mut self) {
        if !self.plan.faults.is_empty() {
            let after = Duration(self.dice.between(50_000_000, 600_000_000));
            self.schedule(after, Event::Fault);
        }
    }

    pub(super) fn is_faulty(&self) -> bool {
        self.now < super::START.after(self.plan.faulty)
    }

    pub(super) fn fault(&mut self) {
        if !self.is_faulty() {
            return;
        }
        let fault = *self.dice.pick(&self.plan.faults);
        *self.figures.faults.entry(fault).or_default() += 1;
        let place = self.some_server();
        self.say(place, || format!("*** {fault:?}"));
        self.do_fault(fault, place);
        let after = Duration(self.dice.skewed(1_000_000, self.plan.between.0));
        self.schedule(after, Event::Fault);
    }

    /// A server; the leader in about half of all cases.
    fn some_server(&mut self) -> Address {
        let leader = self.leader_place();
        match leader {
            Some(leader) if self.dice.chance(0.35) => leader,
            _ => 1 + self.dice.below(self.plan.servers),
        }
    }

    /// Where the newest configuration's leader is.
    pub fn leader_place(&self) -> Option<Address> {
        let configuration = self.coordinator.machine.as_ref()?.configuration()?;
        self.place_of(configuration.leader)
    }

    pub(super) fn some_time(&mut self) -> Duration {
        Duration(self.dice.skewed(self.plan.lasts.0.0, self.plan.lasts.1.0))
    }

    pub(super) fn mend_later(&mut self) {
        let after = self.some_time();
        self.schedule(after, Event::Mend);
    }

    pub(super) fn do_fault(&mut self, fault: Fault, place: Address) {
        match fault {
            Fault::Kill => {
                self.kill(place, true);
                self.restart_soon(place);
            }
            Fault::PowerLoss => self.power_loss(place),
            Fault::Pause => self.pause(place),
            Fault::Isolate => {
                let others: Vec<Address> = (0..=self.plan.servers).filter(|&other| other != place).collect();
                self.network.partition(&[place], &others);
                self.mend_later();
            }
            Fault::OneWay => {
                let other = self.dice.below(self.plan.servers + 1);
                let (from, to) = if self.dice.chance(0.5) { (place, other) } else { (other, place) };
                self.network.cut(from, to);
                self.mend_later();
            }
            Fault::Split => {
                let (one, other): (Vec<_>, Vec<_>) = (0..=self.plan.servers).partition(|_| self.dice.chance(0.5));
                self.network.partition(&one, &other);
                self.mend_later();
            }
            Fault::CoordinatorCut => {
                let some: Vec<Address> = (1..=self.plan.servers).filter(|_| self.dice.chance(0.6)).collect();
                self.network.partition(&[0], &some);
                self.mend_later();
            }
            Fault::Clog => {
                let (other, until) = (self.dice.below(self.plan.servers + 1), self.now.after(self.some_time()));
                self.network.clog(place, other, until);
            }
            Fault::Wipe | Fault::Flip => self.damage(fault, place),
            Fault::SlowDisk => {
                let latency = Latency::draw(&mut self.dice);
                self.server(place).disk.set_latency(latency);
            }
            Fault::Shorten => self.servers.iter_mut().for_each(|host| host.shorten = true),
            Fault::Rot => {
                if self.server(place).process.as_ref().is_some_and(crate::host::Process::follows)
                    && self.server(place).rot()
                {
                    self.figures.rotten += 1;
                }
            }
            Fault::FullDisk => {
                let room = self.dice.between(0, 300);
                self.server(place).disk.leave_room(room);
                self.mend_later();
            }
            Fault::BrokenSync | Fault::BrokenWrite => {
                self.server(place).disk.fail_next(fault == Fault::BrokenSync);
            }
            Fault::Resign => {
                let host = self.server(place);
                if host.is_up()
                    && let Some(arrival) = host.inbox.offer(Arrival::Resign, false)
                {
                    self.arrive(place, arrival);
                }
                // the process ends when it has handed the lead on, or a while later
                let life = self.server(place).life;
                let after = Duration::from_millis(self.dice.between(1, 400));
                self.schedule(after, Event::End(place, life));
            }
            Fault::LifelineReset => {
                if !self.lifelines.is_empty() {
                    let at = self.dice.below(self.lifelines.len());
                    let lost = self.lifelines.swap_remove(at);
                    let wire = Wire::Lifeline { node: lost.node, incarnation: lost.incarnation, ended: false };
                    self.network.send_stream(self.now, lost.target, lost.watcher, wire);
                }
            }
            Fault::CoordinatorPowerLoss => {
                if self.coordinator.machine.is_some() {
                    self.coordinator.crash_after = Some(self.dice.skewed(0, 40));
                }
            }
            Fault::CoordinatorPause => {
                let until = self.now.after(self.some_time());
                self.coordinator.inbox.pause(until);
                self.schedule(until.since(self.now), Event::Resume(0));
            }
            Fault::ReplayBurst => self.network.replay_all(self.now, place),
            Fault::Mute
            | Fault::LeaderFades
            | Fault::RestartUnderLease
            | Fault::RestartWhileSlow
            | Fault::SplitAtJoin
            | Fault::SplitAtShrink
            | Fault::LoseLeaderAtChange
            | Fault::CoordinatorDiesAtChange => self.set_trap(fault),
        }
    }

    fn power_loss(&mut self, place: Address) {
        if self.dice.chance(0.5) {
            self.server(place).crash_after = Some(self.dice.skewed(0, 60));
        } else {
            self.kill(place, false);
            self.restart_soon(place);
        }
    }

    fn pause(&mut self, place: Address) {
        let until = self.now.after(self.some_time());
        self.server(place).inbox.pause(until);
        self.schedule(until.since(self.now), Event::Resume(place));
    }

    /// Data is lost at one server, which the others must be able to make good: once in a run, never at the leader, and
    /// only while others are members too.
    fn damage(&mut self, fault: Fault, place: Address) {
        // also one that is decided and not durable yet: it may leave one server alone
        let Some(configuration) = self.coordinator.newest() else { return };
        let members = configuration.members.len();
        // nor while another leader may be about to be chosen, for what it was before
        let serves = |host: &crate::host::Host| {
            host.process.as_ref().is_some_and(|p| p.node == configuration.leader && p.is_serving())
        };
        if !self.servers.iter().any(serves)
            || self.damaged
            || members < 2
            || self.place_of(configuration.leader) == Some(place)
        {
            return;
        }
        self.damaged = true;
        self.kill(place, false);
        let host = &mut self.servers[place - 1];
        if fault == Fault::Wipe {
            host.wipe();
        } else {
            // above its watermark corruption cannot be told from a torn tail (D1), and no log can survive that
            let end = recovery::watermark(host.disk.durable(&File::Log));
            host.disk.flip(&File::Log, file::BYTES..end);
        }
        self.restart_soon(place);
    }

    /// The network is whole again and disks have room, for now.
    pub fn mend(&mut self) {
        self.network.heal(self.now);
        for host in &mut self.servers {
            host.disk.leave_room(u64::MAX);
        }
        self.say(0, || "*** the network is whole again, disks have room".into());
    }

    /// Nothing goes wrong any more.
    pub fn end_faults(&mut self) {
        let quiet = super::START.after(self.plan.faulty);
        assert!(self.now >= quiet, "faults end when their time is over");
        (self.traps, self.hold_until) = (Vec::new(), self.now);
        self.mend();
        self.network.set_conditions(Conditions::CALM);
        self.coordinator.disk.set_latency(Latency::CALM);
        self.coordinator.crash_after = None;
        for host in &mut self.servers {
            host.disk.set_latency(Latency::CALM);
            host.disk.fail_no_more();
            host.crash_after = None;
        }
        self.start_coordinator();
        for place in 1..=self.plan.servers {
            self.start(place);
        }
        self.say(0, || "*** from now on it is quiet".into());
    }
}
