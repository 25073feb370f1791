//! The end of a stream that takes the data: lets in who has the key, passes on what comes as thread 0 has room for it, and says when
//! it is installed.

use std::io::Write;
use std::net::TcpStream;
use std::time::Instant;

use super::line::{Line, Waited};
use super::wire::{Broken, Wire, read};
use crate::config;
use crate::lifeline::Hello;
use crate::ring::peer::events::{Events, PeerEvent, StreamId};
use crate::transport::ClusterKey;
use crate::transport::stream::{GREETING_BYTES, Kind, MAGIC_BYTES, Records, read_greeting};

/// A connection on which a stream begins: the magic has been read.
pub struct Call<'a> {
    pub socket: TcpStream,
    pub hello: Hello,
    pub key: Option<&'a ClusterKey>,
}

/// A stream from its beginning to its end; whether thread 0 has all of it.
pub fn run(line: &Line, events: &Events, stream: StreamId, call: &Call<'_>) -> bool {
    line.connected(&call.socket) && take(line, events, stream, call).is_ok()
}

fn take(line: &Line, events: &Events, stream: StreamId, call: &Call<'_>) -> Result<(), Broken> {
    let mut wire = greet(call)?;
    let (Kind::Offer, offer) = wire.take(config::STREAM_OFFER_BYTES_MAX)? else { return Err(Broken) };
    // from here on it is known to be one of the cluster's servers
    let offer = offer.to_vec();
    wire.be_patient()?;
    line.introduce(|| events.push(PeerEvent::StreamOffered { stream, offer }));
    if !wait(&mut wire, || line.answered())? {
        return wire.send(Kind::Refused, &[]);
    }
    wire.send(Kind::Taken, &[])?;
    loop {
        let bytes = match wire.take(config::STREAM_RECORD_BYTES)? {
            (Kind::Bytes, bytes) => bytes.to_vec(),
            (Kind::End, _) => break,
            _ => return Err(Broken),
        };
        if !bytes.is_empty() {
            wait(&mut wire, || line.room(bytes.len()))?;
            line.tell(|| events.push(PeerEvent::StreamBytes { stream, bytes }));
        }
    }
    line.handed_over(|| events.push(PeerEvent::StreamEnd { stream }));
    wait(&mut wire, || line.done())?;
    wire.send(Kind::Installed, &[])
}

/// Waits for thread 0, and lets the other end know that.
fn wait<T>(wire: &mut Wire<'_>, mut look: impl FnMut() -> Waited<T>) -> Result<T, Broken> {
    loop {
        match look() {
            Waited::Got(got) => return Ok(got),
            Waited::NotYet => wire.send(Kind::Waits, &[])?,
            Waited::Broken => return Err(Broken),
        }
    }
}

/// Agrees on keys. A stranger gets a salt, and a few bytes are read of it.
fn greet<'a>(call: &'a Call<'_>) -> Result<Wire<'a>, Broken> {
    let mut socket = &call.socket;
    socket.set_nonblocking(false)?;
    socket.set_nodelay(true)?;
    let until = Instant::now() + config::STREAM_GREETING_PATIENCE;
    let mut said = [0; GREETING_BYTES];
    said[..MAGIC_BYTES.len()].copy_from_slice(&MAGIC_BYTES);
    read(socket, &mut said[MAGIC_BYTES.len()..], Some(until))?;
    let (sealed, theirs) = read_greeting(&said).ok_or(Broken)?;
    if sealed != call.key.is_some() {
        return Err(Broken);
    }
    let ours: u128 = rand::random();
    socket.write_all(&ours.to_le_bytes())?;
    let (forth, back) = Records::pair(call.key, call.hello, theirs, ours);
    let mut wire = Wire::new(socket, back, forth)?;
    wire.until = Some(until);
    Ok(wire)
}
