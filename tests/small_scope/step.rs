//! The steps that a course of events is made of.

use std::fmt;

/// One thing that happens. Servers are 1 to 3, the coordinator is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// The oldest message on this link arrives.
    Deliver { from: u8, to: u8 },
    /// The oldest message on this link goes astray: it arrives any time later, or never.
    Lose { from: u8, to: u8 },
    /// A copy of the oldest message on this link goes astray.
    Double { from: u8, to: u8 },
    /// A message that went astray arrives.
    Found(u8),
    /// A write to the log is on the disk.
    Written(u8),
    /// A record is on the disk.
    Recorded(u8),
    /// The timer of this instant.
    Tick(u8),
    /// Time goes on by one quantum.
    Advance,
    /// A client writes here.
    Write(u8),
    /// It ends: so many frames that were not synced are on its disk all the same, and its record or not.
    Crash { node: u8, frames: u8, record: bool },
    /// It is started again.
    Restart(u8),
    /// This one sees the lifeline of the one that crashed end.
    SeeEnd(u8),
    /// The links of the scope's fault are cut, and what is under way on them is lost or arrives.
    Cut { lost: bool },
    /// They work again.
    Heal,
    /// It is told to stop.
    Resign(u8),
}

/// What happens, and whom the coordinator's dice choose if they are thrown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    pub act: Act,
    pub pick: u8,
}

/// A name for people.
#[must_use]
pub fn name(node: u8) -> String {
    if node == 0 { "coordinator".into() } else { format!("server {node}") }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.act {
            Act::Deliver { from, to } => write!(f, "{} hears {}", name(to), name(from)),
            Act::Lose { from, to } => write!(f, "lost for now, {} to {}", name(from), name(to)),
            Act::Double { from, to } => write!(f, "doubled, {} to {}", name(from), name(to)),
            Act::Found(_) => write!(f, "arrives late"),
            Act::Written(node) => write!(f, "{}: its log is on the disk", name(node)),
            Act::Recorded(node) => write!(f, "{}: its record is on the disk", name(node)),
            Act::Tick(node) => write!(f, "{}: tick", name(node)),
            Act::Advance => write!(f, "time goes on"),
            Act::Write(node) => write!(f, "a client writes at {}", name(node)),
            Act::Crash { node, frames, record } => {
                write!(f, "{} crashes, {frames} frames more are on its disk", name(node))?;
                if record { write!(f, ", its record too") } else { Ok(()) }
            }
            Act::Restart(node) => write!(f, "{} is started again", name(node)),
            Act::SeeEnd(node) => write!(f, "{} sees the lifeline end", name(node)),
            Act::Cut { lost: false } => write!(f, "links are cut"),
            Act::Cut { lost: true } => write!(f, "links are cut, with what is under way"),
            Act::Heal => write!(f, "links work again"),
            Act::Resign(node) => write!(f, "{} is told to stop", name(node)),
        }?;
        if self.pick > 0 { write!(f, " (the dice say {})", self.pick) } else { Ok(()) }
    }
}
