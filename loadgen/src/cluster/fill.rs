//! Fills servers until they hold so many bytes in memory.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::{Cluster, Machine};
use crate::failure::{Failure, While};

/// Bytes of each value.
const VALUE_BYTES: usize = 256 << 10;
/// Sets under way: an answer waits for every member's disk.
const IN_FLIGHT: u64 = 8;
/// How long one answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// So often a fill goes on at another leader.
const LEADERS_LOST_MAX: u32 = 100;
/// Sets between two looks at the memory.
const LOOK: u64 = 64;

/// Sets values at the leader until the resident memory of each server has this size. A disk that is busy for long may cost a
/// leader its lead meanwhile: the next one goes on.
pub fn until_resident(cluster: &Cluster, bytes: u64) -> Result<(), Failure> {
    let (mut next, mut lost) = (0, 0);
    loop {
        let leader = cluster.until_whole()?;
        match go_on(cluster, leader, bytes, &mut next) {
            Ok(()) => return Ok(()),
            Err(_) if lost < LEADERS_LOST_MAX => lost += 1,
            Err(failure) => return Err(Failure::new(format!("{failure}\n{}", cluster.said()))),
        }
    }
}

/// Sets values at this server, beginning with that number.
fn go_on(cluster: &Cluster, leader: usize, bytes: u64, next: &mut u64) -> Result<(), Failure> {
    let stream = TcpStream::connect(cluster.servers[leader].address).during("connecting for a fill")?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT)).during("connecting for a fill")?;
    let mut answers = BufReader::new(stream.try_clone().during("connecting for a fill")?);
    let value = vec![b'v'; VALUE_BYTES];
    let mut sent = *next;
    loop {
        let resident = cluster.servers.iter().map(Machine::resident_bytes).collect::<Result<Vec<_>, _>>()?;
        if resident.iter().all(|resident| *resident >= bytes) {
            break;
        }
        for _ in 0..LOOK {
            let mut request = format!("set fill:{sent} 0 0 {VALUE_BYTES}\r\n").into_bytes();
            request.extend_from_slice(&value);
            request.extend_from_slice(b"\r\n");
            (&stream).write_all(&request).during("filling")?;
            sent += 1;
            if sent - *next >= IN_FLIGHT {
                stored(&mut answers)?;
                *next += 1;
            }
        }
    }
    while *next < sent {
        stored(&mut answers)?;
        *next += 1;
    }
    Ok(())
}

fn stored(answers: &mut impl BufRead) -> Result<(), Failure> {
    let mut line = String::new();
    answers.read_line(&mut line).during("filling")?;
    if line == "STORED\r\n" { Ok(()) } else { Err(Failure::wrong_reply(format!("a fill was answered with {line:?}"))) }
}
