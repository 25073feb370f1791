//! The network between processes: datagrams that are lost, doubled, late, out of order and played back long after, and
//! streams that keep their order and stall where datagrams would be lost. Owns what is under way; knows nothing of what
//! is in it.
//!
//! A cut is one-way; a partition is cuts in both directions. Streams across a cut wait for its end.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ringstore::time::{Duration, Time};

use crate::dice::Dice;

/// A process; what number it is, is the world's matter.
pub type Address = usize;

/// A direction between two processes.
pub type Link = (Address, Address);

/// What can travel: the network copies it and may damage it.
pub trait Cargo: Clone {
    /// The same with some of its bytes changed or missing; nothing where no bytes travel.
    fn damaged(&self, dice: &mut Dice) -> Option<Self>;
}

/// How bad the network is.
#[derive(Clone, Copy, Debug)]
pub struct Conditions {
    /// Share of datagrams that never arrive.
    pub loss: f64,
    /// Share that arrives twice.
    pub duplicate: f64,
    /// Share of sends at which some old datagram is delivered once more.
    pub replay: f64,
    /// Share that arrives damaged.
    pub damage: f64,
    /// Shortest time on the way.
    pub delay_min: Duration,
    /// Longest time on the way, usually.
    pub delay_max: Duration,
    /// Share that takes up to `LATE_FACTOR` times the longest.
    pub late: f64,
    /// Share that overtakes and is overtaken; the others of a link keep their order.
    pub reorder: f64,
}

/// How much later than the usual longest delay a late datagram may be.
const LATE_FACTOR: u64 = 20;

/// Datagrams kept to be played back.
const OLD_MAX: usize = 128;

impl Conditions {
    /// A network on a good day.
    pub const CALM: Self = Self {
        loss: 0.0,
        duplicate: 0.0,
        replay: 0.0,
        damage: 0.0,
        delay_min: Duration(20_000),
        delay_max: Duration(200_000),
        late: 0.0,
        reorder: 0.0,
    };

    /// Some network, most of them bad in a few ways and not in all.
    pub fn draw(dice: &mut Dice) -> Self {
        let mut some = |share: f64, most: f64| {
            if dice.chance(share) { dice.between(0, 1000) as f64 / 1000.0 * most } else { 0.0 }
        };
        let (loss, duplicate, replay) = (some(0.6, 0.25), some(0.4, 0.2), some(0.4, 0.1));
        let (late, overtaken, damage) = (some(0.5, 0.05), some(0.5, 0.3), some(0.3, 0.1));
        // on some networks nothing keeps its order
        let reorder = if overtaken > 0.15 { 1.0 } else { overtaken };
        let delay_min = Duration(dice.between(10_000, 200_000));
        let delay_max = delay_min.0 + dice.skewed(50_000, 4_000_000);
        Self { loss, duplicate, replay, damage, delay_min, delay_max: Duration(delay_max), late, reorder }
    }
}

/// How a message travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Datagram,
    Stream,
}

/// What arrives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet<M> {
    pub from: Address,
    pub to: Address,
    pub way: Way,
    pub message: M,
    /// It is not what was sent.
    pub damaged: bool,
}

/// What happened to datagrams, so that a test can say that its faults took place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub sent: u64,
    pub lost: u64,
    pub duplicated: u64,
    pub replayed: u64,
    pub damaged: u64,
    pub late: u64,
    pub reordered: u64,
    pub clogged: u64,
    pub cut_off: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.sent += other.sent;
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.replayed += other.replayed;
        self.damaged += other.damaged;
        self.late += other.late;
        self.reordered += other.reordered;
        self.clogged += other.clogged;
        self.cut_off += other.cut_off;
    }
}

