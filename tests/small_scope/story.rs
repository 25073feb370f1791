//! A counterexample as a story: one line for each step, with what was said and how the servers stand afterwards.

use std::fmt::Write;

use ringstore::cluster::message::Standing;
use ringstore::cluster::{Body, Message};

use crate::engine::Engine;
use crate::scope::Scope;
use crate::search::Counterexample;
use crate::start;
use crate::step::{Act, Step, name};
use crate::world::World;

/// See the module.
#[must_use]
pub fn tell(scope: Scope, found: &Counterexample) -> String {
    let mut engine = Engine::new(scope);
    let mut world = match start::first(scope) {
        Ok(first) => first,
        Err(_) => return found.violation.clone(),
    };
    let mut text = format!("at first: {}\n", standing(&world));
    for (at, &step) in found.steps.iter().enumerate() {
        let said = heard(&world, step).map_or(String::new(), |message| format!(": {}", body(message)));
        write!(text, "{:>3}. {step}{said}", at + 1).expect("a string takes everything");
        match engine.after(&world, step) {
            Ok(next) => {
                let (before, after) = (standing(&world), standing(&next));
                if before != after {
                    write!(text, "\n       {after}").expect("a string takes everything");
                }
                world = next;
            }
            Err(_) => write!(text, "  <--").expect("a string takes everything"),
        }
        text.push('\n');
    }
    text.push_str(&found.violation);
    text
}

/// The message that a step is about.
fn heard(world: &World, step: Step) -> Option<&Message> {
    let flying = match step.act {
        Act::Deliver { from, to } | Act::Lose { from, to } | Act::Double { from, to } => {
            &world.flying[world.oldest(from, to)?]
        }
        Act::Found(at) => world.astray.get(usize::from(at))?,
        _ => return None,
    };
    Some(&flying.letter.message)
}

fn body(message: &Message) -> String {
    let epoch = message.header.epoch.0;
    let says = match &message.body {
        Body::Append(append) => match &append.frame {
            Some(frame) => format!("append {frame:?}, committed {}", append.commit.0),
            None => format!("beacon behind {}, committed {}", append.previous.position.0, append.commit.0),
        },
        Body::Ack(ack) => match &ack.standing {
            Standing::Matched { durable, end, .. } => format!("ack of {}, durable {}", end.position.0, durable.0),
            other => format!("ack, {other:?}"),
        },
        Body::Announce(new) => {
            let members: Vec<u64> = new.nodes().map(|node| node.0).collect();
            return format!("configuration {}: {} leads {members:?}", new.epoch.0, new.leader.0);
        }
        Body::ChangeAsked { members } => {
            let members: Vec<u64> = members.iter().map(|member| member.node.0).collect();
            format!("make {members:?} the members")
        }
        other => format!("{other:?}"),
    };
    format!("{says} (epoch {epoch})")
}

/// How the servers stand: role, epoch, what is in the log, on the disk and committed.
fn standing(world: &World) -> String {
    let mut text = String::new();
    for seat in &world.seats {
        let node = &seat.node;
        let Some(replica) = &node.replica else {
            write!(text, "[{} is down] ", name(node.name)).expect("a string takes everything");
            continue;
        };
        let epoch = replica.configuration().map_or(0, |configuration| configuration.epoch.0);
        let role = if replica.is_serving() { "serving" } else { replica.role() };
        let (end, commit) = (replica.end().position.0, replica.commit().position.0);
        write!(text, "[{} {role} e{epoch} log {end} commit {commit}", node.name).expect("a string takes everything");
        let reads = seat.shown.map_or(String::new(), |shown| format!(" reads {}", shown.0));
        write!(text, "{reads}] ").expect("a string takes everything");
    }
    text
}
