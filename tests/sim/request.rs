//! A simulated client's operation as the write path's command, and the write path's answer as the client reads it.

use ringstore::proto::{Direction, Reply, StoreVerb};
use ringstore::writes::Write;

use crate::linear::{Op, Outcome};

/// A key of the simulation; there are only a few, so that clients meet.
pub type Key = u8;

/// The bytes of a key in the log.
pub fn key_bytes(key: Key) -> Vec<u8> {
    vec![b'k', b'a' + key]
}

/// The command for an operation that is no read.
pub fn write<'a>(key: &'a [u8], op: &'a Op) -> Write<'a> {
    let store = |verb, cas, value: &'a [u8]| {
        // flags that say something, so that lost ones are noticed
        Write::Store { verb, key, flags: value.len() as u32, exptime: 0, cas, value }
    };
    match op {
        Op::Get => unreachable!("a read is no write"),
        Op::Set(value) => store(StoreVerb::Set, 0, value),
        Op::Add(value) => store(StoreVerb::Add, 0, value),
        Op::Cas { id, value } => store(StoreVerb::Cas, *id, value),
        Op::Append(value) => store(StoreVerb::Append, 0, value),
        Op::Incr(delta) => Write::Arithmetic { direction: Direction::Increment, key, delta: *delta },
        Op::Delete => Write::Delete { key },
    }
}

/// What a client makes of an answer's bytes.
pub fn outcome(reply: &Reply) -> Outcome {
    let mut text = Vec::new();
    reply.encode(&mut text);
    match text.strip_suffix(b"\r\n").expect("a line") {
        b"STORED" => Outcome::Stored,
        b"NOT_STORED" => Outcome::NotStored,
        b"EXISTS" => Outcome::Exists,
        b"NOT_FOUND" => Outcome::NotFound,
        b"DELETED" => Outcome::Deleted,
        b"CLIENT_ERROR cannot increment or decrement non-numeric value" => Outcome::NonNumeric,
        number => {
            let number = std::str::from_utf8(number).ok().and_then(|text| text.parse().ok());
            Outcome::Number(number.unwrap_or_else(|| panic!("no client knows what {reply:?} means")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_knows_what_it_is_told() {
        let known = [
            (Reply::Stored, Outcome::Stored),
            (Reply::NotStored, Outcome::NotStored),
            (Reply::Exists, Outcome::Exists),
            (Reply::NotFound, Outcome::NotFound),
            (Reply::Deleted, Outcome::Deleted),
            (Reply::Number(17), Outcome::Number(17)),
            (Reply::Bytes(b"18\r\n".to_vec()), Outcome::Number(18)),
            (Reply::Line(ringstore::proto::reply::NON_NUMERIC_VALUE), Outcome::NonNumeric),
        ];
        for (reply, expected) in known {
            assert_eq!(outcome(&reply), expected);
        }
    }

    #[test]
    fn a_command_is_about_its_key() {
        let ops = [Op::Set(b"v".to_vec()), Op::Cas { id: 9, value: Vec::new() }, Op::Incr(1), Op::Delete];
        for op in ops {
            assert_eq!(write(&key_bytes(3), &op).key(), b"kd");
        }
    }
}
