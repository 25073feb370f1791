//! The UDP socket that a server speaks to other servers and to the load balancer through, and the end of all links. Owns both,
//! the receive buffers and who is reached where; decides nothing about what is said, and repairs nothing itself.
//!
//! ```text
//!  Message --encode--> Endpoint --train--> sendmsg, cut by the kernel --.
//!                                                                       | network
//!  Message <--decode-- Endpoint <--datagram-- multishot recvmsg <-------'
//! ```
//!
//! **Who repairs what.** A message that fits into a datagram is sent once: a beacon or an ack is superseded by the next, a frame is
//! found to be lost by the leader (`cluster::flight`), which also limits how many are under way (`cluster::congestion`); questions
//! are asked again by who asked. A larger message is cut into pieces, and `transport::recovery` finds lost pieces, sends them again
//! and limits how many are under way; the leader is told when none are, and counts such frames neither as under way nor as lost
//! before. So each byte is held back by one window and repaired at one place. What a server says only once before it goes,
//! `Resigned`, is repaired too.
//!
//! **What it costs**, in CPU time of the loop for a datagram of 1408 bytes that is sent with 45 others on loopback (Linux 6.18,
//! p50 of 200): a `sendmsg` each 3.4 us, one call that the kernel cuts 0.52 us, the same two as requests of the ring 2.9 and 0.55 us;
//! 60,000 bytes take 6.4 us either way, and a small one by itself 4.1 us by a call, 4.7 us by the ring. So the loop makes calls.
//! Received one by one those of 1408 bytes cost 0.77 us each and 0.52 to send, put together by the kernel 0.10 and 0.14: so they are.
//!
//! **Who is reached where.** The load balancer at the address of the command line. Another server at the address that it last
//! spoke from, as the transport has proven, or that a newer contact names. A datagram that is not proven to be from a peer is
//! counted and answered by nobody.
#![allow(unsafe_code, reason = "a request of the ring points at the form of the messages it receives")]

use std::collections::{BTreeMap, BTreeSet};
use std::mem::{offset_of, zeroed};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::ops::Range;
use std::os::fd::AsRawFd;

use io_uring::opcode;
use io_uring::types::{Fd, RecvMsgOut};

use super::bind;
use super::sender::Sender;
use crate::cluster::codec::{self, CodecFault};
use crate::cluster::{Body, COORDINATOR, Message};
use crate::config;
use crate::log::{Epoch, NodeId};
use crate::ring::buf_ring::{BufRing, DATAGRAM_BGID};
use crate::ring::driver::{Cqe, Driver, SetupError};
use crate::ring::token::Token;
use crate::time::{Duration, Time};
use crate::transport::packet::Header;
use crate::transport::{Counts, Endpoint, Identity, Refusal, Repair, Train};

/// Bytes of a sender's address in a receive buffer.
const NAME_BYTES: usize = size_of::<libc::sockaddr_in6>();
/// Bytes of what the kernel says about datagrams that it put together: a header, and how large each is.
const CONTROL_BYTES: usize = size_of::<libc::cmsghdr>() + 8;
/// What stands in a receive buffer before the datagrams.
const BEFORE_BYTES: usize = 16 + NAME_BYTES + CONTROL_BYTES;
/// Bytes of the largest payload of an IP packet.
const PACKET_BYTES_MAX: usize = 65_535;
const _: () = assert!(BEFORE_BYTES + PACKET_BYTES_MAX <= config::DATAGRAM_BUFFER_BYTES);

/// What has happened at the socket, beside what the transport counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketCounts {
    /// Of datagrams.
    pub transport: Counts,
    /// How often the kernel handed something out: datagrams that it put together once.
    pub receives: u64,
    /// Calls that sent something, and how many of them the kernel refused.
    pub send_calls: u64,
    /// See above.
    pub send_refused: u64,
    /// Messages that were not taken as too many were under way.
    pub messages_refused: u64,
    /// Genuine messages that this version does not understand, or that speak in another's name.
    pub messages_malformed: u64,
    /// Datagrams for servers whose address is not known.
    pub unaddressed: u64,
    /// How often datagrams had to wait in the socket for a buffer.
    pub buffers_short: u64,
}

