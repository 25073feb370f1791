//! Runs of many seeds: all must pass, and a seed that does not says how to replay it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use ringstore::cluster::Rules;

use crate::figures::Figures;
use crate::plan::Plan;
use crate::world::World;

/// Why a run failed.
fn text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_else(|| "a panic".into())
}

/// One run: its figures, or what was violated.
pub fn run(seed: u64, rules: Rules, plan: Plan, trace: bool) -> Result<Figures, String> {
    catch_unwind(AssertUnwindSafe(|| World::run(seed, rules, plan, trace))).map_err(|panic| text(&*panic))
}

#[cfg(test)]
mod tests {
    use std::ops::Range;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU64, Ordering};

    use ringstore::cluster::Timing;
    use ringstore::time::Duration;

    use super::*;
    use crate::dice::{replayed, seeds};
    use crate::world::Fault;

    /// Seeds that `cargo test` runs; `examples/simulate.rs` runs more.
    const SEEDS: u64 = 2000;

    /// Runs all of `seeds`, some at the same time: the figures, and what was violated.
    fn run_all(seeds: Range<u64>) -> (Figures, Vec<String>) {
        let next = AtomicU64::new(seeds.start);
        let sum = Mutex::new((Figures::default(), Vec::new()));
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    loop {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= seeds.end {
                            return;
                        }
                        let plan = Plan::draw(seed);
                        let outcome = run(seed, Rules::ALL, plan.clone(), replayed().is_some());
                        let mut sum = sum.lock().expect("no thread ends in the middle");
                        match outcome {
                            Ok(of) => sum.0 += of,
                            Err(why) => sum.1.push(format!("replay with RINGSTORE_SEED={seed}: {why}\n{plan:?}\n")),
                        }
                    }
                });
            }
        });
        sum.into_inner().expect("all threads have ended")
    }

    #[test]
    fn every_seed_keeps_every_promise() {
        let (figures, violations) = run_all(seeds(0..SEEDS));
        println!("{figures}");
        assert!(violations.is_empty(), "{} violations:\n{}", violations.len(), violations.join("\n"));
        if replayed().is_none() {
            let happened: Vec<Fault> = figures.faults.keys().copied().collect();
            assert!(Fault::ALL.iter().all(|fault| happened.contains(fault)), "some faults did not happen: {figures}");
            assert!(figures.network.damaged > 0 && figures.refused > 0, "nothing was damaged");
        }
    }

    /// Seeds in which logs are short when servers are lost, so that snapshots are needed.
    #[test]
    fn who_cannot_catch_up_by_log_gets_a_snapshot() {
        let mut figures = Figures::default();
        for seed in seeds(0..160) {
            let mut plan = Plan::draw(seed);
            let more = [Fault::Shorten, Fault::Wipe, Fault::Kill, Fault::PowerLoss, Fault::Isolate];
            plan.faults.extend(more);
            (plan.faulty, plan.between) = (Duration::from_millis(6000), Duration::from_millis(300));
            let of = run(seed, Rules::ALL, plan.clone(), replayed().is_some());
            figures += of.unwrap_or_else(|why| panic!("RINGSTORE_SEED={seed}: {why}\n{plan:?}"));
        }
        println!("{figures:?}");
        assert!(replayed().is_some() || figures.snapshots >= 20, "{figures:?}");
    }

    #[test]
    fn who_holds_other_data_than_its_leader_is_given_the_leaders() {
        let mut figures = Figures::default();
        for seed in seeds(0..20) {
            let mut plan = Plan::draw(seed);
            plan.faults = vec![Fault::Rot, Fault::SlowDisk, Fault::Shorten];
            plan.timing = Timing::default();
            // whoever finds that its data is wrong cannot leave while the coordinator is gone, and rightly answers nothing
            plan.standing = None;
            let of = run(seed, Rules::ALL, plan.clone(), replayed().is_some());
            figures += of.unwrap_or_else(|why| panic!("RINGSTORE_SEED={seed}: {why}\n{plan:?}"));
        }
        println!("{figures:?}");
        assert!(replayed().is_some() || figures.rotten >= 10 && figures.snapshots >= 10, "{figures:?}");
    }

    #[test]
    fn a_seed_is_one_course_of_events() {
        for seed in seeds(0..3) {
            let figures = || format!("{:?}", run(seed, Rules::ALL, Plan::draw(seed), false));
            assert_eq!(figures(), figures(), "RINGSTORE_SEED={seed}");
        }
    }
}
