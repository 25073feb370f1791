//! The client sockets of a ring thread: one multishot receive and at most one send each, and an orderly end.
//!
//! A slot is free again only when its last completion has come, so a completion always finds the socket it belongs to.
//!
//! ```text
//! send: SendNow (completes while it is submitted, silent on success)
//!          '-- no room, or only part went --> Send (waits for room) --> Sent
//! ```
#![allow(unsafe_code, reason = "sends point at buffers that the slot owns")]

use io_uring::{opcode, squeue};
use slab::Slab;

use super::buf_ring::BGID;
use super::driver::{Cqe, Driver, Socket, with_socket};
use super::token::Token;
use crate::conn::ConnId;

/// What a completion came to, for the shard.
#[derive(Debug)]
pub enum SocketEvent {
    /// Bytes in a provided buffer.
    Received { conn: ConnId, bid: u16, len: u32 },
    /// The client will send no more.
    Ended { conn: ConnId },
    /// The connection is broken.
    Failed { conn: ConnId },
    /// A buffer has left.
    Sent { conn: ConnId, buffer: Vec<u8> },
}

struct Sending {
    buffer: Vec<u8>,
    /// Bytes of it that have left.
    sent: usize,
}

struct Slot {
    socket: Socket,
    send: Option<Sending>,
    /// The multishot receive is with the kernel.
    receiving: bool,
    /// It was asked to end because the shard wants no more input for now.
    stopping: bool,
    /// The shard wants input.
    wanted: bool,
    /// Closing was asked for; invariant: no request is made any more.
    closing: bool,
    /// Requests with the kernel that will complete, the receive and the send included.
    in_flight: u8,
}

/// All client sockets of a thread.
pub struct Sockets {
    slots: Slab<Slot>,
    /// Slots whose `SendNow` was queued since the last enter.
    sending_now: Vec<u32>,
    /// Slots whose receive ended for want of buffers.
    starved: Vec<u32>,
}

impl Default for Sockets {
    fn default() -> Self {
        Self { slots: Slab::new(), sending_now: Vec::new(), starved: Vec::new() }
    }
}

impl Sockets {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The slot the next socket will get.
    #[must_use]
    pub fn next_slot(&self) -> u32 {
        self.slots.vacant_key() as u32
    }

    /// Takes a socket and begins to receive.
    pub fn insert(&mut self, driver: &mut Driver, socket: Socket) -> ConnId {
        let slot =
            Slot { socket, send: None, receiving: false, stopping: false, wanted: true, closing: false, in_flight: 0 };
        let at = self.slots.insert(slot) as u32;
        self.receive(driver, at);
        ConnId(at)
    }

    fn receive(&mut self, driver: &mut Driver, at: u32) {
        let slot = &mut self.slots[at as usize];
        assert!(!slot.receiving && !slot.closing, "a socket receives once");
        slot.receiving = true;
        slot.in_flight += 1;
        let sqe = with_socket!(slot.socket, |fd| opcode::RecvMulti::new(fd, BGID).build());
        // SAFETY: points at no memory; the buffers are the registered ring's
        unsafe { driver.push(&sqe.user_data(Token::Recv(at).pack())) }
    }

    /// A completion of the multishot receive.
    pub fn on_received(&mut self, driver: &mut Driver, at: u32, cqe: Cqe) -> Option<SocketEvent> {
        let conn = ConnId(at);
        let slot = &mut self.slots[at as usize];
        if !cqe.more {
            slot.receiving = false;
            slot.stopping = false;
            slot.in_flight -= 1;
        }
        if slot.closing {
            self.free_if_done(at);
            // the buffer goes back all the same
            return cqe.buffer.map(|bid| SocketEvent::Received { conn, bid, len: 0 });
        }
        let again = !slot.receiving && slot.wanted;
        match (cqe.result, cqe.buffer) {
            (1.., Some(bid)) => {
                if again {
                    self.receive(driver, at);
                }
                Some(SocketEvent::Received { conn, bid, len: cqe.result.cast_unsigned() })
            }
            (0, _) => {
                slot.wanted = false;
                Some(SocketEvent::Ended { conn })
            }
            (error, _) if error == -libc::ENOBUFS => {
                if again {
                    self.starved.push(at);
                }
                None
            }
            (error, _) if matches!(-error, libc::ECANCELED | libc::EINTR | libc::EAGAIN) => {
                if again {
                    self.receive(driver, at);
                }
                None
            }
            _ => {
                slot.wanted = false;
                Some(SocketEvent::Failed { conn })
            }
        }
    }

    /// Receives again where buffers had run out; after the turn's buffers were given back.
    pub fn feed_starved(&mut self, driver: &mut Driver) {
        while let Some(at) = self.starved.pop() {
            if self.slots.get(at as usize).is_some_and(|s| s.wanted && !s.receiving && !s.closing) {
                self.receive(driver, at);
            }
        }
    }

    /// The shard wants no more input of this connection for now.
    pub fn pause(&mut self, driver: &mut Driver, conn: ConnId) {
        let slot = &mut self.slots[conn.0 as usize];
        slot.wanted = false;
        if slot.receiving && !slot.stopping && !slot.closing {
            slot.stopping = true;
            slot.in_flight += 1;
            driver.cancel_request(Token::Recv(conn.0), Token::Cancel(conn.0));
        }
    }

