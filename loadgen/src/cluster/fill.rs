//! Fills servers until they hold so many bytes in memory.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::Machine;
use crate::failure::{Failure, While};

/// Bytes of each value.
const VALUE_BYTES: usize = 256 << 10;
/// Sets under way: an answer waits for every member's disk.
const IN_FLIGHT: u64 = 8;
/// How long one answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Sets between two looks at the memory.
const LOOK: u64 = 64;

/// Sets values at this server, the leader, until its resident memory has this size.
pub fn until_resident(leader: &Machine, bytes: u64) -> Result<(), Failure> {
    let stream = TcpStream::connect(leader.address).during("connecting for a fill")?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT)).during("connecting for a fill")?;
    let mut answers = BufReader::new(stream.try_clone().during("connecting for a fill")?);
    let value = vec![b'v'; VALUE_BYTES];
    let (mut sent, mut answered) = (0, 0);
    while leader.resident_bytes()? < bytes {
        for _ in 0..LOOK {
            let mut request = format!("set fill:{sent} 0 0 {VALUE_BYTES}\r\n").into_bytes();
            request.extend_from_slice(&value);
            request.extend_from_slice(b"\r\n");
            (&stream).write_all(&request).during("filling")?;
            sent += 1;
            if sent - answered >= IN_FLIGHT {
                stored(&mut answers)?;
                answered += 1;
            }
        }
    }
    (answered..sent).try_for_each(|_| stored(&mut answers))
}

fn stored(answers: &mut impl BufRead) -> Result<(), Failure> {
    let mut line = String::new();
    answers.read_line(&mut line).during("filling")?;
    if line == "STORED\r\n" { Ok(()) } else { Err(Failure::wrong_reply(format!("a fill was answered with {line:?}"))) }
}
