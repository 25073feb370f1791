//! What happens to followers while clients work at every server.

use std::thread;

use crate::history::load::{Load, Plan};
use crate::leader::LONGER_THAN_TIMEOUTS;
use crate::machines::{Cluster, PATIENCE, Shape, hold};

#[test]
fn followers_are_killed() {
    let mut cluster = Cluster::start(&Shape { options: &["-t", "2"], ..Shape::THREE });
    let load = Load::start(Plan::new(&cluster.addresses()));
    for round in 0..6 {
        let leader = cluster.until_whole();
        hold(load.more_writes(20, PATIENCE));
        let follower = cluster.others(leader)[round % 2];
        cluster.kill(follower);
        hold(load.more_writes(40, PATIENCE));
        cluster.start_server(follower);
    }
    cluster.conclude("followers are killed", load);
}

#[test]
fn a_follower_is_stopped_for_longer_than_every_timeout() {
    let cluster = Cluster::start(&Shape::THREE);
    let load = Load::start(Plan::new(&cluster.addresses()));
    for round in 0..2 {
        let leader = cluster.until_whole();
        hold(load.more_writes(20, PATIENCE));
        let follower = cluster.others(leader)[round];
        cluster.pause(follower);
        let begun = std::time::Instant::now();
        cluster.until_whole_of(&cluster.others(follower));
        hold(load.more_writes(40, PATIENCE));
        thread::sleep(LONGER_THAN_TIMEOUTS.saturating_sub(begun.elapsed()));
        cluster.resume(follower);
        hold(load.more_writes(20, PATIENCE));
    }
    cluster.conclude("a follower is stopped for longer than every time-out", load);
}

#[test]
fn a_wiped_follower_comes_back() {
    let mut cluster = Cluster::start(&Shape::THREE);
    let load = Load::start(Plan { value_bytes: 2000, ..Plan::new(&cluster.addresses()) });
    for round in 0..2 {
        let leader = cluster.until_whole();
        hold(load.more_writes(200, PATIENCE));
        let follower = cluster.others(leader)[round];
        cluster.kill(follower);
        cluster.wipe(follower);
        cluster.until_whole_of(&cluster.others(follower));
        hold(load.more_writes(20, PATIENCE));
        cluster.start_server(follower);
    }
    cluster.conclude("a wiped follower comes back", load);
}
