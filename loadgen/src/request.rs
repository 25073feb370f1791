//! Request batches, built before the load starts, so that sending one costs no more than the system call.
//! A batch is what one connection sends in one write and whose replies it awaits before the next one.

use ringstore::proto::{Direction, Store, StoreVerb, request};

use crate::failure::Failure;
use crate::keys::{Draws, KeySpace, key};

/// Keys drawn for one pool of batches: enough to miss the server's caches as a random workload does.
const KEYS_DRAWN: usize = 1 << 18;
/// Request bytes of one pool, which bounds the draws when requests carry values.
const POOL_BYTES_MAX: usize = 16 << 20;
/// Largest batch of several requests: it fits into the socket buffers, so that a write never waits for a server that
/// itself waits for us to read.
const BATCH_BYTES_MAX: usize = 64 << 10;
/// Sets in one batch of a fill.
const FILL_REQUESTS: usize = 100;

/// What a load asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mix {
    Get,
    Set,
    /// One request for this many keys.
    MultiGet(u32),
    /// Counters live under the same keys, so `--fill` stores numbers for this mix.
    Incr,
}

/// The language of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    Memcached,
    /// Only [`Mix::Set`] is spoken.
    Redis,
    /// Redis with replicas: behind the sets of a batch, `WAIT` until this many replicas have them.
    RedisWait(u32),
    /// etcd's JSON over HTTP. Only [`Mix::Set`] is spoken, and one request at a time on a connection.
    Etcd,
}

/// Milliseconds that `WAIT` may take before it says how many replicas have the sets.
const WAIT_MS: &str = "10000";

/// Requests that are sent together.
#[derive(Clone, Copy)]
pub struct Batch {
    pub bytes: &'static [u8],
    /// Keys in the order asked for.
    pub keys: &'static [u32],
    pub keys_per_request: usize,
}

impl Batch {
    pub fn requests(&self) -> usize {
        self.keys.len() / self.keys_per_request
    }
}

/// Batches that a load walks through, again and again. Their memory lives as long as the process, because the kernel
/// may read it at any time.
pub struct Pool {
    pub batches: Vec<Batch>,
    pub mix: Mix,
    pub dialect: Dialect,
    pub keys: KeySpace,
}

impl Pool {
    /// Random keys, `pipeline` requests per batch.
    pub fn random(mix: Mix, dialect: Dialect, keys: KeySpace, pipeline: usize, seed: u64) -> Result<Self, Failure> {
        let builder = Builder::new(mix, dialect, keys, pipeline)?;
        let mut draws = Draws::new(seed);
        let one = builder.size_of_one();
        if one > BATCH_BYTES_MAX && pipeline > 1 {
            return Err(Failure::new(format!(
                "{pipeline} in flight make a batch of {one} bytes, {BATCH_BYTES_MAX} is the limit"
            )));
        }
        let batches = (KEYS_DRAWN / builder.keys_per_batch()).min(POOL_BYTES_MAX / one).max(16);
        let ids = (0..batches * builder.keys_per_batch()).map(|_| draws.below(keys.count)).collect();
        Ok(builder.build(ids))
    }

    /// Sets every key once. For [`Mix::Incr`] the values are counters.
    pub fn fill(mix: Mix, dialect: Dialect, keys: KeySpace) -> Result<Self, Failure> {
        let per_request = keys.value_bytes + 64;
        let pipeline = (BATCH_BYTES_MAX / per_request).clamp(1, FILL_REQUESTS);
        let mut builder = Builder::new(Mix::Set, dialect, keys, pipeline)?;
        builder.counters = mix == Mix::Incr;
        Ok(builder.build((0..keys.count).collect()))
    }
}

struct Builder {
    mix: Mix,
    dialect: Dialect,
    keys: KeySpace,
    pipeline: usize,
    counters: bool,
}

impl Builder {
    fn new(mix: Mix, dialect: Dialect, keys: KeySpace, pipeline: usize) -> Result<Self, Failure> {
        if dialect != Dialect::Memcached && mix != Mix::Set {
            return Err(Failure::new("only sets are spoken to Redis and etcd"));
        }
        assert!(pipeline > 0);
        Ok(Self { mix, dialect, keys, pipeline, counters: false })
    }

