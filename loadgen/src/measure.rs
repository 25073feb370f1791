//! One measurement: what a steady load costs the server, and the statistics over several of them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Pid;
use serde::Serialize;

use crate::failure::Failure;
use crate::load::{Load, Plan};
use crate::request::{Dialect, Mix, Pool};
use crate::server::cpu_time;

/// Time a load runs before it counts: connections are open and the server's caches hold what they can.
const WARM_UP: Duration = Duration::from_millis(300);

/// A load of a comparison.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub mix: Mix,
    pub connections: usize,
    /// Requests in flight on each connection.
    pub pipeline: usize,
}

impl Shape {
    /// The same load for a server of this language. etcd answers one request at a time on a connection: what others get in
    /// flight on one it gets on as many connections.
    pub fn for_dialect(self, dialect: Dialect) -> Self {
        match dialect {
            Dialect::Etcd => Self { connections: self.connections * self.pipeline, pipeline: 1, ..self },
            _ => self,
        }
    }
}

/// What is put under load: a server, or several that hold the same.
pub struct Target {
    pub name: String,
    pub dialect: Dialect,
    /// Where the load goes.
    pub address: SocketAddr,
    /// All processes that work for it.
    pub processes: Vec<Pid>,
}

impl Target {
    /// CPU time of all its processes so far.
    fn cpu_time(&self) -> Result<Duration, Failure> {
        self.processes.iter().map(|process| cpu_time(*process)).sum()
    }
}

/// Where and how long to measure.
#[derive(Clone, Debug)]
pub struct Bench {
    /// Core of the load; any, when there is none.
    pub load_cpu: Option<usize>,
    pub window: Duration,
}

/// What one measurement found.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// CPU time of the server's processes per request, in microseconds.
    pub cpu_us: f64,
    /// Requests answered per second.
    pub rate: f64,
    /// Share of the time that they were running, in cores; far below 1 a server of one thread was not saturated.
    pub busy: f64,
}

/// Runs the load against the target and reads both sides' counters over a window in its middle.
pub fn measure(target: &Target, shape: Shape, pool: &Arc<Pool>, bench: &Bench) -> Result<Sample, Failure> {
    let plan = Plan {
        server: target.address,
        connections: shape.connections,
        threads: 1,
        cpus: bench.load_cpu.into_iter().collect(),
        budget: None,
        verify: false,
    };
    let load = Load::start(&plan, Arc::clone(pool))?;
    std::thread::sleep(WARM_UP);
    let (began, cpu_before, operations_before) = (Instant::now(), target.cpu_time()?, load.operations());
    std::thread::sleep(bench.window);
    let (cpu, operations) = (target.cpu_time()? - cpu_before, load.operations() - operations_before);
    let seconds = began.elapsed().as_secs_f64();
    let tally = load.stop()?.tally;
    if !tally.is_clean() || tally.misses > 0 || operations == 0 {
        return Err(Failure::wrong_reply(format!("{} answered {shape:?} with {tally:?}", target.name)));
    }
    let (rate, busy) = (operations as f64 / seconds, cpu.as_secs_f64() / seconds);
    Ok(Sample { cpu_us: cpu.as_secs_f64() * 1e6 / operations as f64, rate, busy })
}

/// Median, smallest and largest of a figure over the rounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Spread {
    /// Of at least one figure.
    pub fn of(figures: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted = figures.into_iter().collect::<Vec<_>>();
        sorted.sort_by(f64::total_cmp);
        let (low, high) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
        Self { median: f64::midpoint(low, high), min: sorted[0], max: sorted[sorted.len() - 1] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_stands_in_the_middle() {
        assert_eq!(Spread::of([3.0, 1.0, 2.0]), Spread { median: 2.0, min: 1.0, max: 3.0 });
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 3.0]), Spread { median: 2.5, min: 1.0, max: 4.0 });
        assert_eq!(Spread::of([7.0]), Spread { median: 7.0, min: 7.0, max: 7.0 });
    }
}
