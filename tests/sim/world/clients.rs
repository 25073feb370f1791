//! Clients: each asks one thing at a time at one server, notes what it was told, and goes elsewhere when a connection
//! ends. What it gets no answer to may have been done or not.

use ringstore::time::Duration;

use super::{Event, World};
use crate::host::{Arrival, OpId};
use crate::linear::{Op, Operation, Outcome};
use crate::network::Address;
use crate::request::Key;

/// A client.
#[derive(Debug)]
pub struct Client {
    server: Address,
    reads_only: bool,
    /// What it waits for.
    asked: Option<OpId>,
    /// Ids of gets, for cas.
    seen: Vec<(Key, u64)>,
    counter: u64,
}

/// What is refused was never done and is no part of the history; this marks it.
const REFUSED: u64 = u64::MAX;

/// How long a client waits.
const PATIENCE: Duration = Duration::from_millis(1500);

impl World {
    pub(super) fn make_clients(&mut self) {
        for client in 0..self.plan.clients + self.plan.readers {
            let server = 1 + client % self.plan.servers;
            let reads_only = client >= self.plan.clients;
            self.clients.push(Client { server, reads_only, asked: None, seen: Vec::new(), counter: 0 });
            let after = Duration::from_millis(self.dice.between(0, 300));
            self.schedule(after, Event::Client(client));
        }
    }

    /// One more client.
    pub(super) fn new_client(&mut self, server: Address) -> usize {
        self.clients.push(Client { server, reads_only: false, asked: None, seen: Vec::new(), counter: 0 });
        self.clients.len() - 1
    }

    /// Whether the client was told that it was not done.
    pub fn is_refused(&self, op: OpId) -> bool {
        self.history[op].1.returned == REFUSED
    }

    fn stamp(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    fn next_op(&mut self, client: usize) -> (Key, Op) {
        let key = self.dice.below(usize::from(self.plan.keys)) as Key;
        let counter = key.is_multiple_of(2);
        self.clients[client].counter += 1;
        // every value is another one, so that a get says which write it saw, whatever incrs add to it
        let number = self.clients[client].counter * 100 + client as u64;
        let fresh = if counter { format!("{number}000000") } else { format!("v{number}") }.into_bytes();
        let op = match self.dice.below(20) {
            _ if self.clients[client].reads_only => Op::Get,
            0..=8 => Op::Get,
            9..=11 => Op::Set(fresh),
            12 => Op::Add(fresh),
            13 => Op::Delete,
            14 | 15 => {
                let of = self.clients[client].seen.iter().rev().find(|(of, _)| *of == key);
                of.map_or(Op::Get, |&(_, id)| Op::Cas { id, value: fresh })
            }
            // every sum is another one too, so that an incr done twice is seen
            _ if counter => Op::Incr(number),
            _ => Op::Append(format!("+{number}").into_bytes()),
        };
        (key, op)
    }

    pub(super) fn client_goes_on(&mut self, client: usize) {
        if self.clients[client].asked.is_some() || self.plan.clients_stopped {
            return;
        }
        let server = self.clients[client].server;
        if !self.server(server).is_up() {
            self.clients[client].server = 1 + self.dice.below(self.plan.servers);
            let after = Duration::from_millis(self.dice.between(5, 50));
            return self.schedule(after, Event::Client(client));
        }
        let (key, op) = self.next_op(client);
        self.ask(client, server, key, op);
    }

    /// A client asks a server.
    pub(super) fn ask(&mut self, client: usize, server: Address, key: Key, op: Op) -> OpId {
        let (id, invoked) = (self.history.len(), self.stamp());
        self.clients[client].asked = Some(id);
        let who = format!("client {client}");
        self.shared.trace.line(self.now, &who, || format!("asks server {server}: {op:?} of {key}"));
        let outcome = Outcome::Unknown;
        self.history.push((key, Operation { client: client as u32, op: op.clone(), outcome, invoked, returned: 0 }));
        self.schedule(PATIENCE, Event::Timeout(client, id));
        let host = self.server(server);
        if host.is_up()
            && let Some(arrival) = host.inbox.offer(Arrival::Asked(id, key, op), false)
        {
            self.arrive(server, arrival);
        }
        id
    }

    pub(super) fn clients_are_idle(&self) -> bool {
        self.clients.iter().all(|client| client.asked.is_none())
    }

    /// The client is free for the next thing, if it still waited for this one.
    fn free(&mut self, op: OpId) -> bool {
        let client = self.history[op].1.client as usize;
        if self.clients[client].asked != Some(op) {
            return false;
        }
        self.clients[client].asked = None;
        let after = Duration(self.dice.skewed(500_000, self.plan.think.0));
        self.schedule(after, Event::Client(client));
        true
    }

    pub(super) fn answered(&mut self, place: Address, op: OpId, outcome: Outcome) {
        let returned = self.stamp();
        if !self.free(op) {
            return;
        }
        let (key, operation) = &mut self.history[op];
        let client = operation.client as usize;
        self.shared.trace.line(self.now, &format!("client {client}"), || {
            format!("is told by server {place}: {:?} of {key} -> {outcome:?}", operation.op)
        });
        if let Outcome::Value { cas, .. } = outcome {
            self.clients[client].seen.push((*key, cas));
        }
        let leads = self.servers[place - 1].process.as_ref().is_some_and(crate::host::Process::is_serving);
        let figures = &mut self.figures;
        *match (operation.op == Op::Get, leads) {
            (true, true) => &mut figures.reads_at_leaders,
            (true, false) => &mut figures.reads_at_followers,
            (false, true) => &mut figures.writes_at_leaders,
            (false, false) => &mut figures.writes_at_followers,
        } += 1;
        (operation.outcome, operation.returned) = (outcome, returned);
    }

    /// It was not done and never will be.
    pub(super) fn refused(&mut self, place: Address, op: OpId) {
        if self.free(op) {
            let (_, operation) = &mut self.history[op];
            operation.returned = REFUSED;
            self.figures.refusals += 1;
            let client = operation.client as usize;
            self.say(place, || format!("refuses client {client}"));
            self.clients[client].server = 1 + self.dice.below(self.plan.servers);
        }
    }

    /// Nobody knows.
    pub(super) fn hung_up(&mut self, op: OpId) {
        if self.free(op) {
            self.figures.unknown += 1;
            let client = self.history[op].1.client as usize;
            self.clients[client].server = 1 + self.dice.below(self.plan.servers);
        }
    }

    pub(super) fn client_gives_up(&mut self, client: usize, op: OpId) {
        if self.clients[client].asked == Some(op) {
            self.shared.trace.line(self.now, &format!("client {client}"), || "gives up".into());
            self.hung_up(op);
        }
    }

    /// What is left of the history for one key.
    pub(super) fn history_of(&self, key: Key) -> Vec<Operation> {
        let of = self.history.iter().filter(|(of, operation)| *of == key && operation.returned != REFUSED);
        of.map(|(_, operation)| operation.clone()).collect()
    }

    pub fn outcome_of(&self, op: OpId) -> &Outcome {
        &self.history[op].1.outcome
    }
}