/// See the module.
pub struct PeerSocket {
    socket: UdpSocket,
    endpoint: Endpoint,
    buffers: BufRing,
    /// The form of what is received: how much room there is for an address. The kernel may read it until the process ends.
    form: &'static libc::msghdr,
    sender: Sender,
    addresses: BTreeMap<NodeId, Address>,
    train: Train,
    due: Vec<NodeId>,
    /// Clients' writes that are under way in pieces: to whom, in which epoch, which. They are asked again by time alone.
    forwards: BTreeSet<(NodeId, Epoch, u64)>,
    counts: SocketCounts,
    /// Why a message was last not understood.
    fault: Option<(NodeId, CodecFault)>,
}

#[derive(Clone, Copy, Debug)]
struct Address {
    at: SocketAddr,
    /// What a contact last said.
    contact: Option<SocketAddr>,
    heard: Time,
}

impl PeerSocket {
    /// Begins to receive on `driver`, whose completions with `Token::Datagrams` are for `on_received`. Datagrams have at most
    /// `datagram_bytes`.
    ///
    /// # Errors
    /// When the kernel refuses the receive buffers.
    pub fn new(
        socket: UdpSocket,
        identity: Identity,
        datagram_bytes: usize,
        balancer: SocketAddr,
        driver: &mut Driver,
    ) -> Result<Self, SetupError> {
        let buffers = driver.register_datagram_buffers(config::DATAGRAM_BUFFERS, config::DATAGRAM_BUFFER_BYTES)?;
        // a kernel that puts nothing together gives each datagram by itself
        let _ = bind::set(&socket, libc::SOL_UDP, libc::UDP_GRO, 1);
        // SAFETY: all-zero is a valid msghdr
        let mut form: libc::msghdr = unsafe { zeroed() };
        form.msg_namelen = NAME_BYTES as libc::socklen_t;
        form.msg_controllen = CONTROL_BYTES;
        let balancer = Address { at: balancer, contact: Some(balancer), heard: Time(0) };
        let mut receiver = Self {
            sender: Sender::new(&socket),
            socket,
            endpoint: Endpoint::new(identity, datagram_bytes),
            buffers,
            form: Box::leak(Box::new(form)),
            addresses: BTreeMap::from([(COORDINATOR, balancer)]),
            train: Train::default(),
            due: Vec::new(),
            forwards: BTreeSet::new(),
            counts: SocketCounts::default(),
            fault: None,
        };
        receiver.arm(driver);
        Ok(receiver)
    }

    fn arm(&mut self, driver: &mut Driver) {
        let sqe = opcode::RecvMsgMulti::new(Fd(self.socket.as_raw_fd()), std::ptr::from_ref(self.form), DATAGRAM_BGID);
        // SAFETY: the form is never freed, and the buffers are not either
        unsafe { driver.push(&sqe.build().user_data(Token::Datagrams.pack())) }
    }

    /// A completion of `Token::Datagrams`: hands out the messages that are whole now, each in its sender's own name.
    pub fn on_received(&mut self, driver: &mut Driver, cqe: Cqe, now: Time, deliver: &mut dyn FnMut(Message)) {
        if let Some(bid) = cqe.buffer {
            if let Ok(bytes) = u32::try_from(cqe.result) {
                self.datagrams(bid, bytes, now, deliver);
            }
            self.buffers.give_back(bid);
            self.buffers.publish();
        }
        self.counts.buffers_short += u64::from(cqe.result == -libc::ENOBUFS);
        if !cqe.more && cqe.result != -libc::ECANCELED {
            self.arm(driver);
        }
    }

