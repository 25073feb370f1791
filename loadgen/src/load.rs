//! A load: threads with one tokio-uring runtime each, connections spread over them. The measuring side only looks at
//! counters, so that it disturbs nothing.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use hdrhistogram::Histogram;
use rustix::process::Pid;
use rustix::thread::gettid;
use tokio_uring::net::TcpStream;

use crate::connection::{Shared, Work, drive};
use crate::engine::BusyMeter;
use crate::failure::{Failure, While};
use crate::machine;
use crate::reply::Tally;
use crate::request::Pool;

/// Submission queue entries of a runtime; a full queue is submitted and goes on.
const RING_ENTRIES: u32 = 1024;
/// A thread that cannot connect its share in this time gives up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// How a load is driven.
#[derive(Clone, Debug)]
pub struct Plan {
    pub server: SocketAddr,
    pub connections: usize,
    /// Load threads; each takes its share of the connections.
    pub threads: usize,
    /// Cores the threads are pinned to, in turn; none leaves them free.
    pub cpus: Vec<usize>,
    /// Batches to send in all; nothing when the load runs until it is stopped.
    pub budget: Option<u64>,
    /// Whether the content of values is compared.
    pub verify: bool,
}

/// What a finished load saw.
pub struct Outcome {
    pub tally: Tally,
    /// Of the batches that were answered while they counted, from sending to the last reply, in nanoseconds.
    pub latencies: Histogram<u64>,
}

/// A running load. Dropping it stops its threads.
pub struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Result<Outcome, Failure>>>,
    /// The kernel's ids of the threads.
    ids: Vec<Pid>,
}

impl Load {
    /// Returns when every connection stands and the first requests are on their way.
    pub fn start(plan: &Plan, pool: Arc<Pool>) -> Result<Self, Failure> {
        assert!(plan.threads > 0 && plan.connections >= plan.threads);
        let (stop, counts_latencies, operations) = (AtomicBool::new(false), AtomicBool::new(false), AtomicU64::new(0));
        let shared = Arc::new(Shared { pool, verify: plan.verify, counts_latencies, stop, operations });
        let mut load = Self { shared, threads: Vec::new(), ids: Vec::new() };
        let (ready, connected) = mpsc::channel();
        for thread in 0..plan.threads {
            let share = Share::new(plan, &load.shared, thread);
            let ready = ready.clone();
            load.threads.push(std::thread::spawn(move || share.run(&ready)));
        }
        drop(ready);
        for _ in 0..plan.threads {
            let Ok(id) = connected.recv_timeout(CONNECT_TIMEOUT) else {
                load.shared.stop.store(true, Ordering::Relaxed);
                return Err(load.join().err().unwrap_or_else(|| Failure::new("could not connect in time")));
            };
            load.ids.push(id);
        }
        Ok(load)
    }

    /// Requests answered since the start.
    pub fn operations(&self) -> u64 {
        self.shared.operations.load(Ordering::Relaxed)
    }

    /// Whether the latencies of the batches that are answered from now on are kept; in the beginning they are not.
    pub fn count_latencies(&self, count: bool) {
        self.shared.counts_latencies.store(count, Ordering::Relaxed);
    }

    /// Measures each of its threads from now on.
    pub fn meters(&self) -> Vec<BusyMeter> {
        self.ids.iter().map(|id| BusyMeter::of(*id)).collect()
    }

    /// Stops after the batches that are under way.
    pub fn stop(self) -> Result<Outcome, Failure> {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.join()
    }

    /// Waits until the budget is spent.
    pub fn join(mut self) -> Result<Outcome, Failure> {
        let mut outcomes = Vec::new();
        for thread in std::mem::take(&mut self.threads) {
            outcomes.push(thread.join().map_err(|_| Failure::new("a load thread panicked"))??);
        }
        let mut outcomes = outcomes.into_iter();
        let mut all = outcomes.next().expect("a load has a thread");
        for outcome in outcomes {
            all.tally.add(&outcome.tally);
            all.latencies.add(&outcome.latencies).expect("all have the same bounds");
        }
        Ok(all)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

/// What one thread does.
struct Share {
    shared: Arc<Shared>,
    server: SocketAddr,
    connections: usize,
    cpu: Option<usize>,
    first: usize,
    budget: Option<u64>,
}

impl Share {
    fn new(plan: &Plan, shared: &Arc<Shared>, thread: usize) -> Self {
        let share = |total: u64| {
            let (threads, thread) = (plan.threads as u64, thread as u64);
            total / threads + u64::from(thread < total % threads)
        };
        let before = |total: u64| {
            (0..thread as u64)
                .map(|t| total / plan.threads as u64 + u64::from(t < total % plan.threads as u64))
                .sum::<u64>()
        };
        // A budget is walked through once by all threads together; without one each begins at its own place.
        let first =
            plan.budget.map_or(thread * shared.pool.batches.len() / plan.threads, |total| before(total) as usize);
        Self {
            shared: Arc::clone(shared),
            server: plan.server,
            connections: share(plan.connections as u64) as usize,
            cpu: (!plan.cpus.is_empty()).then(|| plan.cpus[thread % plan.cpus.len()]),
            first,
            budget: plan.budget.map(share),
        }
    }

    fn run(self, ready: &mpsc::Sender<Pid>) -> Result<Outcome, Failure> {
        if let Some(cpu) = self.cpu {
            machine::pin_thread(cpu)?;
        }
        let mut ring = tokio_uring::uring_builder();
        ring.setup_coop_taskrun();
        tokio_uring::builder().entries(RING_ENTRIES).uring_builder(&ring).start(self.drive_all(ready))
    }

    async fn drive_all(&self, ready: &mpsc::Sender<Pid>) -> Result<Outcome, Failure> {
        let work = Rc::new(Work::new(Arc::clone(&self.shared), self.first, self.budget));
        let mut streams = Vec::new();
        for _ in 0..self.connections {
            let stream = TcpStream::connect(self.server).await.during(format_args!("connecting to {}", self.server))?;
            stream.set_nodelay(true).during("setting TCP_NODELAY")?;
            streams.push(stream);
        }
        let _ = ready.send(gettid()); // nobody waits any more when another thread failed
        let tasks = streams.into_iter().map(|stream| {
            let work = Rc::clone(&work);
            tokio_uring::spawn(async move { drive(stream, &work).await })
        });
        for task in tasks.collect::<Vec<_>>() {
            if let Err(failure) = task.await.map_err(|_| Failure::new("a connection panicked"))? {
                self.shared.stop.store(true, Ordering::Relaxed);
                return Err(failure);
            }
        }
        let work = Rc::into_inner(work).expect("every connection has ended");
        Ok(Outcome { tally: work.tally.into_inner(), latencies: work.latencies.into_inner() })
    }
}
