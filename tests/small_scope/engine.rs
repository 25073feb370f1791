//! Carries steps out: from one state to the next.

use std::collections::VecDeque;
use std::sync::Arc;

use ringstore::time::Time;

use crate::ghost::Ghost;
use crate::node::Node;
use crate::react::{Cause, News, Office, Reactions};
use crate::scope::{QUANTUM, Scope};
use crate::step::{Act, Step};
use crate::world::{Used, World};

/// See the module.
pub struct Engine {
    pub scope: Scope,
    reactions: Reactions,
    /// How many the coordinator's dice chose among in the last step.
    pub choices: u8,
}

impl Engine {
    #[must_use]
    pub fn new(scope: Scope) -> Self {
        Self { scope, reactions: Reactions::new(scope), choices: 1 }
    }

    /// Nobody runs.
    pub fn nothing(&mut self) -> World {
        let now = Time(1000 * QUANTUM.0);
        let office = Office { machine: None, record: None, records: VecDeque::new(), ticked: false };
        World {
            now,
            seats: [1, 2, 3].map(|name| self.reactions.seat(now, Node::new(name))),
            office_print: self.reactions.print(now, &office),
            office: Arc::new(office),
            flying: Vec::new(),
            astray: Vec::new(),
            used: Used::default(),
            cut: 0,
            ended: None,
            first_epoch: 0,
            ghost: Ghost::default(),
        }
    }

    /// The state after `step`.
    ///
    /// # Errors
    /// When something happened that never may.
    pub fn after(&mut self, world: &World, step: Step) -> Result<World, String> {
        let mut next = world.clone();
        self.choices = 1;
        self.carry_out(&mut next, step)?;
        next.bury(&self.scope);
        next.check()?;
        Ok(next)
    }

    fn carry_out(&mut self, world: &mut World, step: Step) -> Result<(), String> {
        let pick = step.pick;
        match step.act {
            Act::Deliver { from, to } => {
                let flying = world.flying.remove(world.oldest(from, to).expect("one is under way"));
                self.meet(world, to, &Cause::Message(flying.letter), pick)
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
                self.meet(world, stray.to, &Cause::Message(stray.letter), pick)
            }
            Act::Written(node) => self.meet(world, node, &Cause::Written, pick),
            Act::Recorded(node) => self.meet(world, node, &Cause::Recorded, pick),
            Act::Tick(node) => self.meet(world, node, &Cause::Tick, pick),
            Act::Advance => self.advance(world, pick),
            Act::Write(node) => {
                world.used.writes += 1;
                self.meet(world, node, &Cause::Write(world.used.writes), pick)
            }
            Act::Resign(node) => {
                world.used.resigned = true;
                self.meet(world, node, &Cause::Resign, pick)
            }
            Act::Cut { lost } => {
                world.used.fault = 1;
                world.cut = self.scope.fault.cuts();
                if lost {
                    world.flying.retain(|flying| world.cut & 1 << (flying.from * 4 + flying.to) == 0);
                }
                Ok(())
            }
            Act::Heal => {
                world.used.fault = 2;
                world.cut = 0;
                Ok(())
            }
            Act::Crash { node, frames, record } => self.crash(world, node, &Cause::Crash(frames, record)),
            Act::Restart(node) => {
                world.used.fault = 2;
                self.meet(world, node, &Cause::Boot, pick)
            }
            Act::SeeEnd(observer) => {
                let (node, incarnation, unseen) = world.ended.expect("one crashed");
                world.ended = Some((node, incarnation, unseen & !(1 << observer)));
                self.meet(world, observer, &Cause::Ended(node, incarnation), pick)
            }
        }
    }

    /// Something happens to one of them.
    ///
    /// # Errors
    /// As `after`.
    pub fn meet(&mut self, world: &mut World, node: u8, cause: &Cause, pick: u8) -> Result<(), String> {
        if node == 0 {
            let office = (&world.office, world.office_print);
            let ruling = self.reactions.coordinator(world.now, office, cause, pick)?;
            (world.office, world.office_print) = (Arc::clone(&ruling.office), ruling.print);
            self.choices = self.choices.max(ruling.choices);
            for letter in &ruling.sent {
                world.send(letter.clone(), &self.scope);
            }
            return Ok(());
        }
        let seat = &mut world.seats[usize::from(node) - 1];
        let reaction = self.reactions.server(world.now, seat, cause)?;
        *seat = reaction.seat.clone();
        for letter in &reaction.sent {
            world.send(letter.clone(), &self.scope);
        }
        for news in &reaction.news {
            match news {
                News::Committed(from, frames) => world.ghost.commit(node, *from, frames)?,
                News::Leads(epoch) => world.ghost.lead(epoch.0, node)?,
                News::Answered(write, end) => world.ghost.answer(*write, *end),
            }
        }
        Ok(())
    }

    /// Time goes on, and with it every age.
    ///
    /// # Errors
    /// As `after`.
    pub fn advance(&mut self, world: &mut World, pick: u8) -> Result<(), String> {
        world.used.time += 1;
        world.now = world.now.after(QUANTUM);
        let now = world.now;
        for seat in &mut world.seats {
            *seat = self.reactions.server(now, seat, &Cause::Advance)?.seat.clone();
        }
        let ruling = self.reactions.coordinator(now, (&world.office, world.office_print), &Cause::Advance, 0)?;
        (world.office, world.office_print) = (Arc::clone(&ruling.office), ruling.print);
        for flying in world.flying.iter_mut().chain(&mut world.astray) {
            flying.letter = self.reactions.letter(now, Arc::clone(&flying.letter.message));
        }
        if self.scope.phases {
            return Ok(());
        }
        // each of them only sends, so it does not matter in which order
        for node in 0..4 {
            if world.runs(node) {
                self.meet(world, node, &Cause::Tick, pick)?;
            }
        }
        Ok(())
    }

    fn crash(&mut self, world: &mut World, node: u8, cause: &Cause) -> Result<(), String> {
        world.used.fault = 1;
        // what is under way to it finds nobody
        world.flying.retain(|flying| flying.to != node);
        if node > 0 {
            let incarnation = world.node(node).replica.as_ref().map_or(0, |replica| replica.incarnation().0);
            world.ended = Some((node, incarnation, 0b1111 & !(1 << node)));
        }
        self.meet(world, node, cause, 0)
    }
}
