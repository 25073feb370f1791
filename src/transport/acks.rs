//! Which datagrams of a peer have come, as the peer is told.

use super::ranges::Ranges;
use crate::config;

/// See the module.
#[derive(Debug, Default)]
pub struct Acks {
    come: Ranges,
    /// A datagram with pieces has come since the last ack left.
    due: bool,
}

impl Acks {
    /// `number` has come; whether the peer waits to hear of it.
    pub fn note(&mut self, number: u64, waits: bool) {
        self.come.insert(number..number + 1);
        self.come.keep_newest(config::ACK_RANGES_MAX);
        self.due |= waits;
    }

    pub const fn is_due(&self) -> bool {
        self.due
    }

    pub fn take(&mut self) -> &Ranges {
        self.due = false;
        &self.come
    }

    /// How many ranges an ack would have.
    pub const fn ranges(&self) -> usize {
        self.come.len()
    }
}
