//! One state of everything: three servers, the coordinator, the network between them, what is left of the scope's budgets.

use std::sync::Arc;

use ringstore::cluster::Configuration;
use ringstore::time::Time;

use crate::ghost::Ghost;
use crate::node::Node;
use crate::print::mix;
use crate::react::{Letter, Office, Seat};
use crate::scope::Scope;

/// A message under way.
#[derive(Clone, Debug)]
pub struct Flying {
    pub from: u8,
    pub to: u8,
    pub letter: Letter,
}

/// What has been used of the budgets.
#[derive(Clone, Copy, Debug, Default)]
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
    pub seats: [Seat; 3],
    pub office: Arc<Office>,
    pub office_print: u64,
    /// By link, in the order they were sent.
    pub flying: Vec<Flying>,
    /// Those that went astray.
    pub astray: Vec<Flying>,
    pub used: Used,
    /// The links that are cut.
    pub cut: u16,
    /// Which server crashed, its incarnation, and who has not seen its lifeline's end, as bits.
    pub ended: Option<(u8, u64, u8)>,
    /// The epoch at the beginning.
    pub first_epoch: u64,
    pub ghost: Ghost,
}

impl World {
    #[must_use]
    pub fn node(&self, node: u8) -> &Node {
        &self.seats[usize::from(node) - 1].node
    }

    #[must_use]
    pub fn runs(&self, node: u8) -> bool {
        if node == 0 { self.office.machine.is_some() } else { self.node(node).replica.is_some() }
    }

    #[must_use]
    pub fn ticked(&self, node: u8) -> bool {
        if node == 0 { self.office.ticked } else { self.node(node).ticked }
    }

    /// The oldest message on a link.
    #[must_use]
    pub fn oldest(&self, from: u8, to: u8) -> Option<usize> {
        self.flying.iter().position(|flying| (flying.from, flying.to) == (from, to))
    }

    /// A message leaves, if its link works and has room, and somebody runs at its other end.
    pub fn send(&mut self, letter: Letter, scope: &Scope) {
        let header = letter.message.header;
        let (from, to) = (header.source.0 as u8, header.destination.0 as u8);
        let under_way = self.flying.iter().filter(|flying| (flying.from, flying.to) == (from, to)).count();
        if self.cut & 1 << (from * 4 + to) != 0 || !self.runs(to) || under_way >= usize::from(scope.queue) {
            return;
        }
        let at = self.flying.partition_point(|flying| (flying.from, flying.to) <= (from, to));
        self.flying.insert(at, Flying { from, to, letter });
    }

    /// All of it in one number.
    #[must_use]
    pub fn print(&self) -> u64 {
        let mut all: Vec<u64> = Vec::with_capacity(64);
        all.extend(self.seats.iter().map(|seat| seat.print));
        all.push(self.office_print);
        for flying in &self.flying {
            all.extend([u64::from(flying.from * 4 + flying.to), flying.letter.print]);
        }
        let mut astray: Vec<u64> = self.astray.iter().map(|flying| flying.letter.print).collect();
        astray.sort_unstable();
        all.extend(astray);
        let Used { time, writes, lost, doubled, fault, resigned } = self.used;
        all.push(u64::from_le_bytes([time, writes, lost, doubled, fault, u8::from(resigned), self.ghost.answered, 0]));
        let (node, _, unseen) = self.ended.unwrap_or_default();
        all.extend([self.ghost.floor.0, u64::from(self.cut), u64::from(node) << 8 | u64::from(unseen)]);
        all.extend(self.ghost.committed.iter().map(|frame| frame.end().0 << 8 | frame.epoch().0));
        all.extend(self.ghost.leaders.iter().map(|(epoch, node)| epoch << 8 | u64::from(*node)));
        mix(&all)
    }

    /// More configurations than the scope has.
    #[must_use]
    pub fn is_beyond(&self, scope: &Scope) -> bool {
        let newest = self.office.records.back().or(self.office.record.as_ref());
        newest.is_some_and(|newest| newest.epoch.0 > self.first_epoch + u64::from(scope.changes))
    }

    /// What must hold in every state.
    ///
    /// # Errors
    /// When it does not.
    pub fn check(&mut self) -> Result<(), String> {
        self.check_members()?;
        self.check_leaders()?;
        self.check_reads()
    }

    /// What is committed is on the disks of all members of the newest configuration, whether they run or not.
    fn check_members(&self) -> Result<(), String> {
        let members = self.office.record.iter().flat_map(Configuration::nodes);
        for node in members {
            if !self.node(node.0 as u8).holds(&self.ghost.committed) {
                return Err(format!("server {} is a member and its disk lacks what is committed", node.0));
            }
        }
        Ok(())
    }

    /// One leader serves in an epoch.
    fn check_leaders(&self) -> Result<(), String> {
        let serving = || self.seats.iter().filter_map(|seat| Some((seat.serves?, seat.node.name)));
        for (epoch, node) in serving() {
            if let Some((_, other)) = serving().find(|&(of, other)| of == epoch && other != node) {
                return Err(format!("servers {node} and {other} both serve in epoch {}", epoch.0));
            }
        }
        Ok(())
    }

    /// A read at any server that may answer it shows what was answered or read before, anywhere. Every such read is taken
    /// to be made.
    fn check_reads(&mut self) -> Result<(), String> {
        let reads = || self.seats.iter().filter_map(|seat| Some((seat.node.name, seat.shown?)));
        let floor = reads().map(|(_, shown)| shown).max().unwrap_or_default().max(self.ghost.floor);
        if let Some((node, shown)) = reads().find(|(_, shown)| *shown < floor) {
            return Err(format!(
                "a stale read at server {node}: it shows the write that ends at {}, one that ends at {} was answered or read",
                shown.0, floor.0
            ));
        }
        self.ghost.floor = floor;
        Ok(())
    }
}
