//! Messages that can never change anything again are taken off the network at once: states that differ in nothing else are one.
//!
//! Servers' durable epochs never go back, and behind the scope's last epoch the search does not look. So, by what R7 and R4 say
//! of other epochs' messages:
//!
//! - a configuration from the coordinator that its receiver has, or a newer one, is ignored now and later;
//! - what is answered with nothing but a configuration is for nothing once the asker has the last one, and a server that is
//!   told its own last configuration ignores it.

use ringstore::cluster::{Body, COORDINATOR, Message, Rule};

use crate::scope::Scope;
use crate::world::World;

impl World {
    /// The epoch that is on a server's or the coordinator's disk and which it runs with.
    fn epoch(&self, node: u8) -> u64 {
        let configuration = match node {
            0 => self.office.record.as_ref(),
            _ => self.node(node).replica.as_ref().and_then(|replica| replica.configuration()),
        };
        configuration.map_or(0, |configuration| configuration.epoch.0)
    }

    /// Takes away what is for nothing.
    pub fn bury(&mut self, scope: &Scope) {
        if scope.rules.hold(Rule::R7) && scope.rules.hold(Rule::R2) {
            let last = self.first_epoch + u64::from(scope.changes);
            let mut flying = std::mem::take(&mut self.flying);
            flying.retain(|one| !self.is_dead(&one.letter.message, last));
            self.flying = flying;
            let mut astray = std::mem::take(&mut self.astray);
            astray.retain(|one| !self.is_dead(&one.letter.message, last));
            self.astray = astray;
        }
    }

    fn is_dead(&self, message: &Message, last: u64) -> bool {
        let header = &message.header;
        let (from, to) = (header.source.0 as u8, header.destination.0 as u8);
        let (of, at) = (header.epoch.0, self.epoch(to));
        match &message.body {
            Body::Announce(_) if header.source == COORDINATOR => of <= at,
            Body::Announce(_) => of == last && at == last,
            Body::Register { .. } | Body::Refused { .. } => false,
            Body::ConfigAsked if to == 0 => self.epoch(from) == last,
            Body::ConfigAsked => self.epoch(from) == last && at == last,
            // it is of an older epoch, and who sent it has learned that meanwhile
            _ => of < at && at == last && (from == 0 || self.epoch(from) == last),
        }
    }
}
