//! What somebody who sees everything knows, and what is never allowed.

use std::sync::Arc;

use ringstore::cluster::Frame;
use ringstore::log::Position;

use crate::node::write_of;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Ghost {
    /// Every frame that a server committed, in order.
    pub committed: Arc<Vec<Frame>>,
    /// The server that became leader of each epoch.
    pub leaders: Arc<Vec<(u64, u8)>>,
    /// Writes whose clients were told that they are stored, as bits.
    pub answered: u8,
    /// Reads must show at least what ends here: it was shown by a read, or its client was answered.
    pub floor: Position,
}

impl Ghost {
    /// A server committed these frames, whose first is the log's frame number `from`.
    ///
    /// # Errors
    /// When another server committed something else.
    pub fn commit(&mut self, node: u8, from: usize, frames: &[Frame]) -> Result<(), String> {
        for (at, frame) in frames.iter().enumerate() {
            match self.committed.get(from + at) {
                Some(first) if first == frame => {}
                Some(first) => return Err(format!("server {node} commits {frame:?}, another had committed {first:?}")),
                None => {
                    if self.committed.len() != from + at {
                        return Err(format!("server {node} commits {frame:?} behind what nobody has committed"));
                    }
                    let write = write_of(frame);
                    if write.is_some() && self.committed.iter().any(|before| write_of(before) == write) {
                        return Err(format!("C1: write {write:?} is committed twice"));
                    }
                    Arc::make_mut(&mut self.committed).push(frame.clone());
                }
            }
        }
        Ok(())
    }

    /// A server takes the lead.
    ///
    /// # Errors
    /// When another had it in that epoch.
    pub fn lead(&mut self, epoch: u64, node: u8) -> Result<(), String> {
        match self.leaders.iter().find(|(of, _)| *of == epoch) {
            Some((_, other)) if *other != node => Err(format!("servers {other} and {node} both lead in epoch {epoch}")),
            Some(_) => Ok(()),
            None => {
                Arc::make_mut(&mut self.leaders).push((epoch, node));
                Ok(())
            }
        }
    }

    /// A client was told that its write, whose frame ends there, is stored.
    pub fn answer(&mut self, write: u8, end: Position) {
        self.answered |= 1 << write;
        self.floor = self.floor.max(end);
    }
}
