//! Without the load balancer gets and sets go on; with it back everything else does too.

use std::time::Duration;

use crate::history::load::{Load, Plan};
use crate::machines::{Cluster, PATIENCE, Shape, hold};

#[test]
fn gets_and_sets_go_on_without_the_balancer() {
    let mut cluster = Cluster::start(&Shape::THREE);
    for round in 1..=2 {
        let load = Load::start(Plan { seed: round, ..Plan::new(&cluster.addresses()) });
        hold(load.more_writes(100, PATIENCE));
        cluster.kill_balancer();
        // longer than leases, silences and promises
        std::thread::sleep(Duration::from_millis(2500));
        hold(load.more_writes(200, PATIENCE));
        let history = load.finish();
        let failed = history.failed();
        assert!(failed.is_empty(), "an operation failed: {failed:?}");
        cluster.start_balancer();
        cluster.until_whole();
        cluster.check("gets and sets go on without the balancer", history);
    }
}

#[test]
fn the_balancer_dies_with_the_leader() {
    let mut cluster = Cluster::start(&Shape::THREE);
    let load = Load::start(Plan::new(&cluster.addresses()));
    for round in 0..3 {
        let leader = cluster.until_whole();
        hold(load.more_writes(20, PATIENCE));
        if round % 2 == 0 {
            cluster.kill_balancer();
            cluster.kill(leader);
        } else {
            cluster.kill(leader);
            cluster.kill_balancer();
        }
        cluster.start_balancer();
        // nobody else can lead before it is there
        hold(load.more_writes(20, PATIENCE));
        cluster.start_server(leader);
    }
    cluster.conclude("the balancer dies with the leader", load);
}

#[test]
fn the_leader_comes_back_before_the_balancer_does() {
    let mut cluster = Cluster::start(&Shape::THREE);
    let load = Load::start(Plan::new(&cluster.addresses()));
    for _ in 0..2 {
        let leader = cluster.until_whole();
        hold(load.more_writes(20, PATIENCE));
        cluster.kill_balancer();
        cluster.kill(leader);
        cluster.start_server(leader);
        cluster.start_balancer();
        hold(load.more_writes(20, PATIENCE));
    }
    cluster.conclude("the leader comes back before the balancer does", load);
}
