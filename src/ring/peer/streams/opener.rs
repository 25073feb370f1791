//! The end of a stream that has the data: connects, offers, sends as thread 0 pushes, waits until it is installed.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use super::line::{Line, Next, Waited};
use super::wire::{Broken, Wire, read};
use crate::config;
use crate::lifeline::{HELLO_BYTES, Hello};
use crate::log::NodeId;
use crate::ring::peer::events::{Events, PeerEvent, StreamId};
use crate::transport::ClusterKey;
use crate::transport::stream::{ANSWER_BYTES, Kind, Records, greeting};

/// Who is to be sent something.
pub struct Call<'a> {
    pub to: NodeId,
    pub address: SocketAddr,
    pub offer: &'a [u8],
    pub key: Option<&'a ClusterKey>,
}

/// A stream from its beginning to its end; whether all of it is installed.
pub fn run(line: &Line, events: &Events, stream: StreamId, call: &Call<'_>) -> bool {
    let Ok(socket) = TcpStream::connect_timeout(&call.address, config::STREAM_GREETING_PATIENCE) else { return false };
    if !line.connected(&socket) || send(line, events, stream, call, &socket).is_err() {
        return false;
    }
    line.handed_over(|| events.push(PeerEvent::StreamInstalled { stream }));
    true
}

fn send(line: &Line, events: &Events, stream: StreamId, call: &Call<'_>, socket: &TcpStream) -> Result<(), Broken> {
    let mut wire = greet(call, socket)?;
    wire.send(Kind::Offer, call.offer)?;
    if wire.take(0)?.0 != Kind::Taken {
        return Err(Broken);
    }
    line.tell(|| events.push(PeerEvent::StreamWants { stream }));
    loop {
        match line.next() {
            Waited::Got(Next::Piece(piece)) => {
                // thread 0 makes the next one while this one is sent
                line.tell(|| events.push(PeerEvent::StreamWants { stream }));
                wire.send_bytes(&piece)?;
            }
            Waited::Got(Next::All) => break,
            Waited::NotYet => wire.send(Kind::Waits, &[])?,
            Waited::Broken => return Err(Broken),
        }
    }
    wire.send(Kind::End, &[])?;
    if wire.take(0)?.0 == Kind::Installed { Ok(()) } else { Err(Broken) }
}

/// Hears who is there, and agrees on keys.
fn greet<'a>(call: &Call<'_>, mut socket: &'a TcpStream) -> Result<Wire<'a>, Broken> {
    socket.set_nodelay(true)?;
    let until = Some(Instant::now() + config::STREAM_GREETING_PATIENCE);
    let mut said = [0; HELLO_BYTES];
    read(socket, &mut said, until)?;
    let hello = Hello::decode(&said).filter(|hello| hello.node == call.to).ok_or(Broken)?;
    let salt = rand::random();
    socket.write_all(&greeting(call.key.is_some(), salt))?;
    let mut answer = [0; ANSWER_BYTES];
    read(socket, &mut answer, until)?;
    let (forth, back) = Records::pair(call.key, hello, salt, u128::from_le_bytes(answer));
    let mut wire = Wire::new(socket, forth, back)?;
    wire.be_patient()?;
    Ok(wire)
}
