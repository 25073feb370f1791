//! Reads at a server: in the order that R24 gives, each step by itself, because a thread may be stopped between two of
//! them. A read of a locked key waits.

use ringstore::cluster::{Input, ReadStep, read_order};
use ringstore::time::Time;

use super::{Host, OpId, Out, Process, Shared};
use crate::linear::Outcome;
use crate::request::{Key, key_bytes};

/// Longest time in nanoseconds that a thread is stopped between two of a read's steps.
const STALL_MAX: u64 = 1_500_000_000;

/// A read under way.
pub struct Read {
    pub op: OpId,
    key: Vec<u8>,
    /// The next step.
    step: usize,
    /// The first half of the first step: nothing had locked the key.
    unlocked: bool,
    value: Option<(Vec<u8>, u64)>,
    deadline: Time,
    clock: Time,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Steps,
    /// For the key's lock.
    Locked,
    /// For the machine to allow it.
    Asked,
}

impl Host {
    pub(super) fn begin_read(&mut self, now: Time, op: OpId, key: Key, outs: &mut Vec<Out>, shared: &mut Shared) {
        let Some(process) = &mut self.process else { return };
        process.tickets += 1;
        let (ticket, state) = (process.tickets, if shared.strict_reads { State::Asked } else { State::Steps });
        let (key, unlocked, value, deadline, clock) = (key_bytes(key), false, None, Time(0), Time(0));
        process.reads.insert(ticket, Read { op, key, step: 0, unlocked, value, deadline, clock, state });
        if shared.strict_reads {
            self.input(now, Input::ReadAsked { ticket }, outs, shared);
        } else {
            self.read_step(now, ticket, outs, shared);
        }
    }

    /// The read goes on, if it is still there and does not wait for something.
    pub fn read_step(&mut self, now: Time, ticket: u64, outs: &mut Vec<Out>, shared: &mut Shared) {
        let local = self.clock.read(now);
        let taken = self.turn_clock.unwrap_or(local);
        let Some(process) = &mut self.process else { return };
        let Some(read) = process.reads.get_mut(&ticket).filter(|read| read.state == State::Steps) else { return };
        let order = read_order(shared.rules);
        match order[read.step] {
            ReadStep::Value if !read.unlocked => {
                if process.reader.is_locked(process.reader.hash(&read.key)) {
                    read.state = State::Locked;
                    return;
                }
                read.unlocked = true;
                // the thread may be stopped between lock and value
                let long = shared.dice.chance(shared.read_stall);
                let gap = if long { shared.dice.between(1_000_000, STALL_MAX) } else { 0 };
                if gap > 0 {
                    return outs.push(Out::ReadStep(ticket, gap));
                }
                return self.read_step(now, ticket, outs, shared);
            }
            ReadStep::Value => {
                let seconds = process.core.writes().leader_time(local).seconds();
                let item = process.reader.get(process.reader.hash(&read.key), &read.key, seconds);
                read.value = item.map(|item| (item.value.to_vec(), item.cas));
                process.reader.quiesce();
            }
            // in strict mode the deadline came with the permission
            ReadStep::Deadline if shared.strict_reads => {}
            ReadStep::Deadline => read.deadline = process.core.machine().read_deadline().unwrap_or(Time(0)),
            // a clock that is read first is the turn's, from before the read came if the thread was stopped between
            ReadStep::Clock if read.step == 0 => read.clock = taken,
            ReadStep::Clock => read.clock = local,
        }
        read.step += 1;
        let both = order[..read.step].contains(&ReadStep::Clock) && order[..read.step].contains(&ReadStep::Deadline);
        if both && read.clock >= read.deadline {
            (read.step, read.unlocked, read.state) = (0, false, State::Asked);
            return self.input(now, Input::ReadAsked { ticket }, outs, shared);
        }
        if read.step < order.len() {
            let long = shared.dice.chance(shared.read_stall);
            let gap = if long { shared.dice.between(1_000_000, STALL_MAX) } else { shared.dice.between(100, 2_000) };
            outs.push(Out::ReadStep(ticket, gap));
            return;
        }
        let read = process.reads.remove(&ticket).expect("it is there");
        let outcome = match read.value {
            Some((value, cas)) => Outcome::Value { value, cas },
            None => Outcome::Miss,
        };
        outs.push(Out::Answer(read.op, outcome));
    }

    pub(super) fn read_allowed(&mut self, ticket: u64, deadline: Time, outs: &mut Vec<Out>) {
        if let Some(read) = self.running().reads.get_mut(&ticket) {
            (read.step, read.unlocked, read.state, read.deadline) = (0, false, State::Steps, deadline);
            outs.push(Out::ReadStep(ticket, 0));
        }
    }

    pub(super) fn read_refused(&mut self, ticket: u64, outs: &mut Vec<Out>) {
        if let Some(read) = self.running().reads.remove(&ticket) {
            outs.push(Out::Refuse(read.op));
        }
    }

    /// Keys were unlocked.
    pub(super) fn wake_reads(&mut self, _now: Time, outs: &mut Vec<Out>) {
        let Process { reads, reader, .. } = self.running();
        for (&ticket, read) in reads {
            if read.state == State::Locked && !reader.is_locked(reader.hash(&read.key)) {
                read.state = State::Steps;
                outs.push(Out::ReadStep(ticket, 0));
            }
        }
    }
}
