//! What a script can do to a world and see of it.

use ringstore::time::Duration;

use super::{Event, World};
use crate::host::OpId;
use crate::linear::Op;
use crate::network::Address;
use crate::request::{Key, key_bytes};

impl World {
    pub fn run_for(&mut self, time: Duration) {
        self.run_until(self.now.after(time));
    }

    /// The coordinator's process ends; it starts when somebody says so.
    pub fn stop_coordinator(&mut self) {
        self.end_coordinator(false);
        self.coordinator.life += 1;
    }

    pub fn pause_for(&mut self, place: Address, time: Duration) {
        let until = self.now.after(time);
        self.server(place).inbox.pause(until);
        self.schedule(time, Event::Resume(place));
    }

    pub fn wipe(&mut self, place: Address) {
        self.kill(place, true);
        self.server(place).wipe();
    }

    pub fn cut(&mut self, from: Address, to: Address) {
        self.network.cut(from, to);
    }

    pub fn isolate(&mut self, place: Address) {
        let others: Vec<Address> = (0..=self.plan.servers).filter(|&other| other != place).collect();
        self.network.partition(&[place], &others);
    }

    /// Whether the server leads, serves and may read: by its own account and by its lease.
    pub fn serves(&mut self, place: Address) -> bool {
        let now = self.now;
        let local = self.server(place).clock.read(now);
        let process = self.server(place).process.as_ref();
        process.is_some_and(|process| process.is_serving() && process.may_read(local))
    }

    /// Members of the coordinator's newest configuration.
    pub fn members(&self) -> usize {
        let configuration = self.coordinator.machine.as_ref().and_then(|machine| machine.configuration());
        configuration.map_or(0, |configuration| configuration.members.len())
    }

    /// A client that nobody has seen before asks one thing.
    pub fn ask_once(&mut self, place: Address, key: Key, op: Op) -> OpId {
        let client = self.new_client(place);
        self.ask(client, place, key, op)
    }

    /// A bit of a key's value flips in a server's memory.
    pub fn flip(&mut self, place: Address, key: Key, bit: usize) -> bool {
        self.server(place).flip(&key_bytes(key), bit)
    }

    pub fn is_rotten(&mut self, place: Address) -> bool {
        self.server(place).is_rotten()
    }

    /// The end of a script: everything is compared.
    pub fn end_script(&mut self) {
        self.finish();
    }
}
