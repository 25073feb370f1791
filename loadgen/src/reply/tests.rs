use super::foreign::LINE_BYTES_MAX;
use super::*;
use crate::keys::KeySpace;

fn pool(mix: Mix, dialect: Dialect, pipeline: usize) -> Pool {
    Pool::random(mix, dialect, KeySpace::new(1000, 20, 1), pipeline, 11).expect("builds")
}

/// The reply of a right server to one batch, with the keys at `missing` left out.
fn reply(pool: &Pool, batch: Batch, missing: &[usize]) -> Vec<u8> {
    let mut out = Vec::new();
    for (place, id) in batch.keys.iter().enumerate() {
        if !missing.contains(&place) {
            out.extend_from_slice(format!("VALUE key:{id:012} 0 20\r\n").as_bytes());
            out.extend_from_slice(pool.keys.value(*id));
            out.extend_from_slice(b"\r\n");
        }
        if (place + 1) % batch.keys_per_request == 0 {
            out.extend_from_slice(b"END\r\n");
        }
    }
    out
}

/// The tally when the reply comes in pieces of `piece` bytes.
fn count(pool: &Pool, batch: Batch, reply: &[u8], piece: usize) -> Result<(Tally, bool), Garbled> {
    let mut decoder = Decoder::new(pool, true);
    decoder.expect(batch);
    for bytes in reply.chunks(piece) {
        decoder.feed(bytes)?;
    }
    Ok((decoder.tally, decoder.is_complete()))
}

#[test]
fn every_split_gives_the_same_count() {
    let pool = pool(Mix::MultiGet(3), Dialect::Memcached, 4);
    let batch = pool.batches[0];
    let bytes = reply(&pool, batch, &[1, 5, 8]);
    let expected = Tally { replies: 4, hits: 9, misses: 3, ..Tally::default() };
    for piece in 1..=bytes.len() {
        assert_eq!(count(&pool, batch, &bytes, piece), Ok((expected, true)), "pieces of {piece}");
    }
}

#[test]
fn a_batch_is_complete_only_with_its_last_byte() {
    let pool = pool(Mix::Get, Dialect::Memcached, 2);
    let batch = pool.batches[0];
    let bytes = reply(&pool, batch, &[]);
    for length in 1..bytes.len() {
        let (_, complete) = count(&pool, batch, &bytes[..length], 7).expect("no garble");
        assert!(!complete, "after {length} of {}", bytes.len());
    }
}

#[test]
fn one_wrong_byte_in_a_value_is_a_mismatch_wherever_it_stands() {
    let pool = pool(Mix::Get, Dialect::Memcached, 1);
    let batch = pool.batches[0];
    let right = reply(&pool, batch, &[]);
    let data = right.len() - 27..right.len() - 7;
    for place in data {
        let mut wrong = right.clone();
        wrong[place] ^= 1;
        for piece in [1, 3, wrong.len()] {
            let expected = Tally { replies: 1, mismatches: 1, ..Tally::default() };
            assert_eq!(count(&pool, batch, &wrong, piece), Ok((expected, true)), "byte {place}");
        }
    }
}

#[test]
fn a_value_of_the_wrong_length_or_key_or_flags_is_a_mismatch() {
    let pool = pool(Mix::Get, Dialect::Memcached, 1);
    let batch = pool.batches[0];
    let id = batch.keys[0];
    for line in [
        format!("VALUE key:{id:012} 0 4\r\nabcd\r\nEND\r\n"),
        format!("VALUE key:{id:012} 0 0\r\n\r\nEND\r\n"),
        format!("VALUE key:{:012} 0 20\r\n12345678901234567890\r\nEND\r\n", id + 1),
        format!("VALUE key:{id:012} 1 20\r\n12345678901234567890\r\nEND\r\n"),
        "VALUE other 0 3\r\nabc\r\nEND\r\n".to_owned(),
    ] {
        let (tally, complete) = count(&pool, batch, line.as_bytes(), 5).expect("no garble");
        assert_eq!((tally.mismatches, tally.hits, tally.replies, complete), (1, 0, 1, true), "{line:?}");
    }
}

#[test]
fn a_value_sent_twice_is_a_mismatch() {
    let pool = pool(Mix::MultiGet(2), Dialect::Memcached, 1);
    let batch = *pool.batches.iter().find(|batch| batch.keys[0] != batch.keys[1]).expect("keys differ");
    let mut bytes = reply(&pool, batch, &[1]);
    let value = bytes[..bytes.len() - 5].to_vec();
    bytes.splice(0..0, value);
    let (tally, _) = count(&pool, batch, &bytes, 9).expect("no garble");
    assert_eq!((tally.hits, tally.mismatches, tally.misses), (1, 1, 1));
}