    /// Datagrams of one sender and one size came, the last of which may be shorter; most often one.
    fn datagrams(&mut self, bid: u16, bytes: u32, now: Time, deliver: &mut dyn FnMut(Message)) {
        self.counts.receives += 1;
        let buffer = self.buffers.bytes(bid, bytes);
        let Ok(came) = RecvMsgOut::parse(buffer, self.form) else { return };
        let (from, payload) = (address(came.name_data()), came.payload_data().len());
        // an empty datagram is one too
        let segment = segment_bytes(came.control_data()).unwrap_or(payload).max(1);
        let mut at = buffer.len() - payload;
        loop {
            let end = (at + segment).min(bytes as usize);
            self.datagram(bid, bytes, at..end, from, now, deliver);
            at = end;
            if at == bytes as usize {
                return;
            }
        }
    }

    fn datagram(
        &mut self,
        bid: u16,
        bytes: u32,
        at: Range<usize>,
        from: Option<SocketAddr>,
        now: Time,
        deliver: &mut dyn FnMut(Message),
    ) {
        let Self { buffers, endpoint, counts, fault, .. } = self;
        let datagram = &mut buffers.bytes_mut(bid, bytes)[at];
        let source = Header::decode(datagram).map_or(COORDINATOR, |header| header.source);
        let received = endpoint.receive(now, datagram, &mut |bytes| match codec::decode(bytes) {
            Ok(message) if message.header.source == source => deliver(message),
            Ok(_) => counts.messages_malformed += 1,
            Err(why) => {
                counts.messages_malformed += 1;
                *fault = Some((source, why));
            }
        });
        // a malformed datagram is genuine too
        if let (Ok(_) | Err(Refusal::Malformed), Some(from)) = (received, from) {
            self.heard(now, source, from);
        }
    }

    fn heard(&mut self, now: Time, node: NodeId, from: SocketAddr) {
        if node != COORDINATOR {
            let address = self.addresses.entry(node).or_insert(Address { at: from, contact: None, heard: now });
            (address.at, address.heard) = (from, now);
        }
    }

    /// A contact says that a server is there: from now on, if that is news, until it speaks from elsewhere.
    pub fn set_address(&mut self, node: NodeId, address: SocketAddr) {
        if node == COORDINATOR {
            return;
        }
        let known = self.addresses.entry(node).or_insert(Address { at: address, contact: None, heard: Time(0) });
        if known.contact.replace(address) != Some(address) {
            known.at = address;
        }
    }

    /// Where a server is reached, as far as is known.
    #[must_use]
    pub fn address(&self, node: NodeId) -> Option<SocketAddr> {
        self.addresses.get(&node).map(|address| address.at)
    }

    /// Takes a message for its header's destination; it leaves with the next `flush`. What is not taken is lost, which the machines
    /// are made for.
    pub fn send(&mut self, now: Time, message: &Message) {
        let peer = message.header.destination;
        let forward = self.forward_in_pieces(message);
        if forward.is_some_and(|forward| self.forwards.contains(&forward)) {
            return;
        }
        let mut bytes = self.endpoint.buffer(peer);
        codec::encode(message, &mut bytes);
        let repair = if matches!(message.body, Body::Resigned) { Repair::Pieces } else { Repair::Never };
        match self.endpoint.send(now, peer, bytes, repair) {
            Ok(()) => self.forwards.extend(forward),
            Err(_) => self.counts.messages_refused += 1,
        }
    }

    /// Its name, if it is a client's write that is too large for a datagram.
    fn forward_in_pieces(&mut self, message: &Message) -> Option<(NodeId, Epoch, u64)> {
        let Body::Forward(forward) = &message.body else { return None };
        if forward.request.len() < self.endpoint.whole_bytes_max() {
            return None;
        }
        if self.forwards.len() >= config::FORWARDS_MAX {
            // of a leader that is none any more
            self.forwards.clear();
        }
        Some((message.header.destination, message.header.epoch, forward.number))
    }

    /// Sends what may leave now; whether there is more that may leave at once.
    pub fn flush(&mut self, now: Time) -> bool {
        self.due.clear();
        self.due.extend(self.endpoint.due());
        let due = std::mem::take(&mut self.due);
        for &node in &due {
            let to = self.address(node);
            for _ in 0..config::TRAINS_PER_TURN_MAX {
                self.train.clear();
                self.endpoint.transmit(now, node, &mut self.train);
                if self.train.is_empty() {
                    break;
                }
                match to {
                    Some(to) => self.sender.send(&self.train, to),
                    None => self.counts.unaddressed += self.train.datagrams().count() as u64,
                }
            }
        }
        let again = !due.is_empty() && self.endpoint.due().next().is_some();
        self.due = due;
        again
    }

