//! Each fault by itself, and that a run of the network follows from its seed.

use super::*;

const START: Time = Time(1_000_000_000);

impl Cargo for u32 {
    fn damaged(&self, dice: &mut Dice) -> Option<Self> {
        Some(self ^ (1 << dice.below(32)))
    }
}

fn network(conditions: Conditions) -> Network<u32> {
    Network::new(Dice::new(7), conditions)
}

fn later(millis: u64) -> Time {
    START.after(Duration::from_millis(millis))
}

/// Everything that arrives by `until`, with its arrival.
fn arrivals(network: &mut Network<u32>, until: Time) -> Vec<(Time, Packet<u32>)> {
    let mut all = Vec::new();
    while let Some(at) = network.next().filter(|&at| at <= until) {
        while let Some(packet) = network.take(at) {
            all.push((at, packet));
        }
    }
    all
}

fn messages(network: &mut Network<u32>, until: Time) -> Vec<u32> {
    arrivals(network, until).into_iter().map(|(_, packet)| packet.message).collect()
}

#[test]
fn a_calm_network_delivers_everything_once_within_its_delays() {
    let mut network = network(Conditions::CALM);
    for message in 0..100 {
        network.send(START, 1, 2, message);
    }
    let arrived = arrivals(&mut network, later(1000));
    assert!(arrived.iter().all(|(at, _)| (20_000..=200_000).contains(&at.since(START).0)));
    assert!(arrived.iter().map(|(_, packet)| packet.message).eq(0..100));
}

#[test]
fn some_datagrams_overtake_others() {
    let mut network = network(Conditions { reorder: 0.2, ..Conditions::CALM });
    (0..100).for_each(|message| network.send(START, 1, 2, message));
    let mut numbers = messages(&mut network, later(1000));
    let falls = numbers.windows(2).filter(|pair| pair[0] > pair[1]).count();
    assert!((5..40).contains(&falls), "{falls}");
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..100));
}

#[test]
fn loss_loses_its_share() {
    let mut network = network(Conditions { loss: 0.3, ..Conditions::CALM });
    (0..1000).for_each(|message| network.send(START, 1, 2, message));
    let arrived = messages(&mut network, later(1000)).len();
    assert!((600..800).contains(&arrived), "{arrived}");
    assert_eq!(network.tally().lost as usize, 1000 - arrived);
}

#[test]
fn conditions_change_while_the_network_runs() {
    let mut network = network(Conditions { loss: 1.0, ..Conditions::CALM });
    network.send(START, 1, 2, 1);
    network.set_conditions(Conditions::CALM);
    network.send(START, 1, 2, 2);
    assert_eq!(messages(&mut network, later(1000)), [2]);
}

#[test]
fn duplication_delivers_twice() {
    let mut network = network(Conditions { duplicate: 1.0, ..Conditions::CALM });
    network.send(START, 1, 2, 9);
    assert_eq!(messages(&mut network, later(1000)), [9, 9]);
}

#[test]
fn damage_changes_its_share_and_says_so() {
    let mut network = network(Conditions { damage: 0.5, ..Conditions::CALM });
    (0..1000).for_each(|_| network.send(START, 1, 2, 9));
    let arrived = arrivals(&mut network, later(1000));
    assert!(arrived.iter().all(|(_, packet)| (packet.message != 9) == packet.damaged));
    let damaged = arrived.iter().filter(|(_, packet)| packet.damaged).count();
    assert!((400..600).contains(&damaged) && network.tally().damaged as usize == damaged, "{damaged}");
}

#[test]
fn replay_brings_back_what_arrived_long_ago() {
    let mut network = network(Conditions { replay: 1.0, ..Conditions::CALM });
    network.send(START, 1, 2, 1);
    assert_eq!(messages(&mut network, later(10)), [1]);
    network.send(later(5000), 3, 2, 2);
    let mut again = messages(&mut network, later(6000));
    again.sort_unstable();
    assert_eq!(again, [1, 2]);
    assert_eq!(network.tally().replayed, 1);
}

#[test]
fn a_replay_store_stays_small() {
    let mut network = network(Conditions { replay: 0.01, ..Conditions::CALM });
    (0..5000).for_each(|message| network.send(START, 1, 2, message));
    assert!(network.old.len() <= OLD_MAX);
}

