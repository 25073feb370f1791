//! The search: every state that can be reached, each looked at once, found again by its fingerprint.

use std::collections::{HashSet, VecDeque};
use std::fmt;

use crate::engine::Engine;
use crate::print::Plain;
use crate::scope::Scope;
use crate::start;
use crate::step::Step;
use crate::world::World;

/// In which order states are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Nearest first: a counterexample is as short as any.
    Breadth,
    /// Newest first: little memory.
    Depth,
}

/// What a search saw.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// Different states.
    pub states: u64,
    /// Steps carried out.
    pub steps: u64,
    /// States behind which is a configuration more than the scope has.
    pub beyond: u64,
    /// States in which nothing more can happen.
    pub ends: u64,
    /// The longest course of events looked at.
    pub depth: u32,
    /// Configurations that a server came to lead in, the first included.
    pub epochs: u64,
    /// The scope's bound on states was reached.
    pub cut_short: bool,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { states, steps, beyond, ends, depth, epochs, cut_short } = self;
        write!(f, "{states} states, {steps} steps, up to {depth} one after the other, {epochs} configurations, ")?;
        write!(f, "{ends} ends, {beyond} states behind the scope's last configuration")?;
        if *cut_short { write!(f, "; cut short") } else { Ok(()) }
    }
}

/// A course of events that breaks a promise.
#[derive(Debug)]
pub struct Counterexample {
    pub steps: Vec<Step>,
    pub violation: String,
}

/// How a state was reached: from which, by which step, after how many.
struct Reached {
    from: u32,
    step: Step,
    depth: u32,
}

/// A search that goes on.
pub struct Search {
    engine: Engine,
    order: Order,
    seen: HashSet<u64, Plain>,
    reached: Vec<Reached>,
    open: VecDeque<(u32, World)>,
    pub figures: Figures,
}

impl Search {
    /// A search that has not begun.
    ///
    /// # Errors
    /// When a promise is broken on the way to where it would begin.
    pub fn new(scope: Scope, order: Order) -> Result<Self, Box<Counterexample>> {
        let first = start::first(scope).map_err(|violation| {
            let violation = format!("while the cluster comes to be: {violation}");
            Box::new(Counterexample { steps: Vec::new(), violation })
        })?;
        let mut search = Self {
            engine: Engine::new(scope),
            order,
            seen: HashSet::default(),
            reached: vec![Reached { from: 0, step: Step { act: crate::step::Act::Advance, pick: 0 }, depth: 0 }],
            open: VecDeque::new(),
            figures: Figures { states: 1, ..Figures::default() },
        };
        search.seen.insert(first.print());
        search.open.push_back((0, first));
        Ok(search)
    }

    /// Looks at all of it.
    ///
    /// # Errors
    /// When a promise is broken.
    pub fn run(mut self) -> Result<Figures, Box<Counterexample>> {
        while let Some((at, world)) = self.next() {
            self.expand(at, &world)?;
            if self.engine.scope.states != 0 && self.figures.states >= self.engine.scope.states {
                self.figures.cut_short = true;
                break;
            }
        }
        Ok(self.figures)
    }

    fn next(&mut self) -> Option<(u32, World)> {
        match self.order {
            Order::Breadth => self.open.pop_front(),
            Order::Depth => self.open.pop_back(),
        }
    }

    /// All states after this one.
    fn expand(&mut self, at: u32, world: &World) -> Result<(), Box<Counterexample>> {
        let scope = self.engine.scope;
        let acts = world.acts(&scope);
        self.figures.ends += u64::from(acts.is_empty());
        for act in acts {
            let mut pick = 0;
            loop {
                let step = Step { act, pick };
                match self.engine.after(world, step) {
                    Ok(next) => self.note(at, step, next),
                    Err(violation) => {
                        let mut steps = self.path(at);
                        steps.push(step);
                        return Err(Box::new(Counterexample { steps, violation }));
                    }
                }
                pick += 1;
                if pick >= self.engine.choices {
                    break;
                }
            }
        }
        Ok(())
    }

    fn note(&mut self, from: u32, step: Step, next: World) {
        self.figures.steps += 1;
        if !self.seen.insert(next.print()) {
            return;
        }
        self.figures.states += 1;
        if next.is_beyond(&self.engine.scope) {
            self.figures.beyond += 1;
            return;
        }
        let epoch = next.office.record.as_ref().map_or(0, |record| record.epoch.0);
        self.figures.epochs = self.figures.epochs.max(epoch + 1 - next.first_epoch);
        let depth = self.reached[from as usize].depth + 1;
        self.figures.depth = self.figures.depth.max(depth);
        self.reached.push(Reached { from, step, depth });
        self.open.push_back((self.reached.len() as u32 - 1, next));
    }

    fn path(&self, mut at: u32) -> Vec<Step> {
        let mut steps = Vec::new();
        while at != 0 {
            let reached = &self.reached[at as usize];
            steps.push(reached.step);
            at = reached.from;
        }
        steps.reverse();
        steps
    }
}
