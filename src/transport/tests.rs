//! Two ends and a network between them that loses, doubles, delays and reorders, all from one seed.

use std::collections::BTreeMap;

use rand::rngs::SmallRng;
use rand::{Rng, RngExt, SeedableRng};

use super::packet::{HEADER_BYTES, Header};
use super::*;
use crate::config;
use crate::log::{Incarnation, NodeId};
use crate::time::{Duration, Time};

const START: Time = Time(1_000_000_000_000);
const A: NodeId = NodeId(7);
const B: NodeId = NodeId(9);

fn key() -> ClusterKey {
    ClusterKey::from_file(&[3; ClusterKey::BYTES]).expect("32 bytes")
}

fn end(node: NodeId, incarnation: u64, salt: u64, key: Option<ClusterKey>) -> Endpoint {
    let identity = Identity { node, incarnation: Incarnation(incarnation), salt, key };
    Endpoint::new(identity, config::DATAGRAM_BYTES)
}

fn transmitted(end: &mut Endpoint, now: Time, peer: NodeId) -> Vec<Vec<u8>> {
    let mut train = Train::default();
    end.transmit(now, peer, &mut train);
    train.datagrams().map(<[u8]>::to_vec).collect()
}

fn received(end: &mut Endpoint, now: Time, datagram: &[u8]) -> Result<Vec<Vec<u8>>, Refusal> {
    let mut messages = Vec::new();
    end.receive(now, &mut datagram.to_vec(), &mut |message| messages.push(message.to_vec()))?;
    end.check_invariants();
    Ok(messages)
}

/// What the network does to a datagram.
#[derive(Clone, Copy, Debug)]
struct Conditions {
    loss: f64,
    doubled: f64,
    delay: Duration,
    jitter: Duration,
}

struct Net {
    now: Time,
    random: SmallRng,
    conditions: Conditions,
    /// In the order of their arrival.
    under_way: BTreeMap<(Time, u64), (NodeId, Vec<u8>)>,
    sent: u64,
    ends: [(NodeId, Endpoint); 2],
    delivered: [Vec<Vec<u8>>; 2],
}

impl Net {
    fn new(seed: u64, conditions: Conditions, key: Option<&ClusterKey>) -> Self {
        let ends = [(A, end(A, 1, 11, key.cloned())), (B, end(B, 1, 22, key.cloned()))];
        let random = SmallRng::seed_from_u64(seed);
        Self {
            now: START,
            random,
            conditions,
            under_way: BTreeMap::new(),
            sent: 0,
            ends,
            delivered: Default::default(),
        }
    }

    fn flush(&mut self) {
        for at in 0..2 {
            let peer = self.ends[1 - at].0;
            loop {
                let datagrams = transmitted(&mut self.ends[at].1, self.now, peer);
                if datagrams.is_empty() {
                    break;
                }
                for datagram in datagrams {
                    assert!(datagram.len() <= config::DATAGRAM_BYTES, "no datagram is larger");
                    self.carry(peer, &datagram);
                }
            }
        }
    }

    fn carry(&mut self, to: NodeId, datagram: &[u8]) {
        let Conditions { loss, doubled, delay, jitter } = self.conditions;
        let copies = if self.random.random_bool(loss) { 0 } else { 1 + usize::from(self.random.random_bool(doubled)) };
        for _ in 0..copies {
            let late = self.random.random_range(0..=jitter.0);
            self.sent += 1;
            self.under_way.insert((self.now.after(delay).after(Duration(late)), self.sent), (to, datagram.to_vec()));
        }
    }

    /// Goes on until nothing is under way and nothing waits, or until `until`.
    fn run(&mut self, until: Time) {
        loop {
            self.flush();
            let arrival = self.under_way.first_key_value().map(|(&(at, _), _)| at);
            let deadline = self.ends.iter().filter_map(|(_, end)| end.deadline()).min();
            let Some(next) = arrival.into_iter().chain(deadline).min().filter(|&next| next < until) else { return };
            self.now = self.now.max(next);
            if arrival == Some(next) {
                let (_, (to, datagram)) = self.under_way.pop_first().expect("it was there");
                let at = usize::from(to == B);
                if let Ok(messages) = received(&mut self.ends[at].1, self.now, &datagram) {
                    self.delivered[at].extend(messages);
                }
            } else {
                self.ends.iter_mut().for_each(|(_, end)| end.on_time(self.now));
            }
        }
    }
}

