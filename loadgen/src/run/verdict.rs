//! Whether a run's figures are the server's: they are not when the load generator itself was the limit.

use hdrhistogram::Histogram;

use crate::engine::{Busy, LIMIT_SHARE, Outcome, Pace};
use crate::recording::Verdict;

/// Of shorter times a share says nothing.
const BUSY_SECONDS_MIN: f64 = 0.25;
/// Lateness below this does not matter: what a system call or two take.
const LAG_NS_MATTERS: u64 = 50_000;
/// A larger part than this of the latency at the 99th percentile may not be the load generator's own lateness.
const LAG_SHARE: f64 = 0.5;

/// Judges a run.
pub fn judge(outcome: &Outcome, pace: Pace) -> Verdict {
    let latencies = outcome.latencies();
    let mut reasons: Vec<String> =
        outcome.busy.iter().enumerate().filter_map(|(thread, busy)| busy_reason(thread, *busy)).collect();
    if let Pace::Open { .. } = pace {
        reasons.extend(lag_reason(&outcome.lag, &latencies));
    }
    if reasons.is_empty() { Verdict::Valid } else { Verdict::Invalid { reasons } }
}

fn busy_reason(thread: usize, busy: Busy) -> Option<String> {
    let (running, waiting) = (busy.running * 100.0, busy.waiting * 100.0);
    if busy.over.as_secs_f64() < BUSY_SECONDS_MIN || busy.share() < LIMIT_SHARE {
        return None;
    }
    Some(if busy.running > busy.waiting {
        format!(
            "load thread {thread} was busy {running:.0} % of the time: give it company (--threads) on cores of their own (--cpu), or \
             ask for less."
        )
    } else {
        format!(
            "load thread {thread} ran {running:.0} % of the time and waited for a core {waiting:.0} %: pin it to a core (--cpu) \
             that nothing else uses."
        )
    })
}

fn lag_reason(lag: &Histogram<u64>, latencies: &Histogram<u64>) -> Option<String> {
    let (late, latency) = (lag.value_at_quantile(0.99), latencies.value_at_quantile(0.99));
    if late < LAG_NS_MATTERS || (late as f64) < latency as f64 * LAG_SHARE {
        return None;
    }
    Some(format!(
        "1 % of the requests were sent {:.3} ms or more after they were due, of a 99th percentile of {:.3} ms: keep the load's \
         core free (--cpu), give it more threads (--threads), or lower the --rate.",
        late as f64 / 1e6,
        latency as f64 / 1e6
    ))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::recording::{DIGITS_OF_RUN, histogram};

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_thread_without_time_to_spare_was_the_limit() {
        let reason = |running, waiting, over| busy_reason(3, Busy { running, waiting, over });
        assert!(reason(0.97, 0.0, SECOND).expect("a reason").contains("load thread 3 was busy 97 %"));
        assert!(reason(0.3, 0.68, SECOND).expect("a reason").contains("waited for a core 68 %"));
        assert_eq!(reason(0.6, 0.3, SECOND), None);
        assert_eq!(reason(1.0, 0.0, Duration::from_millis(200)), None, "too short to tell");
    }

    #[test]
    fn lateness_that_is_most_of_the_latency_makes_it_the_generators() {
        let of = |value: u64| {
            let mut histogram = histogram(DIGITS_OF_RUN);
            histogram.record_n(value, 1000).expect("in bounds");
            histogram
        };
        assert!(lag_reason(&of(600_000), &of(1_000_000)).expect("a reason").contains("0.600 ms"));
        assert_eq!(lag_reason(&of(400_000), &of(1_000_000)), None, "most is the server's");
        assert_eq!(lag_reason(&of(40_000), &of(60_000)), None, "too little to matter");
    }
}