    fn keys_per_request(&self) -> usize {
        match self.mix {
            Mix::MultiGet(keys) => keys as usize,
            Mix::Get | Mix::Set | Mix::Incr => 1,
        }
    }

    fn keys_per_batch(&self) -> usize {
        self.keys_per_request() * self.pipeline
    }

    fn size_of_one(&self) -> usize {
        let mut bytes = Vec::new();
        self.write(&mut bytes, &vec![0; self.keys_per_batch()]);
        bytes.len()
    }

    fn build(self, ids: Vec<u32>) -> Pool {
        let ids: &'static [u32] = ids.leak();
        let mut bytes = Vec::new();
        let mut ends = Vec::new();
        for batch in ids.chunks(self.keys_per_batch()) {
            self.write(&mut bytes, batch);
            ends.push(bytes.len());
        }
        let bytes: &'static [u8] = bytes.leak();
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let batches = ids.chunks(self.keys_per_batch()).zip(starts.zip(&ends));
        let keys_per_request = self.keys_per_request();
        let batches = batches.map(|(keys, (start, end))| Batch { bytes: &bytes[start..*end], keys, keys_per_request });
        Pool { batches: batches.collect(), mix: self.mix, dialect: self.dialect, keys: self.keys }
    }

    fn write(&self, out: &mut Vec<u8>, ids: &[u32]) {
        for request in ids.chunks(self.keys_per_request()) {
            match (self.mix, self.dialect) {
                (Mix::Get | Mix::MultiGet(_), _) => write_get(out, request),
                (Mix::Incr, _) => write_incr(out, request[0]),
                (Mix::Set, Dialect::Memcached) => write_set(out, request[0], self.value(request[0])),
                (Mix::Set, Dialect::Redis | Dialect::RedisWait(_)) => {
                    write_redis_set(out, request[0], self.value(request[0]));
                }
                (Mix::Set, Dialect::Etcd) => write_etcd_put(out, request[0], self.value(request[0])),
            }
        }
        if let Dialect::RedisWait(replicas) = self.dialect {
            let replicas = replicas.to_string();
            let (digits, length) = (replicas.len(), WAIT_MS.len());
            let wait = format!("*3\r\n$4\r\nWAIT\r\n${digits}\r\n{replicas}\r\n${length}\r\n{WAIT_MS}\r\n");
            out.extend_from_slice(wait.as_bytes());
        }
    }

    fn value(&self, id: u32) -> &'static [u8] {
        if self.counters { b"1000000000" } else { self.keys.value(id) }
    }
}

fn write_get(out: &mut Vec<u8>, ids: &[u32]) {
    let keys: Vec<_> = ids.iter().map(|id| key(*id)).collect();
    request::get(out, keys.iter().map(Vec::as_slice), false);
}

fn write_incr(out: &mut Vec<u8>, id: u32) {
    request::arithmetic(out, Direction::Increment, &key(id), 1);
}

fn write_set(out: &mut Vec<u8>, id: u32, value: &[u8]) {
    let store = Store { verb: StoreVerb::Set, key: &key(id), flags: 0, exptime: 0, cas: 0, value, noreply: false };
    request::store(out, &store);
}

