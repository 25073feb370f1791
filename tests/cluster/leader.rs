//! What happens to the leader while clients work at every server.

use std::thread;
use std::time::Duration;

use crate::history::load::{Load, Plan};
use crate::machines::{Cluster, PATIENCE, Shape, hold};

/// Longer than every time-out between servers.
pub const LONGER_THAN_TIMEOUTS: Duration = Duration::from_millis(3000);

/// Kills in a row: `RINGSTORE_CLUSTER_ROUNDS`.
fn rounds() -> usize {
    std::env::var("RINGSTORE_CLUSTER_ROUNDS")
        .map_or(30, |text| text.parse().expect("RINGSTORE_CLUSTER_ROUNDS is a number"))
}

#[test]
fn the_leader_is_killed_again_and_again() {
    let mut cluster = Cluster::start(&Shape::THREE);
    let load = Load::start(Plan::new(&cluster.addresses()));
    for _ in 0..rounds() {
        let leader = cluster.until_whole();
        hold(load.more_writes(20, PATIENCE));
        cluster.kill(leader);
        hold(load.more_writes(40, PATIENCE));
        cluster.start_server(leader);
    }
    cluster.conclude("the leader is killed again and again", load);
}

#[test]
fn the_leader_is_stopped_for_longer_than_every_timeout() {
    let cluster = Cluster::start(&Shape::THREE);
    let load = Load::start(Plan::new(&cluster.addresses()));
    for _ in 0..2 {
        let leader = cluster.until_whole();
        hold(load.more_writes(20, PATIENCE));
        cluster.pause(leader);
        let begun = std::time::Instant::now();
        let others = cluster.others(leader);
        cluster.until_whole_of(&others);
        hold(load.more_writes(40, PATIENCE));
        thread::sleep(LONGER_THAN_TIMEOUTS.saturating_sub(begun.elapsed()));
        // clients wait at its sockets, and what they asked is answered by one that does not know yet
        cluster.resume(leader);
        hold(load.more_writes(20, PATIENCE));
    }
    cluster.conclude("the leader is stopped for longer than every time-out", load);
}

#[test]
fn the_leader_is_stopped_for_moments() {
    let cluster = Cluster::start(&Shape::THREE);
    let load = Load::start(Plan { think: Duration::from_millis(2), ..Plan::new(&cluster.addresses()) });
    for round in 0..12 {
        let leader = hold(crate::history::standing::until_led(&cluster.addresses(), PATIENCE));
        cluster.pause(leader);
        // around the length of a lease and of the silence after which another is chosen
        thread::sleep(Duration::from_millis(100 + 50 * round));
        cluster.resume(leader);
        hold(load.more_writes(10, PATIENCE));
    }
    cluster.conclude("the leader is stopped for moments", load);
}

#[test]
fn the_leader_hands_over_when_it_is_terminated() {
    let mut cluster = Cluster::start(&Shape::THREE);
    let load = Load::start(Plan::new(&cluster.addresses()));
    for _ in 0..3 {
        let leader = cluster.until_whole();
        hold(load.more_writes(20, PATIENCE));
        let status = cluster.terminate(leader);
        assert_eq!(status.code(), Some(0), "{status}");
        hold(load.more_writes(40, PATIENCE));
        cluster.start_server(leader);
    }
    cluster.conclude("the leader hands over when it is terminated", load);
}
