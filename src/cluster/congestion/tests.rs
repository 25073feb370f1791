//! The rules of the two RFCs one by one, and whole windows over a simulated bottleneck.

use std::collections::VecDeque;

use super::*;

const DATAGRAM: u64 = 1000;
const ROUND_TRIP: Duration = Duration::from_millis(20);

fn at(millis: u64) -> Time {
    Time(1_000_000_000_000).after(Duration::from_millis(millis))
}

/// A round trip earlier.
const fn before(now: Time) -> Time {
    Time(now.0 - ROUND_TRIP.0)
}

/// A window that is used to the full, acked once.
fn round(congestion: &mut Congestion, now: Time, sent: Time) {
    let bytes = congestion.window() - congestion.in_flight();
    congestion.on_sent(bytes);
    congestion.on_acked(now, congestion.in_flight(), sent, ROUND_TRIP);
}

#[test]
fn slow_start_doubles_each_round_trip_from_ten_datagrams() {
    let mut congestion = Congestion::new(DATAGRAM);
    for (turn, datagrams) in [10, 20, 40, 80].into_iter().enumerate() {
        assert_eq!(congestion.window(), datagrams * DATAGRAM);
        assert!(congestion.in_slow_start());
        let now = at(20 * turn as u64);
        round(&mut congestion, now, before(now));
    }
}

#[test]
fn a_window_that_is_not_used_does_not_grow() {
    let mut congestion = Congestion::new(DATAGRAM);
    for turn in 0..50 {
        congestion.on_sent(4 * DATAGRAM);
        congestion.on_acked(at(turn), 4 * DATAGRAM, before(at(turn)), ROUND_TRIP);
    }
    assert_eq!(congestion.window(), 10 * DATAGRAM);
    assert!(congestion.has_room() && congestion.in_flight() == 0);
}

#[test]
fn a_window_is_cut_once_for_all_that_was_sent_into_it() {
    let mut congestion = Congestion::new(DATAGRAM);
    congestion.on_sent(10 * DATAGRAM);
    congestion.on_lost(at(20), DATAGRAM, at(0));
    assert_eq!((congestion.window(), congestion.in_flight()), (7 * DATAGRAM, 9 * DATAGRAM));
    congestion.on_lost(at(25), 3 * DATAGRAM, at(20));
    assert_eq!(congestion.window(), 7 * DATAGRAM, "sent before the cut");
    // acks of what was sent before end nothing and grow nothing
    congestion.on_acked(at(26), 4 * DATAGRAM, at(20), ROUND_TRIP);
    assert_eq!(congestion.window(), 7 * DATAGRAM);
    congestion.on_lost(at(40), DATAGRAM, at(21));
    assert_eq!(congestion.window(), 4900, "sent after the cut, and lost: another");
    congestion.check_invariants();
}

#[test]
fn a_window_never_falls_below_two_datagrams() {
    let mut congestion = Congestion::new(DATAGRAM);
    congestion.on_sent(100 * DATAGRAM);
    for turn in 0..20 {
        congestion.on_lost(at(10 * turn), DATAGRAM, at(10 * turn));
        congestion.check_invariants();
    }
    assert_eq!(congestion.window(), 2 * DATAGRAM);
    congestion.on_persistent();
    assert_eq!(congestion.window(), 2 * DATAGRAM);
}

#[test]
fn persistent_congestion_begins_anew_with_slow_start() {
    let mut congestion = Congestion::new(DATAGRAM);
    (0..4).for_each(|turn| round(&mut congestion, at(20 * turn), at(20 * turn)));
    congestion.on_sent(10 * DATAGRAM);
    congestion.on_lost(at(100), 10 * DATAGRAM, at(90));
    let threshold = congestion.window();
    congestion.on_persistent();
    assert_eq!(congestion.window(), 2 * DATAGRAM);
    assert!(congestion.in_slow_start(), "up to the window after the cut");
    let mut turn = 200;
    while congestion.in_slow_start() {
        round(&mut congestion, at(turn), at(turn - 20));
        turn += 20;
    }
    assert!(congestion.window() >= threshold && congestion.window() <= 2 * threshold);
}

/// The curve in floating point, as the RFC writes it.
fn naive_curve(seconds: f64, k: f64, most: f64) -> f64 {
    0.4 * DATAGRAM as f64 * (seconds - k).powi(3) + most
}

#[test]
fn the_curve_in_integers_is_the_curve() {
    for most in [10_000_u64, 1_000_000, 300_000_000] {
        let window = most * 7 / 10;
        let k = time_over(most - window, DATAGRAM);
        let exact = (((most - window) as f64) / (0.4 * DATAGRAM as f64)).cbrt();
        assert!((k as f64 / 1e9 - exact).abs() < 1e-5, "{k} {exact}");
        for step in 0..40 {
            let since = k / 10 * step;
            let naive = naive_curve(since as f64 / 1e9, exact, most as f64);
            let own = curve(since, k, most, DATAGRAM) as f64;
            assert!((own - naive).abs() <= 2.0 + naive * 1e-4, "{most} {since}: {own} {naive}");
        }
    }
    assert_eq!(curve(u64::MAX, 0, u64::MAX, DATAGRAM), u64::MAX, "a long silence overflows nothing");
}

