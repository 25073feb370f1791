//! What may happen next, within the scope's budgets.

use ringstore::cluster::WritePlace;

use crate::scope::{Fault, Scope};
use crate::step::Act;
use crate::world::World;

impl World {
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
        let mut acts: Vec<Act> = self.links().map(|(from, to)| Act::Deliver { from, to }).collect();
        for seat in self.seats.iter().filter(|seat| seat.node.replica.is_some()) {
            if !seat.node.writing.is_empty() {
                acts.push(Act::Written(seat.node.name));
            }
            if !seat.node.records.is_empty() {
                acts.push(Act::Recorded(seat.node.name));
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

    fn clients(&self, scope: &Scope, acts: &mut Vec<Act>) {
        for seat in &self.seats {
            let Some(replica) = &seat.node.replica else { continue };
            let place = replica.write_place();
            let here = place == Ok(WritePlace::Here) || (scope.forwards && place == Ok(WritePlace::Leader));
            if here && self.used.writes < scope.writes {
                acts.push(Act::Write(seat.node.name));
            }
            if scope.resigns && !self.used.resigned && replica.is_serving() {
                acts.push(Act::Resign(seat.node.name));
            }
        }
    }

    fn faults(&self, scope: &Scope, acts: &mut Vec<Act>) {
        match (scope.fault, self.used.fault) {
            (Fault::None, _) => {}
            (Fault::Crash(node) | Fault::Death(node), 0) => {
                let host = self.node(node);
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
            (Fault::Death(_) | Fault::Crash(_) | Fault::CoordinatorCrash, _) => {}
            (_, 0) => {
                acts.push(Act::Cut { lost: false });
                if self.flying.iter().any(|flying| scope.fault.cuts() & 1 << (flying.from * 4 + flying.to) != 0) {
                    acts.push(Act::Cut { lost: true });
                }
            }
            (_, 1) if scope.heals => acts.push(Act::Heal),
            _ => {}
        }
        if let Some((_, _, unseen)) = self.ended {
            let seers = (0..4).filter(|&observer| unseen & 1 << observer != 0 && self.runs(observer));
            acts.extend(seers.map(Act::SeeEnd));
        }
    }
}