fn message(random: &mut SmallRng, number: u64, longest: usize) -> Vec<u8> {
    let mut message = vec![0; random.random_range(8..longest)];
    random.fill_bytes(&mut message);
    message[..8].copy_from_slice(&number.to_le_bytes());
    message
}

fn seeds(count: u64) -> Vec<u64> {
    match std::env::var("RINGSTORE_SEED") {
        Ok(seed) => vec![seed.parse().expect("a number")],
        Err(_) => (0..count).collect(),
    }
}

#[test]
fn what_is_repaired_arrives_whole_and_once() {
    for seed in seeds(60) {
        println!("RINGSTORE_SEED={seed}");
        let mut random = SmallRng::seed_from_u64(seed ^ 0xABCD);
        let conditions = Conditions {
            loss: random.random_range(0.0..0.3),
            doubled: random.random_range(0.0..0.2),
            delay: Duration(random.random_range(20_000..20_000_000)),
            jitter: Duration(random.random_range(0..3_000_000)),
        };
        let key = random.random_bool(0.5).then(key);
        let mut net = Net::new(seed, conditions, key.as_ref());
        let mut expected: [Vec<Vec<u8>>; 2] = Default::default();
        for number in 0..60 {
            let at = random.random_range(0..2);
            let longest = if random.random_bool(0.2) { 60_000 } else { 500 };
            let sent = message(&mut random, number, longest);
            let (now, peer) = (net.now, net.ends[1 - at].0);
            net.ends[at].1.send(now, peer, sent.clone(), Repair::Pieces).expect("there is room");
            expected[1 - at].push(sent);
            let until = net.now.after(Duration(random.random_range(1_000..5_000_000)));
            net.run(until);
            net.now = until;
        }
        let end = net.now.after(Duration::from_seconds(60));
        net.run(end);
        for (expected, delivered) in expected.iter_mut().zip(&mut net.delivered) {
            expected.sort();
            delivered.sort();
            assert_eq!(expected.len(), delivered.len(), "seed {seed}: {conditions:?}");
            assert!(expected == delivered, "seed {seed}: a message changed on the way");
        }
    }
}

#[test]
fn only_what_is_lost_is_sent_again() {
    for (loss, most) in [(0.0, 0.0), (0.01, 0.03), (0.05, 0.12)] {
        let conditions = Conditions { loss, doubled: 0.0, delay: Duration::from_millis(1), jitter: Duration(0) };
        let mut net = Net::new(5, conditions, None);
        let total = 4 << 20;
        let now = net.now;
        for number in 0..4 {
            let bytes = vec![number; total / 4];
            net.ends[0].1.send(now, B, bytes, Repair::Pieces).expect("there is room");
        }
        let end = net.now.after(Duration::from_seconds(60));
        net.run(end);
        assert_eq!(net.delivered[1].len(), 4, "all arrive under {loss}");
        let resent = net.ends[0].1.counts().bytes_resent as f64 / total as f64;
        println!("loss {loss}: {resent:.4} of the bytes sent again, {:?}", net.now.since(now));
        assert!(resent <= most, "{resent} of all bytes were sent again under a loss of {loss}");
    }
}

#[test]
fn a_message_that_fits_goes_once_and_a_large_one_is_cut() {
    let mut a = end(A, 1, 1, Some(key()));
    let mut b = end(B, 1, 2, Some(key()));
    a.send(START, B, b"beacon".to_vec(), Repair::Never).expect("there is room");
    a.send(START, B, b"ack".to_vec(), Repair::Never).expect("there is room");
    let datagrams = transmitted(&mut a, START, B);
    assert_eq!(datagrams.len(), 1, "small messages share a datagram");
    assert_eq!(received(&mut b, START, &datagrams[0]), Ok(vec![b"beacon".to_vec(), b"ack".to_vec()]));
    assert_eq!(b.due().count(), 0, "nobody waits to hear of it");
    assert_eq!(a.deadline(), None);

    let large = vec![1; 5000];
    a.send(START, B, large.clone(), Repair::Never).expect("there is room");
    let datagrams = transmitted(&mut a, START, B);
    assert_eq!(datagrams.len(), 4);
    assert!(datagrams[..3].iter().all(|one| one.len() == config::DATAGRAM_BYTES), "full ones, for one call");
    let messages: Vec<_> = datagrams.iter().flat_map(|one| received(&mut b, START, one).expect("genuine")).collect();
    assert_eq!(messages, [large]);
    assert!(!datagrams.iter().any(|one| one.windows(8).any(|bytes| bytes == [1; 8])), "nobody can read it");
}

