//! The load itself: threads that send requests when they are due, and what came of them, put together. What is asked for
//! is [`workload`](crate::workload)'s, how it is shown is others'.
//!
//! ```text
//! run, search --Plan--> drive --Orders--> LoadThread: Connections (sockets, clock) around a Generator (pure)
//!                         ^------pieces, one for each interval------'
//! ```

mod alarm;
mod author;
mod busy;
mod connections;
mod freshness;
mod generator;
mod session;
mod tally;
mod target;
mod thread;

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use hdrhistogram::Histogram;

pub use self::author::Shape;
pub use self::busy::{Busy, BusyMeter, LIMIT_SHARE};
pub use self::generator::{End, Pace};
pub use self::tally::{Piece, Tally};
pub use self::target::{Endpoint, Target};

use self::generator::Orders;
use self::thread::{Finding, LoadThread, News};
use crate::failure::Failure;
use crate::recording::{DIGITS_OF_RUN, histogram};

/// How often is looked whether a thread has failed before all were connected.
const LOOK: Duration = Duration::from_millis(20);

/// A load to drive.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where the connections go.
    pub target: Target,
    /// What is asked for.
    pub shape: Shape,
    /// When.
    pub pace: Pace,
    /// Until when.
    pub end: End,
    /// Time whose requests are not counted.
    pub warm_up: Duration,
    /// Length of an interval.
    pub interval: Duration,
    /// Connections of all threads.
    pub connections: usize,
    /// Most requests in flight on a connection.
    pub pipeline: usize,
    /// Load threads, at most as many as connections.
    pub threads: usize,
    /// Cores the threads are pinned to, in turn; none leaves them free.
    pub cpus: Vec<usize>,
    /// How long what is under way at the end is waited for.
    pub drain: Duration,
    /// How long an answer is waited for before its connection is given up; for ever when nothing.
    pub patience: Option<Duration>,
    /// Whether values are checked.
    pub verify: bool,
    /// Decides everything that is drawn.
    pub seed: u64,
}

/// What a load saw.
pub struct Outcome {
    /// When the measured part began.
    pub began: SystemTime,
    /// The same, by the clock that never steps.
    pub measured_from: Instant,
    /// All threads' counts, one for each interval, in order.
    pub pieces: Vec<Piece>,
    /// How late requests were sent though there was room for them, in nanoseconds.
    pub lag: Histogram<u64>,
    /// How busy each thread was.
    pub busy: Vec<Busy>,
    /// From the end of the warm-up to the last answer.
    pub lasted: Duration,
}

impl Outcome {
    /// Counts of the whole.
    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        self.pieces.iter().for_each(|piece| tally.add(&piece.tally));
        tally
    }

    /// Latencies of the whole, in nanoseconds.
    pub fn latencies(&self) -> Histogram<u64> {
        let mut all = histogram(DIGITS_OF_RUN);
        for piece in &self.pieces {
            all.add(&piece.latencies).expect("all have the same bounds");
        }
        all
    }
}

/// Drives a load to its end and tells of each interval when it is over in all threads.
///
/// # Errors
/// When a server cannot be reached, ends a connection that it must not, or says what cannot be understood.
pub fn drive(plan: &Plan, on_interval: &mut dyn FnMut(&Piece)) -> Result<Outcome, Failure> {
    assert!(plan.threads > 0 && plan.connections >= plan.threads);
    let (news, heard) = mpsc::channel();
    let (stop, mut threads) = (Arc::new(AtomicBool::new(false)), Vec::new());
    for thread in 0..plan.threads {
        let (start, started) = mpsc::channel();
        let (load, news) = (plan.thread(thread, Arc::clone(&stop)), news.clone());
        threads.push((start, std::thread::spawn(move || load.run(&news, &started))));
    }
    drop(news);
    if !all_ready(&heard, &threads) {
        return Err(first_failure(threads));
    }
    let (began, clock) = (Instant::now(), SystemTime::now());
    for (start, _) in &threads {
        let _ = start.send(began); // a thread that has failed since is joined below
    }
    let mut pieces = Gathered::new(plan.threads);
    while let Ok(news) = heard.recv() {
        if let News::Piece(piece) = news {
            pieces.add(&piece, on_interval);
        }
    }
    let findings = threads.into_iter().map(|(_, thread)| joined(thread)).collect::<Vec<_>>();
    let findings = findings.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(put_together(plan, (clock + plan.warm_up, began + plan.warm_up), pieces, &findings))
}

