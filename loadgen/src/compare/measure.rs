//! One measurement: what a steady load costs the server, and what it gets for it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Pid;

use super::sheet::{Column, Kind};
use crate::engine::BusyMeter;
use crate::failure::Failure;
use crate::load::{Load, Plan};
use crate::request::{Dialect, Mix, Pool};
use crate::server::{Server, cpu_time};

/// Time a load runs before it counts: connections are open and the server's caches hold what they can.
const WARM_UP: Duration = Duration::from_millis(300);
/// A window in which nothing is answered goes on for so long: a disk that is busy may take longer than a short one.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Between two looks at that.
const LOOK: Duration = Duration::from_millis(20);

/// Name of the column of throughput.
pub const RATE: &str = "rate";
/// Name of the column of CPU time per operation.
pub const CPU_US: &str = "cpu_us";

/// What a measurement finds, in the order of [`measure`].
pub const COLUMNS: [Column; 6] = [
    Column { name: RATE, title: "op/s", kind: Kind::Speed },
    Column { name: "p50_us", title: "p50, us", kind: Kind::Speed },
    Column { name: "p99_us", title: "p99, us", kind: Kind::Speed },
    Column { name: CPU_US, title: "server CPU, us/op", kind: Kind::Cost },
    Column { name: "cores_busy", title: "cores busy", kind: Kind::Condition },
    Column { name: "generator_busy", title: "generator busy, %", kind: Kind::Generator },
];

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
    /// A server that stands alone.
    pub fn of(server: &Server) -> Self {
        let (name, processes) = (server.name.clone(), vec![server.process()]);
        Self { name, dialect: server.dialect, address: server.address, processes }
    }

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

/// Runs the load against the target and reads both sides' counters over a window in its middle: the figures of
/// [`COLUMNS`]. A latency is that of a batch, from its sending to its last reply.
///
/// # Errors
/// When the load cannot be run, or a reply is wrong.
pub fn measure(target: &Target, shape: Shape, pool: &Arc<Pool>, bench: &Bench) -> Result<Vec<f64>, Failure> {
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
    load.count_latencies(true);
    let meters = load.meters();
    let (began, cpu_before, operations_before) = (Instant::now(), target.cpu_time()?, load.operations());
    std::thread::sleep(bench.window);
    while load.operations() == operations_before && began.elapsed() < ANSWER_TIMEOUT {
        std::thread::sleep(LOOK);
    }
    let (cpu, operations) = (target.cpu_time()? - cpu_before, load.operations() - operations_before);
    let seconds = began.elapsed().as_secs_f64();
    let generator = meters.iter().map(|meter: &BusyMeter| meter.stop().share()).fold(0.0, f64::max);
    load.count_latencies(false);
    let outcome = load.stop()?;
    if !outcome.tally.is_clean() || outcome.tally.misses > 0 {
        return Err(Failure::wrong_reply(format!("{} answered {shape:?} with {:?}", target.name, outcome.tally)));
    }
    if operations == 0 || outcome.latencies.is_empty() {
        return Err(Failure::new(format!("{} answered nothing in {seconds:.0} s: look at its disk", target.name)));
    }
    let us = |quantile| outcome.latencies.value_at_quantile(quantile) as f64 / 1e3;
    let (cpu, operations) = (cpu.as_secs_f64(), operations as f64);
    Ok(vec![operations / seconds, us(0.5), us(0.99), cpu * 1e6 / operations, cpu / seconds, generator * 100.0])
}