    /// When `on_time` is due; not before each is called.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        self.endpoint.deadline()
    }

    /// Time has passed: what is lost is found and leaves with the next `flush`.
    pub fn on_time(&mut self, now: Time) {
        self.endpoint.on_time(now);
        if self.endpoint.links() > config::PEERS_MAX / 2 {
            self.forget_silent(now);
        }
    }

    /// Servers that were wiped and came again under other names take no room for ever.
    fn forget_silent(&mut self, now: Time) {
        let silent = |address: &Address| now.since(address.heard) >= config::PEER_SILENCE_MAX;
        let gone = |(&node, address): (&NodeId, &Address)| (node != COORDINATOR && silent(address)).then_some(node);
        let gone: Vec<NodeId> = self.addresses.iter().filter_map(gone).collect();
        for node in gone {
            self.addresses.remove(&node);
            self.endpoint.forget(node);
        }
    }

    /// Servers to which nothing is under way in pieces any more since this was last asked: all such messages have come, or were given
    /// up.
    pub fn take_settled(&mut self, settled: &mut Vec<NodeId>) {
        self.endpoint.take_settled(settled);
        if !self.forwards.is_empty() {
            self.forwards.retain(|(node, ..)| !settled.contains(node));
        }
    }

    /// A round trip to `peer`, once one was measured.
    #[must_use]
    pub fn round_trip(&self, peer: NodeId) -> Option<Duration> {
        self.endpoint.round_trip(peer)
    }

    /// Who last sent what this version does not understand, and why, once each.
    pub const fn take_fault(&mut self) -> Option<(NodeId, CodecFault)> {
        self.fault.take()
    }

    /// The way of datagrams into the kernel, to be made worse.
    #[cfg(test)]
    pub(super) const fn sender(&mut self) -> &mut Sender {
        &mut self.sender
    }

    /// What has happened so far.
    #[must_use]
    pub fn counts(&self) -> SocketCounts {
        SocketCounts {
            transport: self.endpoint.counts(),
            send_calls: self.sender.calls(),
            send_refused: self.sender.refused(),
            ..self.counts
        }
    }
}

/// How large each datagram is of those that the kernel put together (`UDP_GRO`), if it did.
fn segment_bytes(control: &[u8]) -> Option<usize> {
    let (header, said) = control.split_at_checked(size_of::<libc::cmsghdr>())?;
    let number = |at: usize| i32::from_ne_bytes(header[at..at + 4].try_into().expect("four bytes"));
    let [level, kind] = [offset_of!(libc::cmsghdr, cmsg_level), offset_of!(libc::cmsghdr, cmsg_type)].map(number);
    if (level, kind) != (libc::SOL_UDP, libc::UDP_GRO) {
        return None;
    }
    let bytes = i32::from_ne_bytes(said.get(..4)?.try_into().expect("four bytes"));
    usize::try_from(bytes).ok().filter(|&bytes| bytes > 0)
}

/// An address as the kernel writes it.
fn address(name: &[u8]) -> Option<SocketAddr> {
    let family = u16::from_ne_bytes(name.get(..2)?.try_into().expect("two bytes"));
    let port = u16::from_be_bytes(name.get(2..4)?.try_into().expect("two bytes"));
    match i32::from(family) {
        libc::AF_INET => {
            let ip: [u8; 4] = name.get(4..8)?.try_into().expect("four bytes");
            Some(SocketAddr::from((Ipv4Addr::from(ip), port)))
        }
        libc::AF_INET6 => {
            let ip: [u8; 16] = name.get(8..24)?.try_into().expect("sixteen bytes");
            let scope = u32::from_ne_bytes(name.get(24..28)?.try_into().expect("four bytes"));
            Some(SocketAddrV6::new(Ipv6Addr::from(ip), port, 0, scope).into())
        }
        _ => None,
    }
}
