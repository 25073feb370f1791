//! Everything stops at once, and a server that was alone becomes the first of a cluster.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::history::connection::{Answer, Connection};
use crate::history::load::{Load, Plan};
use crate::linear::{Op, Outcome};
use crate::machines::{Cluster, PATIENCE, Shape, hold};

#[test]
fn everything_is_killed_and_started() {
    let mut cluster = Cluster::start(&Shape::THREE);
    let load = Load::start(Plan::new(&cluster.addresses()));
    for round in 0..3 {
        cluster.until_whole();
        hold(load.more_writes(60, PATIENCE));
        for place in 0..3 {
            cluster.kill((place + round) % 3);
        }
        cluster.kill_balancer();
        // in another order each time, the load balancer first, in the middle and last
        for step in 0..4 {
            if step == round {
                cluster.start_balancer();
            }
            if step < 3 {
                cluster.start_server((step + round) % 3);
            }
        }
    }
    cluster.conclude("everything is killed and started", load);
}

const KEYS: u32 = 500;

fn value(key: u32) -> Vec<u8> {
    format!("value {key} {}", "x".repeat((key * 7 % 900) as usize)).into_bytes()
}

/// A server that is alone, in the directory in which a cluster's first server will be.
fn fill_alone(cluster: &Cluster) {
    let directory = cluster.directory(0);
    let address = cluster.address(0);
    let mut alone = Command::new(env!("CARGO_BIN_EXE_store"))
        .args(["addsrv", "-l", &address.ip().to_string(), "-p", &address.port().to_string(), "--data-dir"])
        .arg(directory)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program can be started");
    let filled = std::panic::catch_unwind(|| {
        let deadline = Instant::now() + PATIENCE;
        let mut connection = loop {
            match Connection::open(address, PATIENCE) {
                Ok(connection) => break connection,
                Err(error) => assert!(Instant::now() < deadline, "it does not listen: {error}"),
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        for key in 0..KEYS {
            let answer = connection.ask(&format!("old{key}"), &Op::Set(value(key))).expect("an answer");
            assert_eq!(answer, Answer::Told(Outcome::Stored));
        }
    });
    alone.kill().expect("it is our child");
    alone.wait().expect("it is our child");
    if let Err(panic) = filled {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn a_server_that_was_alone_becomes_the_first_of_a_cluster() {
    let mut cluster = Cluster::prepare(&Shape::THREE);
    fill_alone(&cluster);
    cluster.start_balancer();
    cluster.start_server(0);
    let first = hold(crate::history::standing::until_led(&[cluster.address(0)], PATIENCE));
    assert_eq!(first, 0, "it leads");
    cluster.start_server(1);
    cluster.start_server(2);
    cluster.until_whole();
    let load = Load::start(Plan::new(&cluster.addresses()));
    hold(load.more_writes(50, PATIENCE));
    for place in 0..3 {
        let mut connection = cluster.connect(place);
        for key in 0..KEYS {
            match connection.ask(&format!("old{key}"), &Op::Get).expect("an answer") {
                Answer::Told(Outcome::Value { value: held, .. }) => assert_eq!(held, value(key), "server {place}"),
                other => panic!("server {place} answers the read of old{key} with {other:?}"),
            }
        }
    }
    cluster.conclude("a server that was alone becomes the first of a cluster", load);
}
