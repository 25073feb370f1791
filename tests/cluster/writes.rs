//! What is special about some writes: counted once, in order, large, refused.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::history::connection::{Answer, Connection};
use crate::history::load::{Load, Plan};
use crate::history::standing;
use crate::linear::{Op, Outcome};
use crate::machines::{Cluster, PATIENCE, Shape, hold};

/// How long anything with a value of many MiB may take on a busy machine.
const LARGE_PATIENCE: Duration = Duration::from_secs(90);

/// Asks until it is done; a refusal is one of a server that waits for others.
#[track_caller]
fn done(connection: &mut Connection, key: &str, op: &Op) -> Outcome {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match connection.ask(key, op).expect("an answer") {
            Answer::Told(outcome) => return outcome,
            Answer::Refused(line) => assert!(Instant::now() < deadline, "{op:?} of {key} is refused: {line}"),
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// C1: a client of a survivor sees a pause, no error and no incr done twice.
#[test]
fn an_incr_through_a_survivor_is_done_once() {
    let mut cluster = Cluster::start(&Shape::THREE);
    let mut expected = 0;
    let mut longest = Duration::ZERO;
    assert_eq!(done(&mut cluster.connect(0), "counter", &Op::Set(b"0".to_vec())), Outcome::Stored);
    for round in 0..6 {
        let leader = cluster.until_whole();
        let mut connection = cluster.connect(cluster.others(leader)[round % 2]);
        let mut incr = |times: usize| {
            for _ in 0..times {
                let begun = Instant::now();
                expected += 1;
                let answer = connection.ask("counter", &Op::Incr(1)).expect("a survivor keeps its clients");
                assert_eq!(answer, Answer::Told(Outcome::Number(expected)), "round {round}");
                longest = longest.max(begun.elapsed());
            }
        };
        incr(20);
        std::thread::scope(|scope| {
            let cluster = &mut cluster;
            let killing = scope.spawn(move || {
                std::thread::sleep(Duration::from_millis(7 * round as u64));
                cluster.kill(leader);
            });
            incr(200);
            killing.join().expect("it is killed");
        });
        incr(20);
        cluster.start_server(leader);
    }
    cluster.until_whole();
    for place in 0..3 {
        let value = done(&mut cluster.connect(place), "counter", &Op::Get);
        let Outcome::Value { value, .. } = value else { panic!("no counter at {place}: {value:?}") };
        assert_eq!(value, expected.to_string().into_bytes(), "at {place}");
    }
    println!("an incr through a survivor is done once: {expected} incrs, the longest took {longest:?}");
}

/// Many writes in one go through each server, whose order is the client's.
#[test]
fn pipelined_writes_keep_their_order() {
    let mut cluster = Cluster::start(&Shape { options: &["-t", "2"], ..Shape::THREE });
    let mut unknown = 0;
    for round in 0..3 {
        let leader = cluster.until_whole();
        let others = cluster.others(leader);
        for place in 0..3 {
            let key = format!("order-{round}-{place}");
            let mut connection = cluster.connect(place);
            assert_eq!(done(&mut connection, &key, &Op::Set(b"begin".to_vec())), Outcome::Stored);
            let tails: Vec<Op> = (0..300).map(|number| Op::Append(format!(" {number}").into_bytes())).collect();
            connection.send_all(tails.iter().map(|op| (key.as_str(), op))).expect("sent");
            let kill = round > 0 && place == others[round - 1];
            let mut acknowledged = Vec::new();
            for (number, op) in tails.iter().enumerate() {
                if kill && number == 20 {
                    cluster.kill(leader);
                }
                match connection.answer(&key, op) {
                    Ok(Answer::Told(Outcome::Stored)) => acknowledged.push(number),
                    Ok(Answer::Refused(_)) => {}
                    Ok(answer) => panic!("append answers {answer:?}"),
                    Err(error) => panic!("a survivor keeps its clients: {error}"),
                }
            }
            unknown += tails.len() - acknowledged.len();
            if kill {
                cluster.start_server(leader);
                cluster.until_whole();
            }
            let value = done(&mut cluster.connect(leader), &key, &Op::Get);
            let Outcome::Value { value, .. } = value else { panic!("{key} is gone: {value:?}") };
            let text = String::from_utf8(value).expect("digits");
            let held: Vec<usize> = text.split(' ').skip(1).map(|word| word.parse().expect("a number")).collect();
            assert!(held.is_sorted_by(|a, b| a < b), "out of order or twice: {held:?}");
            assert_eq!(held, acknowledged, "what was refused is not there, what was acknowledged is");
        }
    }
    hold(standing::same_data(&cluster.addresses(), PATIENCE));
    println!("pipelined writes keep their order: 2700 appends, {unknown} refused");
}

#[test]
fn pipelined_operations_of_many_clients() {
    let mut cluster = Cluster::start(&Shape { options: &["-t", "2"], ..Shape::THREE });
    let load = Load::start(Plan { pipelined: 8, think: Duration::from_millis(12), ..Plan::new(&cluster.addresses()) });
    for _ in 0..3 {
        let leader = cluster.until_whole();
        hold(load.more_writes(200, PATIENCE));
        cluster.kill(leader);
        hold(load.more_writes(200, PATIENCE));
        cluster.start_server(leader);
    }
    cluster.conclude("pipelined operations of many clients", load);
}

/// Values of nearly 1 MiB, the largest that `-I` takes by default.
#[test]
fn large_values_are_replicated() {
    let mut cluster = Cluster::start(&Shape::THREE);
    let plan = Plan { value_bytes: (1 << 20) - 600, slots: 2, roaming: 1, ..Plan::new(&cluster.addresses()) };
    let load = Load::start(Plan { think: Duration::from_millis(60), operations_per_key: 60, ..plan });
    let leader = cluster.until_whole();
    hold(load.more_writes(30, PATIENCE));
    cluster.kill(leader);
    hold(load.more_writes(30, PATIENCE));
    cluster.start_server(leader);
    cluster.conclude("large values are replicated", load);
}

/// Values near the largest that `-I 64m` takes: each is work for many turns and leaves in a thousand datagrams.
#[test]
fn values_of_sixty_mebibytes_are_replicated() {
    let shape = Shape { options: &["-t", "1", "-I", "64m", "-m", "400"], ..Shape::THREE };
    let cluster = Cluster::start(&shape);
    cluster.until_whole();
    for place in 0..3 {
        let value: Vec<u8> = (0..60_u32 << 20).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8 ^ place).collect();
        let key = format!("large{place}");
        let set = Op::Set(value.clone());
        let mut connection = Connection::open(cluster.address(place.into()), LARGE_PATIENCE).expect("it listens");
        let stored = connection.ask(&key, &set).expect("an answer");
        assert_eq!(stored, Answer::Told(Outcome::Stored), "through server {place}");
        for reader in cluster.addresses() {
            let read = read_large(reader, &key);
            // not by assert_eq, which would print it
            assert!(read == value, "server {reader} has {} bytes of {}", read.len(), value.len());
        }
    }
    hold(standing::same_data(&cluster.addresses(), PATIENCE));
}

/// A value at a server that may not be sure of its lease yet.
fn read_large(server: SocketAddr, key: &str) -> Vec<u8> {
    let deadline = Instant::now() + LARGE_PATIENCE;
    loop {
        let mut connection = Connection::open(server, LARGE_PATIENCE).expect("it listens");
        match connection.ask(key, &Op::Get).expect("an answer") {
            Answer::Told(Outcome::Value { value, .. }) => return value,
            told @ Answer::Told(_) => panic!("{server} says {told:?}"),
            Answer::Refused(line) => assert!(Instant::now() < deadline, "{server} reads nothing: {line}"),
        }
    }
}

/// R10: with one server left nothing is written, and nothing that was refused is there later.
#[test]
fn one_server_alone_refuses_writes() {
    let mut cluster = Cluster::start(&Shape::THREE);
    let leader = cluster.until_whole();
    let last = cluster.others(leader)[0];
    assert_eq!(done(&mut cluster.connect(last), "key", &Op::Set(b"v1;".to_vec())), Outcome::Stored);
    for place in cluster.others(last) {
        cluster.kill(place);
    }
    // what is under way when the others are left out is still done
    cluster.until_whole_of(&[last]);
    let mut connection = cluster.connect(last);
    let refusal = match connection.ask("other", &Op::Set(b"v2;".to_vec())).expect("an answer") {
        Answer::Refused(line) => line,
        told @ Answer::Told(_) => panic!("with one server left a set is answered {told:?}"),
    };
    let load = Load::start(Plan { pinned: 3, roaming: 0, ..Plan::new(&[cluster.address(last)]) });
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(load.acknowledged(), 0, "nothing is written");
    let value = done(&mut cluster.connect(last), "key", &Op::Get);
    assert!(matches!(value, Outcome::Value { ref value, .. } if value == b"v1;"), "reads go on: {value:?}");
    for place in cluster.others(last) {
        cluster.start_server(place);
    }
    cluster.conclude("one server alone refuses writes", load);
    let read = done(&mut cluster.connect(last), "key", &Op::Get);
    assert_eq!(read, value, "nothing has changed it");
    println!("one server alone refuses writes with `{refusal}`");
}
