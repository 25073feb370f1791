//! A server's or the coordinator's end of all links: finds the peer of a datagram and says which peers have something to be
//! sent.

use std::collections::BTreeMap;

use super::key::{ClusterKey, Guard};
use super::link::{Counts, Link, Refusal, Repair, whole_bytes_max};
use super::packet::{Header, Session};
use super::train::Train;
use crate::config;
use crate::log::{Incarnation, NodeId};
use crate::time::{Duration, Time};

/// Who this end is.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Its name.
    pub node: NodeId,
    /// How often it was started.
    pub incarnation: Incarnation,
    /// Drawn at random at this start.
    pub salt: u64,
    /// Without one, datagrams are not secret and anyone can make them: on loopback only.
    pub key: Option<ClusterKey>,
}

/// See the module.
pub struct Endpoint {
    identity: Identity,
    datagram_bytes: usize,
    links: BTreeMap<NodeId, Link>,
    /// The largest number of a datagram to one who was forgotten since: numbers are nonces.
    numbered: u64,
    counts: Counts,
}

impl Endpoint {
    /// An end that sends datagrams of at most so many bytes.
    #[must_use]
    pub fn new(identity: Identity, datagram_bytes: usize) -> Self {
        assert!(datagram_bytes >= config::DATAGRAM_BYTES_MIN, "an ack and a piece fit");
        Self { identity, datagram_bytes, links: BTreeMap::new(), numbered: 0, counts: Counts::default() }
    }

    const fn session(&self) -> Session {
        Session { incarnation: self.identity.incarnation, salt: self.identity.salt }
    }

    /// The link to `peer`, made when there is none yet.
    fn link(&mut self, peer: NodeId) -> Result<&mut Link, Refusal> {
        let (session, bytes) = (self.session(), self.datagram_bytes);
        if self.links.len() >= config::PEERS_MAX && !self.links.contains_key(&peer) {
            return Err(Refusal::TooManyPeers);
        }
        let (Identity { node, key, .. }, numbered) = (&self.identity, self.numbered);
        Ok(self.links.entry(peer).or_insert_with(|| Link::new(*node, session, peer, key.as_ref(), bytes, numbered)))
    }

    /// Empty memory for a message to `peer`, with room that earlier ones needed.
    pub fn buffer(&mut self, peer: NodeId) -> Vec<u8> {
        self.links.get_mut(&peer).map_or_else(Vec::new, Link::buffer)
    }

    /// Bytes of the largest message that leaves in one datagram; a larger one goes in pieces, which are repaired.
    #[must_use]
    pub const fn whole_bytes_max(&self) -> usize {
        whole_bytes_max(self.datagram_bytes, self.identity.key.is_some())
    }

    /// Peers to which nothing is under way in pieces any more, when something was since this was last asked: it has come, or was
    /// given up, or was not taken.
    pub fn take_settled(&mut self, settled: &mut Vec<NodeId>) {
        settled.extend(self.links.iter_mut().filter_map(|(&peer, link)| link.take_settled().then_some(peer)));
    }

    /// Takes a message for `peer`; it leaves with the next `transmit`.
    ///
    /// # Errors
    /// When it is not taken, which is as if it had been lost.
    pub fn send(&mut self, now: Time, peer: NodeId, message: Vec<u8>, repair: Repair) -> Result<(), Refusal> {
        self.link(peer)?.send(now, message, repair)
    }

    /// Takes a datagram; says who sent it, once that is proven. Whole messages are delivered before it returns.
    ///
    /// # Errors
    /// When it was dropped; it is counted, and nobody is to be answered.
    pub fn receive(
        &mut self,
        now: Time,
        datagram: &mut [u8],
        deliver: &mut dyn FnMut(&[u8]),
    ) -> Result<NodeId, Refusal> {
        self.counts.datagrams_received += 1;
        self.counts.bytes_received += datagram.len() as u64;
        let received = self.open(now, datagram, deliver);
        match received {
            Err(Refusal::Foreign) => self.counts.refused_foreign += 1,
            Err(Refusal::Forged) => self.counts.refused_forged += 1,
            Err(Refusal::Replayed) => self.counts.refused_replayed += 1,
            Err(Refusal::Malformed) => self.counts.refused_malformed += 1,
            Err(Refusal::TooManyPeers | Refusal::Full) => self.counts.refused_peers += 1,
            Ok(_) => {}
        }
        received
    }

    fn open(&mut self, now: Time, datagram: &mut [u8], deliver: &mut dyn FnMut(&[u8])) -> Result<NodeId, Refusal> {
        let header = Header::decode(datagram).ok_or(Refusal::Foreign)?;
        let Identity { node, ref key, .. } = self.identity;
        if header.source == node {
            return Err(Refusal::Foreign);
        }
        if header.sealed != key.is_some() {
            return Err(Refusal::Forged);
        }
        if !self.links.contains_key(&header.source) {
            // a stranger takes no room before it has proven that it has the key
            let guard = Guard::new(key.as_ref(), header.source, header.session, node);
            guard.open(header.number, &mut datagram.to_vec()).ok_or(Refusal::Forged)?;
            self.link(header.source)?;
        }
        let Self { identity, links, counts, .. } = self;
        let fresh = || Guard::new(identity.key.as_ref(), header.source, header.session, identity.node);
        let link = links.get_mut(&header.source).expect("it was made");
        link.receive(now, header, datagram, fresh, counts, deliver)?;
        Ok(header.source)
    }

    /// Peers to which a datagram is to be sent now.
    pub fn due(&self) -> impl Iterator<Item = NodeId> {
        self.links.iter().filter(|(_, link)| link.is_due()).map(|(&peer, _)| peer)
    }

    /// Appends to the train what may leave to `peer` now: at most `config::TRAIN_DATAGRAMS_MAX` datagrams.
    pub fn transmit(&mut self, now: Time, peer: NodeId, train: &mut Train) {
        let node = self.identity.node;
        if let Some(link) = self.links.get_mut(&peer) {
            link.transmit(now, node, train, &mut self.counts);
        }
    }

    /// When `on_time` is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        self.links.values().filter_map(Link::deadline).min()
    }

    /// Time has passed.
    pub fn on_time(&mut self, now: Time) {
        for link in self.links.values_mut() {
            link.on_time(now, &mut self.counts);
        }
    }

    /// The peer has left the cluster.
    pub fn forget(&mut self, peer: NodeId) {
        if let Some(link) = self.links.remove(&peer) {
            self.numbered = self.numbered.max(link.number());
        }
    }

    /// A round trip to `peer`, once one was measured.
    #[must_use]
    pub fn round_trip(&self, peer: NodeId) -> Option<Duration> {
        self.links.get(&peer).and_then(Link::round_trip)
    }

    /// How many peers have been heard or written to.
    #[must_use]
    pub fn links(&self) -> usize {
        self.links.len()
    }

    /// What has happened so far.
    #[must_use]
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// What must hold between calls.
    pub fn check_invariants(&self) {
        self.links.values().for_each(Link::check_invariants);
    }
}