#[test]
fn after_a_loss_the_window_is_at_its_peak_again_when_the_curve_says_so() {
    // a long fat path, where the curve is ahead of Reno
    let (round_trip, millis) = (Duration::from_millis(100), 100);
    let mut congestion = Congestion::new(DATAGRAM);
    let mut now = 0;
    while congestion.window() < 2000 * DATAGRAM {
        round(&mut congestion, at(now + millis), at(now));
        now += millis;
    }
    congestion.on_sent(DATAGRAM);
    let most = congestion.window();
    congestion.on_lost(at(now), DATAGRAM, at(now));
    let k = time_over(most - congestion.window(), DATAGRAM);
    let began = now;
    let mut half = 0;
    while congestion.window() < most {
        now += millis;
        let sent = at(now - millis + 1);
        congestion.on_sent(congestion.window() - congestion.in_flight());
        congestion.on_acked(at(now), congestion.in_flight(), sent, round_trip);
        if now - began <= k / 2_000_000 {
            half = congestion.window();
        }
    }
    let took = (now - began) * 1_000_000;
    assert!(took > k * 8 / 10 && took < k * 12 / 10, "{took} {k}");
    // concave: most of the way is made in the first half
    assert!(half > most * 93 / 100, "{half} {most}");
}

#[test]
fn time_without_anything_to_send_is_no_growth() {
    let mut congestion = Congestion::new(DATAGRAM);
    congestion.on_sent(10 * DATAGRAM);
    congestion.on_lost(at(0), 10 * DATAGRAM, at(0));
    round(&mut congestion, at(20), at(1));
    let before = congestion.window();
    for turn in 2..3000 {
        congestion.on_sent(100);
        congestion.on_acked(at(20 * turn), 100, at(20 * turn - 20), ROUND_TRIP);
    }
    assert_eq!(congestion.window(), before);
    round(&mut congestion, at(60_020), at(60_000));
    assert!(congestion.window() <= before + DATAGRAM, "a minute later it goes on where it was");
}

/// One sender over a bottleneck.
struct Flow {
    congestion: Congestion,
    delivered: u64,
    lost: u64,
    /// The newest that was sent and dropped, and when it is noticed.
    notices: VecDeque<(u64, u64)>,
}

/// A link of so many datagrams a millisecond with a queue of so many, in steps of a tenth of a millisecond.
fn bottleneck(starts: &[u64], rate_tenths: u64, queue_max: usize, millis: u64) -> Vec<Flow> {
    let flow =
        |_: &u64| Flow { congestion: Congestion::new(DATAGRAM), delivered: 0, lost: 0, notices: VecDeque::new() };
    let mut flows: Vec<Flow> = starts.iter().map(flow).collect();
    let mut queue: VecDeque<(usize, u64)> = VecDeque::new();
    // acks on their way back: when, of whom, when it was sent
    let mut acks: VecDeque<(u64, usize, u64)> = VecDeque::new();
    let (mut credit, time) = (0, |step: u64| at(0).after(Duration(step * 100_000)));
    for step in 1..millis * 10 {
        while let Some((_, of, sent)) = acks.pop_front_if(|(due, ..)| *due <= step) {
            let flow = &mut flows[of];
            flow.delivered += DATAGRAM;
            flow.congestion.on_acked(time(step), DATAGRAM, time(sent), Duration((step - sent) * 100_000));
        }
        for (of, flow) in flows.iter_mut().enumerate().filter(|(of, _)| starts[*of] * 10 <= step) {
            while let Some((_, sent)) = flow.notices.pop_front_if(|(due, _)| *due <= step) {
                flow.congestion.on_lost(time(step), DATAGRAM, time(sent));
            }
            while flow.congestion.has_room() {
                flow.congestion.on_sent(DATAGRAM);
                if queue.len() < queue_max {
                    queue.push_back((of, step));
                } else {
                    flow.lost += DATAGRAM;
                    flow.notices.push_back((step + 200 + queue_max as u64 * 10 / rate_tenths, step));
                }
            }
        }
        credit = (credit + rate_tenths).min(100);
        while credit >= 10
            && let Some((of, sent)) = queue.pop_front()
        {
            credit -= 10;
            acks.push_back((step + 200, of, sent));
        }
    }
    flows
}

#[test]
fn one_sender_fills_a_bottleneck_and_loses_little() {
    // 1 datagram in a tenth of a millisecond, 20 ms without queue: 200 datagrams are the pipe
    let flows = bottleneck(&[0], 10, 200, 20_000);
    let (delivered, lost) = (flows[0].delivered / DATAGRAM, flows[0].lost / DATAGRAM);
    println!("{delivered} of 200000 delivered, {lost} lost");
    assert!(delivered > 180_000, "the link is used: {delivered}");
    assert!(lost < delivered / 100, "{lost} lost");
}

#[test]
fn two_senders_come_to_share_a_bottleneck() {
    let flows = bottleneck(&[0, 3000], 10, 100, 60_000);
    let shares = flows.iter().map(|flow| flow.delivered / DATAGRAM).collect::<Vec<_>>();
    println!("{shares:?}");
    assert!(shares.iter().sum::<u64>() > 500_000);
    let (least, most) = (shares.iter().min().expect("two"), shares.iter().max().expect("two"));
    assert!(*least * 2 > *most, "the later one gets its share: {shares:?}");
}
