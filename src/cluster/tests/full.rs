//! Full disks (D4).

use super::*;

#[test]
fn a_leader_with_a_full_disk_refuses_writes_and_loses_none() {
    let mut world = World::of(3, Rules::ALL);
    world.write(1, "a=1").expect("it leads");
    world.run(20);
    world.hosts.get_mut(&1).expect("it runs").full = true;
    for value in 2..5 {
        // the first is prepared before anybody knows, and stays
        let _ = world.write(1, &format!("a={value}"));
    }
    world.run(500);
    assert_eq!(world.write(1, "a=9"), Err(WriteRefusal::DiskFull));
    assert_eq!(world.write(2, "b=1"), Ok(WritePlace::Leader), "one through a follower waits");
    world.run(500);
    assert_eq!(world.stored("a"), ["1", "1", "1"]);
    assert_eq!(world.read(1, "a"), Some("1"), "it still reads");
    assert_eq!(world.members(), [1, 2, 3]);
    world.hosts.get_mut(&1).expect("it runs").full = false;
    world.run(200);
    assert_eq!(world.stored("a"), ["2", "2", "2"], "what was prepared is done");
    assert_eq!(world.stored("b"), ["1", "1", "1"]);
    world.write(1, "a=5").expect("there is space");
    world.run(20);
    assert_eq!(world.stored("a"), ["5", "5", "5"]);
}

#[test]
fn a_leader_whose_disk_stays_full_makes_way_and_comes_back() {
    let mut world = World::of(3, Rules::ALL);
    world.hosts.get_mut(&1).expect("it runs").full = true;
    world.write(1, "a=1").expect("it leads");
    world.run(300);
    assert_eq!(world.write(1, "a=2"), Err(WriteRefusal::DiskFull));
    world.run(3000);
    assert_eq!(world.members(), [2, 3]);
    let leader = world.leader();
    world.write(leader, "a=3").expect("two are enough");
    world.run(3000);
    assert_eq!(
        (world.members(), world.leader()),
        (vec![2, 3], leader),
        "it is not let in again while it cannot follow"
    );
    assert_eq!(world.stored("a")[1..], ["3", "3"]);
    world.hosts.get_mut(&1).expect("it runs").full = false;
    world.run(1500);
    assert_eq!(world.members(), [1, 2, 3]);
    assert_eq!(world.stored("a"), ["3", "3", "3"]);
}

#[test]
fn a_leader_with_a_full_disk_stays_where_it_is_needed() {
    let mut world = World::of(3, Rules::ALL);
    world.hosts.get_mut(&1).expect("it runs").full = true;
    world.hosts.get_mut(&2).expect("it runs").full = true;
    world.write(1, "a=1").expect("it leads");
    world.run(5000);
    assert_eq!(world.read(1, "a"), Some(""), "it reads what is committed");
    assert!(world.members().contains(&1), "one alone takes no writes either");
}

#[test]
fn a_follower_whose_disk_stays_full_is_left_out_and_comes_back() {
    let mut world = World::of(3, Rules::ALL);
    world.hosts.get_mut(&3).expect("it runs").full = true;
    world.write(1, "a=1").expect("it leads");
    world.run(300);
    assert_eq!(world.write(1, "a=2"), Err(WriteRefusal::DiskFull), "its ack is needed");
    assert_eq!(world.stored("a"), ["", "", ""]);
    world.run(2500);
    assert_eq!(world.members(), [1, 2]);
    assert_eq!(world.stored("a"), ["1", "1", ""]);
    world.write(1, "a=2").expect("two are enough");
    world.run(3000);
    assert_eq!(world.members(), [1, 2], "it is not let in again while it cannot follow");
    world.hosts.get_mut(&3).expect("it runs").full = false;
    world.run(1500);
    assert_eq!(world.members(), [1, 2, 3]);
    assert_eq!(world.stored("a"), ["2", "2", "2"]);
}

#[test]
fn a_follower_with_a_full_disk_stays_where_it_is_needed() {
    let mut world = World::of(2, Rules::ALL);
    world.hosts.get_mut(&2).expect("it runs").full = true;
    world.write(1, "a=1").expect("it leads");
    world.run(4000);
    assert_eq!(world.members(), [1, 2], "one alone takes no writes either");
    assert_eq!(world.write(1, "a=2"), Err(WriteRefusal::DiskFull));
    world.hosts.get_mut(&2).expect("it runs").full = false;
    world.run(200);
    assert_eq!(world.stored("a"), ["1", "1"]);
    world.write(1, "a=2").expect("there is space");
}
