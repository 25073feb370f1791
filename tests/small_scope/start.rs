//! Where the search begins: a cluster that has come to rest, made by the machines themselves.

use crate::engine::Engine;
use crate::react::Cause;
use crate::scope::{Scope, Start};
use crate::step::{Act, Step};
use crate::world::{Used, World};

/// Without the scope's budgets and faults.
fn engine(scope: Scope) -> Engine {
    Engine::new(Scope { time: u8::MAX, changes: u8::MAX, phases: true, ..scope })
}

/// A promise can be broken on the way there, by rules that are switched off.
type Started<T> = Result<T, String>;

fn act(engine: &mut Engine, world: &mut World, act: Act) -> Started<()> {
    *world = engine.after(world, Step { act, pick: 0 })?;
    Ok(())
}

/// Everything that is under way arrives.
fn settle(engine: &mut Engine, world: &mut World) -> Started<()> {
    while let Some(&next) = world.under_way().first() {
        act(engine, world, next)?;
    }
    Ok(())
}

/// One step of time in which everyone hears everyone before anyone is taken for silent.
fn turn(engine: &mut Engine, world: &mut World) -> Started<()> {
    engine.advance(world, 0)?;
    world.used.time = 0;
    for node in [3, 2, 1, 0] {
        if world.runs(node) {
            act(engine, world, Act::Tick(node))?;
            settle(engine, world)?;
        }
    }
    Ok(())
}

fn grow(engine: &mut Engine, world: &mut World, servers: u8) -> Started<()> {
    for node in 1..=servers {
        engine.meet(world, node, &Cause::Boot, 0)?;
        for _ in 0..6 {
            settle(engine, world)?;
            turn(engine, world)?;
        }
    }
    // until nobody remembers how it began
    for _ in 0..20 {
        turn(engine, world)?;
    }
    let members = world.office.record.as_ref().map_or(0, |record| record.members.len());
    assert!(members == usize::from(servers), "{members} members");
    Ok(())
}

/// The first state of `scope`.
///
/// # Errors
/// When a promise is broken before it.
pub fn first(scope: Scope) -> Started<World> {
    let mut engine = engine(scope);
    let mut world = engine.nothing();
    engine.meet(&mut world, 0, &Cause::Boot, 0)?;
    match scope.start {
        Start::Three => grow(&mut engine, &mut world, 3)?,
        Start::Registered => {
            grow(&mut engine, &mut world, 2)?;
            engine.meet(&mut world, 3, &Cause::Boot, 0)?;
            settle(&mut engine, &mut world)?;
        }
        Start::CaughtUp => {
            grow(&mut engine, &mut world, 2)?;
            engine.meet(&mut world, 3, &Cause::Boot, 0)?;
            settle(&mut engine, &mut world)?;
            turn(&mut engine, &mut world)?;
        }
    }
    world.used = Used::default();
    world.first_epoch = world.office.record.as_ref().expect("a cluster was founded").epoch.0;
    Ok(world)
}