#[test]
fn error_replies_are_counted_and_end_their_request() {
    for (mix, dialect, line) in [
        (Mix::Get, Dialect::Memcached, "SERVER_ERROR busy\r\n"),
        (Mix::Set, Dialect::Memcached, "NOT_STORED\r\n"),
        (Mix::Set, Dialect::Memcached, "END\r\n"),
        (Mix::Set, Dialect::Redis, "-ERR no\r\n"),
        (Mix::Set, Dialect::Redis, "+OK\n"),
        (Mix::Incr, Dialect::Memcached, "CLIENT_ERROR cannot\r\n"),
        (Mix::Incr, Dialect::Memcached, "STORED\r\n"),
    ] {
        let pool = pool(mix, dialect, 1);
        let expected = Tally { replies: 1, errors: 1, ..Tally::default() };
        assert_eq!(count(&pool, pool.batches[0], line.as_bytes(), 4), Ok((expected, true)), "{line:?}");
    }
}

#[test]
fn one_line_replies_are_counted() {
    for (mix, dialect, lines, hits, misses) in [
        (Mix::Set, Dialect::Memcached, "STORED\r\nSTORED\r\n", 0, 0),
        (Mix::Set, Dialect::Redis, "+OK\r\n+OK\r\n", 0, 0),
        (Mix::Incr, Dialect::Memcached, "12\r\nNOT_FOUND\r\n", 1, 1),
    ] {
        let pool = pool(mix, dialect, 2);
        let expected = Tally { replies: 2, hits, misses, ..Tally::default() };
        for piece in 1..=lines.len() {
            assert_eq!(count(&pool, pool.batches[0], lines.as_bytes(), piece), Ok((expected, true)));
        }
    }
}

#[test]
fn what_cannot_be_understood_ends_the_load() {
    let pool = pool(Mix::Get, Dialect::Memcached, 1);
    let batch = pool.batches[0];
    assert_eq!(count(&pool, batch, b"END\r\nEND\r\n", 3), Err(Garbled::Surplus));
    let no_end = [reply(&pool, batch, &[]).strip_suffix(b"\r\nEND\r\n").expect("a value"), b"xx"].concat();
    for bytes in [&b"VALUE key:000000000001 0 many\r\n"[..], b"\r\n", b"+OK\r\n", &[b'x'; LINE_BYTES_MAX], &no_end] {
        assert_eq!(count(&pool, batch, bytes, 64), Err(Garbled::Malformed), "{}", bytes.escape_ascii());
    }
}

#[test]
fn a_line_of_another_server_that_does_not_end_ends_the_load() {
    let pool = pool(Mix::Set, Dialect::Redis, 1);
    assert_eq!(count(&pool, pool.batches[0], &[b'x'; LINE_BYTES_MAX + 1], 100), Err(Garbled::LongLine));
}

#[test]
fn replicas_that_lack_a_set_are_an_error() {
    let pool = pool(Mix::Set, Dialect::RedisWait(2), 2);
    for (last, errors) in [(":2\r\n", 0), (":3\r\n", 0), (":1\r\n", 1), ("-ERR\r\n", 1)] {
        let lines = format!("+OK\r\n+OK\r\n{last}");
        let expected = Tally { replies: 2, errors, ..Tally::default() };
        for piece in 1..=lines.len() {
            assert_eq!(count(&pool, pool.batches[0], lines.as_bytes(), piece), Ok((expected, true)), "{last}");
        }
    }
    let sets_only = count(&pool, pool.batches[0], b"+OK\r\n+OK\r\n", 3);
    assert_eq!(sets_only, Ok((Tally { replies: 2, ..Tally::default() }, false)), "WAIT is not answered");
}

#[test]
fn http_answers_are_read_to_their_end() {
    let pool = pool(Mix::Set, Dialect::Etcd, 1);
    for (status, errors) in [("200 OK", 0), ("503 Service Unavailable", 1)] {
        let answer = format!("HTTP/1.1 {status}\r\nDate: now\r\nContent-Length: 4\r\n\r\n{{\r\n}}");
        let expected = Tally { replies: 1, errors, ..Tally::default() };
        for piece in 1..=answer.len() {
            assert_eq!(count(&pool, pool.batches[0], answer.as_bytes(), piece), Ok((expected, true)), "{status}");
        }
    }
    let endless = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(count(&pool, pool.batches[0], endless, 8), Err(Garbled::NoLength));
}