#[test]
fn what_is_not_the_peers_word_is_dropped_and_never_answered() {
    let (mut a, mut b) = (end(A, 1, 1, Some(key())), end(B, 1, 2, Some(key())));
    a.send(START, B, b"set".to_vec(), Repair::Pieces).expect("there is room");
    let genuine = transmitted(&mut a, START, B).remove(0);
    for at in 0..genuine.len() {
        let mut forged = genuine.clone();
        forged[at] ^= 1 << (at % 8);
        received(&mut b, START, &forged).expect_err("a changed bit");
    }
    for length in 0..genuine.len() {
        received(&mut b, START, &genuine[..length]).expect_err("a part of it");
    }
    let other = ClusterKey::from_file(&[4; ClusterKey::BYTES]).expect("32 bytes");
    let mut foreign = end(A, 1, 1, Some(other));
    foreign.send(START, B, b"set".to_vec(), Repair::Pieces).expect("there is room");
    assert_eq!(received(&mut b, START, &transmitted(&mut foreign, START, B)[0]), Err(Refusal::Forged));
    let mut open = end(A, 1, 1, None);
    open.send(START, B, b"set".to_vec(), Repair::Pieces).expect("there is room");
    assert_eq!(received(&mut b, START, &transmitted(&mut open, START, B)[0]), Err(Refusal::Forged), "without a key");
    assert_eq!(b.due().count(), 0, "nobody is answered");
    assert_eq!(b.links(), 0, "and takes room");

    assert_eq!(received(&mut b, START, &genuine), Ok(vec![b"set".to_vec()]));
    assert_eq!(received(&mut b, START, &genuine), Err(Refusal::Replayed));
    // nobody but the one it was meant for can open it
    let mut c = end(NodeId(10), 1, 3, Some(key()));
    assert_eq!(received(&mut c, START, &genuine), Err(Refusal::Forged));
    let counts = b.counts();
    assert_eq!(counts.refused_replayed, 1);
    assert!(counts.refused_forged > 0 && counts.refused_foreign > 0);
    let ack = transmitted(&mut b, START, A);
    assert!(ack.len() == 1 && ack[0].len() <= genuine.len() + 32, "an answer is not larger than what it answers");
}

#[test]
fn a_restarted_peer_begins_anew_and_its_old_datagrams_are_dead() {
    let (mut a, mut b) = (end(A, 1, 1, Some(key())), end(B, 1, 2, Some(key())));
    a.send(START, B, b"old".to_vec(), Repair::Pieces).expect("there is room");
    let old = transmitted(&mut a, START, B).remove(0);
    a.send(START, B, b"older".to_vec(), Repair::Pieces).expect("there is room");
    let older = transmitted(&mut a, START, B).remove(0);
    assert_eq!(received(&mut b, START, &old), Ok(vec![b"old".to_vec()]));
    b.send(START, A, vec![0; 3000], Repair::Pieces).expect("there is room");
    assert!(!transmitted(&mut b, START, A).is_empty());

    let mut a = end(A, 2, 3, Some(key()));
    a.send(START, B, b"new".to_vec(), Repair::Pieces).expect("there is room");
    let new = transmitted(&mut a, START, B).remove(0);
    assert_eq!(received(&mut b, START, &new), Ok(vec![b"new".to_vec()]));
    assert_eq!(received(&mut b, START, &older), Err(Refusal::Replayed), "of a start that has ended");
    assert_eq!(b.deadline(), None, "what the old start was sent is not waited for");
    // the new start knows nothing of what the old one was sent
    assert_eq!(transmitted(&mut b, START, A).len(), 1, "an ack and no piece");
}