/// Everything under way.
pub struct Network<M> {
    dice: Dice,
    conditions: Conditions,
    /// Datagrams by arrival; the number keeps those of one instant apart.
    datagrams: BTreeMap<(Time, u64), Packet<M>>,
    /// Stream messages with the time from which each may arrive; invariant: these times never fall along a queue.
    streams: BTreeMap<Link, VecDeque<(Time, M)>>,
    old: Vec<Packet<M>>,
    cuts: BTreeSet<Link>,
    clogs: BTreeMap<Link, Time>,
    /// When the newest datagram that keeps its order arrives on a link.
    newest: BTreeMap<Link, Time>,
    number: u64,
    tally: Tally,
}

impl<M: Cargo> Network<M> {
    pub const fn new(dice: Dice, conditions: Conditions) -> Self {
        Self {
            dice,
            conditions,
            datagrams: BTreeMap::new(),
            streams: BTreeMap::new(),
            old: Vec::new(),
            cuts: BTreeSet::new(),
            clogs: BTreeMap::new(),
            newest: BTreeMap::new(),
            number: 0,
            tally: Tally {
                sent: 0,
                lost: 0,
                duplicated: 0,
                replayed: 0,
                damaged: 0,
                late: 0,
                reordered: 0,
                clogged: 0,
                cut_off: 0,
            },
        }
    }

    pub const fn tally(&self) -> Tally {
        self.tally
    }

    /// From now on the network is like this.
    pub const fn set_conditions(&mut self, conditions: Conditions) {
        self.conditions = conditions;
    }

    /// Nothing arrives from `from` at `to` any more.
    pub fn cut(&mut self, from: Address, to: Address) {
        self.cuts.insert((from, to));
    }

    /// The two sides no longer hear each other.
    pub fn partition(&mut self, one: &[Address], other: &[Address]) {
        for &a in one {
            for &b in other.iter().filter(|&&b| b != a) {
                self.cut(a, b);
                self.cut(b, a);
            }
        }
    }

    /// Ends the cut from `from` to `to`.
    pub fn mend(&mut self, from: Address, to: Address) {
        self.cuts.remove(&(from, to));
    }

    /// Ends all cuts and clogs; what a clog held back is let go.
    pub fn heal(&mut self, now: Time) {
        self.cuts.clear();
        let clogs = std::mem::take(&mut self.clogs);
        let held = |at: Time, packet: &Packet<M>| at > now && clogs.contains_key(&(packet.from, packet.to));
        let held: Vec<(Time, u64)> =
            self.datagrams.iter().filter(|((at, _), packet)| held(*at, packet)).map(|(&key, _)| key).collect();
        self.newest.retain(|link, _| !clogs.contains_key(link));
        for key in held {
            let packet = self.datagrams.remove(&key).expect("it was just there");
            self.enqueue(now, packet);
        }
    }

    pub fn is_cut(&self, from: Address, to: Address) -> bool {
        self.cuts.contains(&(from, to))
    }

    /// What goes from `from` to `to` arrives after `until`, all of it at about the same time.
    pub fn clog(&mut self, from: Address, to: Address, until: Time) {
        self.clogs.insert((from, to), until);
    }

    /// Whatever is under way in streams between the two is gone.
    pub fn reset_streams(&mut self, one: Address, other: Address) {
        self.streams.remove(&(one, other));
        self.streams.remove(&(other, one));
    }

    fn delay(&mut self) -> Duration {
        Duration(self.dice.skewed(self.conditions.delay_min.0, self.conditions.delay_max.0))
    }

    fn enqueue(&mut self, now: Time, packet: Packet<M>) {
        let Conditions { delay_max, late, reorder, .. } = self.conditions;
        let mut arrival = now.after(self.delay());
        if late > 0.0 && self.dice.chance(late) {
            arrival = now.after(Duration(self.dice.between(delay_max.0, delay_max.0 * LATE_FACTOR)));
            self.tally.late += 1;
        } else if reorder > 0.0 && self.dice.chance(reorder) {
            self.tally.reordered += 1;
        } else {
            let newest = self.newest.entry((packet.from, packet.to)).or_default();
            arrival = arrival.max(*newest);
            *newest = arrival;
        }
        self.number += 1;
        self.datagrams.insert((arrival, self.number), packet);
    }