    /// The shard wants input of this connection again.
    pub fn resume(&mut self, driver: &mut Driver, conn: ConnId) {
        let slot = &mut self.slots[conn.0 as usize];
        slot.wanted = true;
        if !slot.receiving && !slot.closing {
            self.receive(driver, conn.0);
        }
    }

    /// Sends a buffer. It comes back by `Sent`.
    pub fn send(&mut self, driver: &mut Driver, conn: ConnId, buffer: Vec<u8>) {
        let slot = &mut self.slots[conn.0 as usize];
        assert!(slot.send.is_none() && !slot.closing, "one send at a time");
        let flags = libc::MSG_DONTWAIT | libc::MSG_WAITALL | libc::MSG_NOSIGNAL;
        let (data, len) = (buffer.as_ptr(), u32::try_from(buffer.len()).unwrap_or(u32::MAX));
        let sqe = with_socket!(slot.socket, |fd| opcode::Send::new(fd, data, len).flags(flags).build());
        slot.send = Some(Sending { buffer, sent: 0 });
        slot.in_flight += 1;
        self.sending_now.push(conn.0);
        // SAFETY: the slot owns the buffer until the kernel is done with the send
        unsafe { driver.push(&sqe.flags(squeue::Flags::SKIP_SUCCESS).user_data(Token::SendNow(conn.0).pack())) }
    }

    /// A `SendNow` did not do all of it.
    pub fn on_send_now(&mut self, driver: &mut Driver, at: u32, cqe: Cqe) -> Option<SocketEvent> {
        if let Some(i) = self.sending_now.iter().position(|&s| s == at) {
            self.sending_now.swap_remove(i);
        }
        self.on_send(driver, at, cqe)
    }

    /// A send completed, with all, with part, or with an error.
    pub fn on_send(&mut self, driver: &mut Driver, at: u32, cqe: Cqe) -> Option<SocketEvent> {
        let slot = &mut self.slots[at as usize];
        slot.in_flight -= 1;
        let sending = slot.send.as_mut().expect("a send completes once");
        if slot.closing {
            slot.send = None;
            self.free_if_done(at);
            return None;
        }
        let gone = match cqe.result {
            n @ 0.. => n as usize,
            e if e == -libc::EAGAIN || e == -libc::EINTR => 0,
            _ => {
                slot.send = None;
                return Some(SocketEvent::Failed { conn: ConnId(at) });
            }
        };
        sending.sent += gone;
        if sending.sent < sending.buffer.len() {
            self.send_rest(driver, at);
            return None;
        }
        let sending = slot.send.take().expect("just looked at");
        Some(SocketEvent::Sent { conn: ConnId(at), buffer: sending.buffer })
    }

    fn send_rest(&mut self, driver: &mut Driver, at: u32) {
        let slot = &mut self.slots[at as usize];
        let sending = slot.send.as_ref().expect("there is a rest");
        let rest = &sending.buffer[sending.sent..];
        let (data, len) = (rest.as_ptr(), u32::try_from(rest.len()).unwrap_or(u32::MAX));
        let flags = libc::MSG_WAITALL | libc::MSG_NOSIGNAL;
        let sqe = with_socket!(slot.socket, |fd| opcode::Send::new(fd, data, len).flags(flags).build());
        slot.in_flight += 1;
        // SAFETY: the slot owns the buffer until this send has completed
        unsafe { driver.push(&sqe.user_data(Token::Send(at).pack())) }
    }

    /// After an enter whose completions have all been looked at: every `SendNow` that has not failed has sent it all.
    pub fn finish_sends(&mut self, mut sent: impl FnMut(SocketEvent)) {
        while let Some(at) = self.sending_now.pop() {
            let slot = &mut self.slots[at as usize];
            slot.in_flight -= 1;
            let sending = slot.send.take().expect("it was sending");
            if slot.closing {
                self.free_if_done(at);
            } else {
                sent(SocketEvent::Sent { conn: ConnId(at), buffer: sending.buffer });
            }
        }
    }

    /// Closes a connection. Its slot is free when the last completion has come.
    pub fn close(&mut self, driver: &mut Driver, conn: ConnId) {
        let slot = &mut self.slots[conn.0 as usize];
        assert!(!slot.closing, "a connection is closed once");
        slot.closing = true;
        slot.wanted = false;
        if slot.in_flight > 0 {
            slot.in_flight += 1;
            driver.cancel(slot.socket, Token::Cancel(conn.0));
        }
        slot.in_flight += 1;
        driver.close(slot.socket, Token::Close(conn.0));
    }

    /// A cancellation or a close has completed. Whether the slot is free now.
    pub fn on_done(&mut self, at: u32) -> bool {
        self.slots[at as usize].in_flight -= 1;
        self.free_if_done(at)
    }

    fn free_if_done(&mut self, at: u32) -> bool {
        let slot = &self.slots[at as usize];
        let done = slot.closing && slot.in_flight == 0;
        if done {
            self.slots.remove(at as usize);
        }
        done
    }
}