#[test]
fn late_datagrams_come_after_the_longest_delay() {
    let mut network = network(Conditions { late: 1.0, ..Conditions::CALM });
    (0..50).for_each(|message| network.send(START, 1, 2, message));
    let arrived = arrivals(&mut network, later(1000));
    assert_eq!(arrived.len(), 50);
    assert!(arrived.iter().all(|(at, _)| at.since(START) >= Conditions::CALM.delay_max));
}

#[test]
fn a_cut_is_one_way() {
    let mut network = network(Conditions::CALM);
    network.cut(1, 2);
    network.send(START, 1, 2, 1);
    network.send(START, 2, 1, 2);
    assert_eq!(messages(&mut network, later(100)), [2]);
    network.mend(1, 2);
    network.send(later(200), 1, 2, 3);
    assert_eq!(messages(&mut network, later(300)), [3]);
}

#[test]
fn a_partition_splits_the_coordinator_and_two_servers_from_two_others() {
    let mut network = network(Conditions::CALM);
    let (one, other) = ([0, 1, 2], [3, 4]);
    network.partition(&one, &other);
    for from in 0..5 {
        for to in (0..5).filter(|&to| to != from) {
            network.send(START, from, to, 0);
        }
    }
    let arrived = arrivals(&mut network, later(100));
    assert_eq!(arrived.len(), 6 + 2);
    assert!(arrived.iter().all(|(_, p)| one.contains(&p.from) == one.contains(&p.to)));
    network.heal(later(200));
    network.send(later(200), 0, 4, 1);
    assert_eq!(messages(&mut network, later(300)), [1]);
}

#[test]
fn a_clog_holds_everything_back_and_then_lets_it_all_through() {
    let mut network = network(Conditions::CALM);
    network.clog(1, 2, later(50));
    (0..10).for_each(|message| network.send(START, 1, 2, message));
    network.send_stream(START, 1, 2, 10);
    network.send(START, 2, 1, 11);
    assert_eq!(messages(&mut network, later(49)), [11]);
    let mut freed = messages(&mut network, later(51));
    freed.sort_unstable();
    assert!(freed.into_iter().eq(0..=10));
}

#[test]
fn a_stream_keeps_its_order_and_loses_nothing() {
    let worst = Conditions { loss: 0.9, duplicate: 0.5, replay: 0.5, late: 0.5, ..Conditions::CALM };
    let mut network = network(worst);
    (0..200).for_each(|message| network.send_stream(START.after(Duration(u64::from(message))), 1, 2, message));
    let arrived = arrivals(&mut network, later(1000));
    assert!(arrived.iter().all(|(_, packet)| packet.way == Way::Stream));
    assert!(arrived.into_iter().map(|(_, packet)| packet.message).eq(0..200));
}

#[test]
fn a_stream_across_a_cut_waits_for_its_end() {
    let mut network = network(Conditions::CALM);
    network.send_stream(START, 1, 2, 1);
    network.partition(&[1], &[2]);
    network.send_stream(START, 1, 2, 2);
    assert_eq!(network.next(), None, "nothing arrives while the link is cut");
    assert_eq!(network.take(later(500)), None);
    network.heal(later(500));
    assert_eq!(messages(&mut network, later(1000)), [1, 2]);
}

#[test]
fn a_reset_stream_forgets_both_directions_and_no_other() {
    let mut network = network(Conditions::CALM);
    network.send_stream(START, 1, 2, 1);
    network.send_stream(START, 2, 1, 2);
    network.send_stream(START, 1, 3, 3);
    network.reset_streams(2, 1);
    assert_eq!(messages(&mut network, later(1000)), [3]);
}

#[test]
fn what_is_under_way_at_a_cut_is_on_either_side_of_it() {
    let mut network = network(Conditions::CALM);
    (0..200).for_each(|message| network.send(START, 1, 2, message));
    network.cut(1, 2);
    let arrived = messages(&mut network, later(100)).len();
    assert!((50..150).contains(&arrived), "{arrived}");
}

#[test]
fn one_seed_is_one_course() {
    let course = |seed| {
        let mut dice = Dice::new(seed);
        let conditions = Conditions::draw(&mut dice);
        let mut network = Network::new(dice, conditions);
        for message in 0..300 {
            let from = message as usize % 4;
            network.send(later(u64::from(message)), from, (from + 1) % 4, message);
        }
        arrivals(&mut network, later(10_000))
    };
    assert_eq!(course(3), course(3));
    assert_ne!(course(3), course(4));
}