fn write_redis_set(out: &mut Vec<u8>, id: u32, value: &[u8]) {
    out.extend_from_slice(b"*3\r\n$3\r\nSET\r\n$16\r\n");
    out.extend_from_slice(&key(id));
    out.extend_from_slice(format!("\r\n${}\r\n", value.len()).as_bytes());
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn write_etcd_put(out: &mut Vec<u8>, id: u32, value: &[u8]) {
    let body = format!("{{\"key\":\"{}\",\"value\":\"{}\"}}", base64(&key(id)), base64(value));
    let head = format!("POST /v3/kv/put HTTP/1.1\r\nHost: etcd\r\nContent-Length: {}\r\n\r\n", body.len());
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(body.as_bytes());
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits =
            group.iter().enumerate().fold(0_u32, |bits, (place, byte)| bits | u32::from(*byte) << (16 - 8 * place));
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place)) as usize % 64];
            text.push(if place > group.len() { '=' } else { char::from(digit) });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(pool: &Pool, batch: usize) -> String {
        String::from_utf8(pool.batches[batch].bytes.to_vec()).expect("requests are ASCII")
    }

    #[test]
    fn a_batch_holds_its_requests_and_says_which_keys() {
        let keys = KeySpace::new(1000, 10, 1);
        let pool = Pool::random(Mix::MultiGet(3), Dialect::Memcached, keys, 2, 7).expect("builds");
        let batch = pool.batches[5];
        assert_eq!((batch.keys.len(), batch.requests()), (6, 2));
        let k = batch.keys;
        let expected = format!(
            "get key:{:012} key:{:012} key:{:012}\r\nget key:{:012} key:{:012} key:{:012}\r\n",
            k[0], k[1], k[2], k[3], k[4], k[5]
        );
        assert_eq!(text(&pool, 5), expected);
    }

    #[test]
    fn the_seed_decides_the_requests() {
        let keys = KeySpace::new(1000, 10, 1);
        let build = |seed| Pool::random(Mix::Get, Dialect::Memcached, keys, 1, seed).expect("builds");
        let all = |pool: &Pool| pool.batches.iter().flat_map(|batch| batch.bytes).copied().collect::<Vec<_>>();
        assert_eq!(all(&build(3)), all(&build(3)));
        assert_ne!(all(&build(3)), all(&build(4)));
    }

    #[test]
    fn a_fill_sets_every_key_once() {
        let keys = KeySpace::new(250, 5, 1);
        let pool = Pool::fill(Mix::Get, Dialect::Memcached, keys).expect("builds");
        assert_eq!(pool.batches.iter().map(Batch::requests).collect::<Vec<_>>(), [100, 100, 50]);
        assert!(pool.batches.iter().flat_map(|batch| batch.keys).copied().eq(0..250));
        let value = String::from_utf8(keys.value(249).to_vec()).expect("ASCII");
        assert!(text(&pool, 2).ends_with(&format!("set key:000000000249 0 0 5\r\n{value}\r\n")));
    }

    #[test]
    fn redis_is_spoken_to_in_its_own_words() {
        let keys = KeySpace::new(1, 2, 1);
        let pool = Pool::fill(Mix::Set, Dialect::Redis, keys).expect("builds");
        let value = String::from_utf8(keys.value(0).to_vec()).expect("ASCII");
        assert_eq!(text(&pool, 0), format!("*3\r\n$3\r\nSET\r\n$16\r\nkey:000000000000\r\n$2\r\n{value}\r\n"));
        assert!(Pool::random(Mix::Get, Dialect::Redis, keys, 1, 1).is_err());
    }

    #[test]
    fn replicas_are_waited_for_once_per_batch() {
        let keys = KeySpace::new(4, 2, 1);
        let pool = Pool::random(Mix::Set, Dialect::RedisWait(2), keys, 3, 1).expect("builds");
        let text = text(&pool, 0);
        assert_eq!((text.matches("SET").count(), text.matches("WAIT").count()), (3, 1));
        assert!(text.ends_with("*3\r\n$4\r\nWAIT\r\n$1\r\n2\r\n$5\r\n10000\r\n"));
    }

    #[test]
    fn etcd_is_spoken_to_in_json() {
        let keys = KeySpace::new(1, 2, 1);
        let pool = Pool::random(Mix::Set, Dialect::Etcd, keys, 1, 1).expect("builds");
        let text = text(&pool, 0);
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        assert!(head.starts_with("POST /v3/kv/put HTTP/1.1\r\n"));
        assert!(head.ends_with(&format!("Content-Length: {}", body.len())));
        assert!(body.starts_with("{\"key\":\"a2V5OjAwMDAwMDAwMDAwMA==\",\"value\":\""), "{body}");
        for (bytes, text) in [(&b""[..], ""), (b"f", "Zg=="), (b"fo", "Zm8="), (b"foo", "Zm9v"), (b"foob", "Zm9vYg==")]
        {
            assert_eq!(base64(bytes), text);
        }
    }

    #[test]
    fn a_batch_that_could_block_both_sides_is_refused() {
        let keys = KeySpace::new(10, 10_000, 1);
        assert!(Pool::random(Mix::Set, Dialect::Memcached, keys, 7, 1).is_err());
        assert!(Pool::random(Mix::Set, Dialect::Memcached, keys, 6, 1).is_ok());
    }
}