    /// Sends a datagram.
    pub fn send(&mut self, now: Time, from: Address, to: Address, message: M) {
        let packet = Packet { from, to, way: Way::Datagram, message, damaged: false };
        self.tally.sent += 1;
        if self.dice.chance(self.conditions.replay) && !self.old.is_empty() {
            let old = self.old[self.dice.below(self.old.len())].clone();
            self.tally.replayed += 1;
            self.enqueue(now, old);
        }
        self.remember(packet.clone());
        if self.is_cut(from, to) {
            self.tally.cut_off += 1;
            return;
        }
        if self.dice.chance(self.conditions.loss) {
            self.tally.lost += 1;
            return;
        }
        if self.dice.chance(self.conditions.duplicate) {
            self.tally.duplicated += 1;
            self.enqueue(now, packet.clone());
        }
        if self.dice.chance(self.conditions.damage)
            && let Some(message) = packet.message.damaged(&mut self.dice)
        {
            self.tally.damaged += 1;
            return self.enqueue(now, Packet { message, damaged: true, ..packet });
        }
        self.enqueue(now, packet);
    }

    fn remember(&mut self, packet: Packet<M>) {
        if self.old.len() < OLD_MAX {
            return self.old.push(packet);
        }
        // some very old ones stay for long
        let at = self.dice.below(OLD_MAX);
        self.old[at] = packet;
    }

    /// Everything old that is remembered and was for `to` arrives once more.
    pub fn replay_all(&mut self, now: Time, to: Address) {
        let old: Vec<Packet<M>> = self.old.iter().filter(|packet| packet.to == to).cloned().collect();
        self.tally.replayed += old.len() as u64;
        for packet in old {
            self.enqueue(now, packet);
        }
    }

    /// Sends a message of a stream: it arrives after those before it, or not before the link is whole again.
    pub fn send_stream(&mut self, now: Time, from: Address, to: Address, message: M) {
        let earliest = now.after(self.delay());
        let queue = self.streams.entry((from, to)).or_default();
        let arrival = queue.back().map_or(earliest, |(before, _)| earliest.max(*before));
        queue.push_back((arrival, message));
    }

    /// When the head of a stream arrives, if the link is not cut.
    fn stream_arrival(&self, link: Link, head: Time) -> Option<Time> {
        (!self.cuts.contains(&link)).then(|| self.clogs.get(&link).map_or(head, |&until| head.max(until)))
    }

    fn next_stream(&self) -> Option<(Time, Link)> {
        let heads = self.streams.iter().filter_map(|(&link, queue)| Some((link, queue.front()?.0)));
        heads.filter_map(|(link, head)| Some((self.stream_arrival(link, head)?, link))).min()
    }

    /// The next instant at which something may arrive.
    pub fn next(&self) -> Option<Time> {
        let datagram = self.datagrams.keys().next().map(|&(at, _)| at);
        let stream = self.next_stream().map(|(at, _)| at);
        datagram.into_iter().chain(stream).min()
    }

    /// Something that has arrived by `now`.
    pub fn take(&mut self, now: Time) -> Option<Packet<M>> {
        while let Some(entry) = self.datagrams.first_entry().filter(|entry| entry.key().0 <= now) {
            let packet = entry.remove();
            let link = (packet.from, packet.to);
            if let Some(&until) = self.clogs.get(&link).filter(|&&until| until > now) {
                self.tally.clogged += 1;
                self.enqueue(until, packet);
            } else if self.cuts.contains(&link) && self.dice.chance(0.5) {
                // on the way when the link was cut: before the cut or behind it
                self.tally.cut_off += 1;
            } else {
                return Some(packet);
            }
        }
        let (at, (from, to)) = self.next_stream()?;
        if at > now {
            return None;
        }
        let (_, message) = self.streams.get_mut(&(from, to))?.pop_front()?;
        Some(Packet { from, to, way: Way::Stream, message, damaged: false })
    }
}

#[cfg(test)]
mod tests;
