//! One load thread: a tokio-uring runtime with a task for each connection and one for the schedule, around one
//! [`Generator`]. Reads the clock and moves bytes; decides nothing.

use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Instant;

use hdrhistogram::Histogram;

use super::busy::{Busy, BusyMeter};
use super::connections::Connections;
use super::generator::Orders;
use super::tally::Piece;
use super::target::Target;
use crate::failure::Failure;
use crate::machine;

/// Submission queue entries of a runtime; a full queue is submitted and goes on.
const RING_ENTRIES: u32 = 1024;
/// What a thread tells while it runs.
pub enum News {
    /// All its connections stand.
    Ready,
    /// An interval is over.
    Piece(Piece),
}

/// What a thread found, beside its pieces.
pub struct Finding {
    /// How late requests were sent though there was room for them.
    pub lag: Histogram<u64>,
    /// How busy it was in the measured part.
    pub busy: Busy,
    /// When the last answer came or was given up, in nanoseconds since the load began.
    pub done_at: u64,
}

/// A thread that has not begun.
pub struct LoadThread {
    /// What to do.
    pub orders: Orders,
    /// Where its connections go.
    pub target: Target,
    /// The core it is pinned to.
    pub cpu: Option<usize>,
    /// Set by the first thread that fails, so that the others need not go on.
    pub stop: Arc<AtomicBool>,
}

impl LoadThread {
    /// Connects, says so, waits for the common beginning and drives its part of the load to its end.
    ///
    /// # Errors
    /// When a server cannot be reached, ends a connection that it must not, or says what cannot be understood.
    pub fn run(self, news: &mpsc::Sender<News>, start: &mpsc::Receiver<Instant>) -> Result<Finding, Failure> {
        if let Some(cpu) = self.cpu {
            machine::pin_thread(cpu)?;
        }
        let mut ring = tokio_uring::uring_builder();
        ring.setup_coop_taskrun();
        let stop = Arc::clone(&self.stop);
        let finding = tokio_uring::builder().entries(RING_ENTRIES).uring_builder(&ring).start(self.drive(news, start));
        if finding.is_err() {
            stop.store(true, Ordering::Relaxed);
        }
        finding
    }

    async fn drive(self, news: &mpsc::Sender<News>, start: &mpsc::Receiver<Instant>) -> Result<Finding, Failure> {
        let (sessions, warm_up) = (self.orders.sessions, self.orders.warm_up);
        let connections = Rc::new(Connections::new(self.orders, self.target)?);
        let mut first = Vec::new();
        for session in 0..sessions {
            first.push(connections.first(session).await?);
        }
        let _ = news.send(News::Ready); // nobody listens any more when another thread has failed
        let Ok(began) = start.recv() else { return Err(Failure::new("another load thread failed")) };
        connections.began.set(began);
        let tasks = first.into_iter().enumerate().map(|(session, connection)| {
            let connections = Rc::clone(&connections);
            tokio_uring::spawn(async move { connections.keep(session, connection).await })
        });
        let tasks: Vec<_> = tasks.collect();
        let has_failed = || self.stop.load(Ordering::Relaxed) || tasks.iter().any(tokio::task::JoinHandle::is_finished);
        let finding = schedule(&connections, news, warm_up, has_failed).await;
        connections.end_all();
        let mut failure = None;
        for task in tasks {
            let ended = task.await.map_err(|_| Failure::new("a connection panicked")).and_then(|ended| ended);
            failure = failure.or(ended.err());
        }
        failure.map_or(finding, Err)
    }
}

/// Sends what is due when it is due, until the load is done or a connection's task has ended.
async fn schedule(
    connections: &Rc<Connections>,
    news: &mpsc::Sender<News>,
    warm_up: u64,
    has_failed: impl Fn() -> bool,
) -> Result<Finding, Failure> {
    let mut meter = None;
    let busy = loop {
        let now = connections.now();
        if meter.is_none() && now >= warm_up {
            meter = Some(BusyMeter::start());
        }
        for piece in connections.generator.borrow_mut().take_pieces() {
            let _ = news.send(News::Piece(piece));
        }
        if connections.generator.borrow().is_done(now) || has_failed() {
            break meter.map_or_else(Busy::default, |meter| meter.stop());
        }
        connections.turn(now).await?;
    };
    let mut generator = connections.generator.borrow_mut();
    generator.finish_at(connections.now());
    for piece in generator.take_pieces() {
        let _ = news.send(News::Piece(piece));
    }
    Ok(Finding { lag: generator.lag().clone(), busy, done_at: generator.done_at() })
}