#[test]
fn a_peer_that_acks_nothing_costs_a_bounded_amount() {
    let mut a = end(A, 1, 1, None);
    let mut taken = 0;
    while a.send(START, B, vec![0; 64 << 20], Repair::Pieces).is_ok() {
        taken += 1;
        assert!(taken < 100, "there is a bound");
    }
    let (mut now, mut datagrams) = (START, 0);
    for _ in 0..200 {
        datagrams += transmitted(&mut a, now, B).len();
        a.check_invariants();
        let Some(next) = a.deadline() else { break };
        now = next;
        a.on_time(now);
    }
    assert!(datagrams < 60, "{datagrams} datagrams for nobody: the first window, then probes that come ever later");
    now = now.after(config::MESSAGE_LIFETIME);
    a.on_time(now);
    a.send(now, B, vec![0; 64 << 20], Repair::Pieces).expect("what nobody acked was given up");
}

#[test]
fn who_is_forgotten_and_spoken_to_again_gets_no_number_twice() {
    let (mut a, mut b) = (end(A, 1, 1, Some(key())), end(B, 1, 2, Some(key())));
    for round in 0..3_u8 {
        a.send(START, B, vec![round; 100], Repair::Never).expect("there is room");
        let datagram = transmitted(&mut a, START, B).remove(0);
        let number = Header::decode(&datagram).expect("a header").number;
        assert_eq!(number, u64::from(round) + 1, "a number is a nonce, and the key is the same");
        assert_eq!(received(&mut b, START, &datagram), Ok(vec![vec![round; 100]]), "nothing is taken for a replay");
        a.forget(B);
        assert_eq!(a.links(), 0);
    }
}

#[test]
fn it_says_when_nothing_is_under_way_in_pieces_any_more() {
    let (mut a, mut b) = (end(A, 1, 1, None), end(B, 1, 2, None));
    let settled = |a: &mut Endpoint| {
        let mut settled = Vec::new();
        a.take_settled(&mut settled);
        settled
    };
    a.send(START, B, vec![0; a.whole_bytes_max()], Repair::Never).expect("there is room");
    assert_eq!(transmitted(&mut a, START, B).len(), 1);
    assert_eq!(settled(&mut a), [], "what goes once is nobody's business");
    a.send(START, B, vec![1; a.whole_bytes_max() + 1], Repair::Never).expect("there is room");
    let pieces = transmitted(&mut a, START, B);
    assert_eq!(pieces.len(), 2, "the next larger one goes in pieces");
    assert_eq!(settled(&mut a), [], "it is under way");
    for piece in &pieces {
        received(&mut b, START, piece).expect("genuine");
    }
    received(&mut a, START, &transmitted(&mut b, START, A)[0]).expect("an ack");
    assert_eq!(settled(&mut a), [B]);
    assert_eq!(settled(&mut a), [], "once");

    a.send(START, B, vec![1; 5000], Repair::Never).expect("there is room");
    transmitted(&mut a, START, B);
    a.on_time(START.after(config::MESSAGE_LIFETIME));
    assert_eq!(settled(&mut a), [B], "it was given up");
}

#[test]
fn a_key_file_holds_bytes_or_digits() {
    let digits = "0f".repeat(32);
    for good in [digits.clone(), format!("{digits}\n"), digits.to_uppercase()] {
        let key = ClusterKey::from_file(good.as_bytes()).expect("64 digits");
        assert_eq!(format!("{key:?}"), "ClusterKey", "it is never shown");
    }
    for bad in [String::new(), digits[1..].to_owned(), format!("{digits}0"), "+f".repeat(32), "zz".repeat(32)] {
        assert!(ClusterKey::from_file(bad.as_bytes()).is_none(), "{bad}");
    }
}

#[test]
fn headers_are_as_format_md_says() {
    let header = Header {
        sealed: true,
        source: NodeId(2),
        session: packet::Session { incarnation: Incarnation(3), salt: 4 },
        number: 5,
    };
    let mut bytes = Vec::new();
    header.encode(&mut bytes);
    assert_eq!(bytes.len(), HEADER_BYTES);
    assert_eq!(Header::decode(&bytes), Some(header));
    let mut table = String::from("| byte | bytes | field | holds |\n|---|---|---|---|\n");
    for field in packet::FIELDS {
        table += &format!("| {} | {} | `{}` | {} |\n", field.at, field.bytes, field.name, field.meaning);
    }
    let page = include_str!("../../FORMAT.md");
    assert!(page.contains(&table), "FORMAT.md lacks this table:\n{table}");
}