/// Waits until all threads are connected; false when one of them has failed.
fn all_ready(heard: &mpsc::Receiver<News>, threads: &[Running]) -> bool {
    let mut ready = 0;
    while ready < threads.len() {
        match heard.recv_timeout(LOOK) {
            Ok(_) => ready += 1,
            Err(_) if threads.iter().any(|(_, thread)| thread.is_finished()) => return false,
            Err(_) => {}
        }
    }
    true
}

impl Plan {
    fn thread(&self, thread: usize, stop: Arc<AtomicBool>) -> LoadThread {
        let sessions = self.connections / self.threads + usize::from(thread < self.connections % self.threads);
        let ns = |time: Duration| time.as_nanos() as u64;
        let orders = Orders {
            shape: self.shape.clone(),
            pace: self.pace,
            end: self.end,
            warm_up: ns(self.warm_up),
            interval: ns(self.interval),
            pipeline: self.pipeline,
            drain: ns(self.drain),
            patience: self.patience.map(ns),
            verify: self.verify,
            seed: self.seed,
            thread,
            threads: self.threads,
            sessions,
            // two runs at one server do not take each other's values for their own
            writer: std::process::id().wrapping_mul(1 << 10).wrapping_add(thread as u32),
        };
        let cpu = (!self.cpus.is_empty()).then(|| self.cpus[thread % self.cpus.len()]);
        LoadThread { orders, target: self.target.clone(), cpu, stop }
    }
}

type Running = (mpsc::Sender<Instant>, JoinHandle<Result<Finding, Failure>>);

fn joined(thread: JoinHandle<Result<Finding, Failure>>) -> Result<Finding, Failure> {
    thread.join().map_err(|_| Failure::new("a load thread panicked"))?
}

/// Why the load could not begin: what the first thread that failed says. The others wait for a beginning that does not come.
fn first_failure(threads: Vec<Running>) -> Failure {
    let (failed, waiting): (Vec<_>, Vec<_>) = threads.into_iter().partition(|(_, thread)| thread.is_finished());
    let failure = failed.into_iter().find_map(|(_, thread)| joined(thread).err());
    for (start, thread) in waiting {
        drop(start);
        let _ = joined(thread);
    }
    failure.unwrap_or_else(|| Failure::new("a load thread ended before it began"))
}

/// Pieces of all threads, interval by interval.
struct Gathered {
    threads: usize,
    /// With how many threads have told of each.
    pieces: Vec<(Piece, usize)>,
    told: usize,
}

impl Gathered {
    const fn new(threads: usize) -> Self {
        Self { threads, pieces: Vec::new(), told: 0 }
    }

    fn add(&mut self, piece: &Piece, on_interval: &mut dyn FnMut(&Piece)) {
        let index = piece.index as usize;
        while self.pieces.len() <= index {
            self.pieces.push((Piece::new(self.pieces.len() as u64), 0));
        }
        let (sum, threads) = &mut self.pieces[index];
        sum.tally.add(&piece.tally);
        sum.latencies.add(&piece.latencies).expect("all have the same bounds");
        *threads += 1;
        while let Some((piece, threads)) = self.pieces.get(self.told)
            && *threads == self.threads
        {
            on_interval(piece);
            self.told += 1;
        }
    }
}

fn put_together(
    plan: &Plan,
    (began, measured_from): (SystemTime, Instant),
    gathered: Gathered,
    findings: &[Finding],
) -> Outcome {
    let mut lag = histogram(DIGITS_OF_RUN);
    for finding in findings {
        lag.add(&finding.lag).expect("all have the same bounds");
    }
    let done_at = findings.iter().map(|finding| finding.done_at).max().unwrap_or(0);
    let lasted = Duration::from_nanos(done_at).saturating_sub(plan.warm_up);
    let busy = findings.iter().map(|finding| finding.busy).collect();
    Outcome {
        began,
        measured_from,
        pieces: gathered.pieces.into_iter().map(|(piece, _)| piece).collect(),
        lag,
        busy,
        lasted,
    }
}
