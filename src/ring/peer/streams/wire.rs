//! Records on a socket. Everything has its time: an end that says nothing, or takes nothing, is left.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use crate::config;
use crate::transport::stream::{Damaged, Kind, LENGTH_BYTES, Records};

/// Why a stream ends early.
#[derive(Debug)]
pub struct Broken;

impl From<io::Error> for Broken {
    fn from(_: io::Error) -> Self {
        Self
    }
}

impl From<Damaged> for Broken {
    fn from(_: Damaged) -> Self {
        Self
    }
}

/// A connection, blocking, on which records go both ways.
pub struct Wire<'a> {
    socket: &'a TcpStream,
    sends: Records,
    takes: Records,
    /// All that is taken until then is taken by then.
    pub until: Option<Instant>,
    out: Vec<u8>,
    record: Vec<u8>,
}

/// Reads all of `buffer`: by then, or with no pause longer than the socket's own patience.
pub fn read(mut socket: &TcpStream, buffer: &mut [u8], until: Option<Instant>) -> io::Result<()> {
    let Some(until) = until else { return socket.read_exact(buffer) };
    let mut rest = buffer;
    while !rest.is_empty() {
        let left = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero());
        socket.set_read_timeout(Some(left.ok_or(ErrorKind::TimedOut)?))?;
        let read = socket.read(rest)?;
        if read == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        rest = &mut rest[read..];
    }
    Ok(())
}

impl<'a> Wire<'a> {
    /// The greetings are over.
    pub fn new(socket: &'a TcpStream, sends: Records, takes: Records) -> io::Result<Self> {
        socket.set_write_timeout(Some(config::STREAM_PATIENCE))?;
        Ok(Self { socket, sends, takes, until: None, out: Vec::new(), record: Vec::new() })
    }

    /// From now on the other end may take its time, but not be silent.
    pub fn be_patient(&mut self) -> io::Result<()> {
        self.until = None;
        self.socket.set_read_timeout(Some(config::STREAM_SILENCE))
    }

    /// Sends one record.
    pub fn send(&mut self, kind: Kind, bytes: &[u8]) -> Result<(), Broken> {
        self.out.clear();
        self.sends.seal(kind, bytes, &mut self.out);
        let mut socket = self.socket;
        Ok(socket.write_all(&self.out)?)
    }

    /// Sends data, in as many records as it takes.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        bytes.chunks(config::STREAM_RECORD_BYTES).try_for_each(|part| self.send(Kind::Bytes, part))
    }

    /// Waits for a record with at most so many bytes in it that says more than that the other end waits.
    pub fn take(&mut self, most: usize) -> Result<(Kind, &[u8]), Broken> {
        loop {
            let mut length = [0; LENGTH_BYTES];
            read(self.socket, &mut length, self.until)?;
            let bytes = self.takes.length(length, most)?;
            self.record.clear();
            self.record.extend_from_slice(&length);
            self.record.resize(LENGTH_BYTES + bytes, 0);
            read(self.socket, &mut self.record[LENGTH_BYTES..], self.until)?;
            let (kind, body) = self.takes.open(&mut self.record)?;
            if kind != Kind::Waits {
                let (kind, bytes) = (kind, body.len());
                return Ok((kind, &self.record[LENGTH_BYTES + 1..][..bytes]));
            }
        }
    }
}
