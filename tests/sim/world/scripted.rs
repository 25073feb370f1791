//! What a script can do to a world and see of it.

use ringstore::log::layout::file;
use ringstore::time::Duration;

use super::{Event, World};
use crate::disk::Latency;
use crate::host::{File, OpId};
use crate::linear::Op;
use crate::network::Address;
use crate::recovery;
use crate::request::{Key, key_bytes};
use crate::time::Clock;

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
        if place == 0 {
            self.coordinator.inbox.pause(until);
            return self.schedule(time, Event::Resume(0));
        }
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

    pub fn split(&mut self, side: &[Address]) {
        let others: Vec<Address> = (0..=self.plan.servers).filter(|other| !side.contains(other)).collect();
        self.network.partition(side, &others);
    }

    pub fn fill_disk(&mut self, place: Address) {
        self.server(place).disk.leave_room(0);
    }

    pub fn slow_disk(&mut self, place: Address) {
        let sync = (Duration::from_millis(20), Duration::from_millis(40));
        self.server(place).disk.set_latency(Latency { sync, ..Latency::CALM });
    }

    pub fn flip_in_log(&mut self, place: Address) {
        let host = self.server(place);
        let end = recovery::watermark(host.disk.durable(&File::Log));
        host.disk.flip(&File::Log, file::BYTES..end).expect("a log with something in it");
    }

    pub fn replay(&mut self, place: Address) {
        self.network.replay_all(self.now, place);
    }

    pub fn set_rate(&mut self, place: Address, rate: u64) {
        let now = self.now;
        let host = self.server(place);
        host.clock = Clock::new(now, host.clock.read(now), rate);
    }

    /// So many writes of a key of their own at random servers, without waiting.
    pub fn load(&mut self, writes: u64) {
        for write in 0..writes {
            let place = 1 + self.dice.below(self.plan.servers);
            self.ask_once(place, 3, Op::Set(format!("load{write}").into_bytes()));
        }
    }

    pub fn wait_for_clients(&mut self) {
        let bound = self.now.after(super::finish::RECOVERY);
        while !self.clients_are_idle() {
            assert!(self.now < bound, "clients wait for ever");
            self.run_for(Duration::from_millis(10));
        }
    }

    pub fn shorten(&mut self) {
        self.servers.iter_mut().for_each(|host| host.shorten = true);
    }

    /// Installed so far.
    pub const fn snapshots(&self) -> u64 {
        self.figures.snapshots
    }
}
