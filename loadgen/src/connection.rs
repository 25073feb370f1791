//! One connection: sends a batch, reads until every reply is there, sends the next. Closed loop: never more in flight
//! than one batch.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use hdrhistogram::Histogram;
use tokio_uring::net::TcpStream;

use crate::failure::{Failure, While};
use crate::recording::{DIGITS_OF_RUN, histogram};
use crate::reply::{Decoder, Tally};
use crate::request::{Batch, Pool};

/// Room for replies of one connection.
const REPLY_BUFFER_BYTES: usize = 64 << 10;

/// What the load threads and the one who measures share.
pub struct Shared {
    pub pool: Arc<Pool>,
    pub verify: bool,
    /// Latencies of batches that are answered now are kept.
    pub counts_latencies: AtomicBool,
    /// Connections stop before their next batch.
    pub stop: AtomicBool,
    /// Requests answered so far.
    pub operations: AtomicU64,
}

/// The work of one load thread, shared by its connections.
pub struct Work {
    pub shared: Arc<Shared>,
    cursor: Cell<usize>,
    /// Batches not yet taken; nothing when the load runs until it is stopped.
    budget: Cell<Option<u64>>,
    pub tally: RefCell<Tally>,
    /// From the sending of each batch to its last reply, in nanoseconds.
    pub latencies: RefCell<Histogram<u64>>,
}

impl Work {
    /// Batches from `first` on, `budget` of them.
    pub fn new(shared: Arc<Shared>, first: usize, budget: Option<u64>) -> Self {
        Self {
            cursor: Cell::new(first % shared.pool.batches.len()),
            budget: Cell::new(budget),
            tally: RefCell::default(),
            latencies: RefCell::new(histogram(DIGITS_OF_RUN)),
            shared,
        }
    }

    fn take(&self) -> Option<Batch> {
        if self.shared.stop.load(Ordering::Relaxed) || self.budget.get() == Some(0) {
            return None;
        }
        self.budget.set(self.budget.get().map(|left| left - 1));
        let at = self.cursor.get();
        let batches = &self.shared.pool.batches;
        self.cursor.set(if at + 1 == batches.len() { 0 } else { at + 1 });
        Some(batches[at])
    }

    fn finish(&self, began: Instant, tally: &Tally) {
        self.tally.borrow_mut().add(tally);
        if self.shared.counts_latencies.load(Ordering::Relaxed) {
            self.latencies.borrow_mut().saturating_record(began.elapsed().as_nanos() as u64);
        }
        // last: who has seen an operation finds its latency
        self.shared.operations.fetch_add(tally.replies, Ordering::Relaxed);
    }
}

/// Drives one connection until the work is done or stopped.
pub async fn drive(stream: TcpStream, work: &Work) -> Result<(), Failure> {
    let mut decoder = Decoder::new(&work.shared.pool, work.shared.verify);
    let mut buffer = Vec::with_capacity(REPLY_BUFFER_BYTES);
    while let Some(batch) = work.take() {
        let began = Instant::now();
        decoder.expect(batch);
        send(&stream, batch.bytes).await?;
        while !decoder.is_complete() {
            let (result, filled) = stream.read(buffer).await;
            buffer = filled;
            let length = result.during("receiving")?;
            if length == 0 {
                return Err(Failure::new("the server closed a connection before it had answered"));
            }
            if let Err(garbled) = decoder.feed(&buffer[..length]) {
                let shown = buffer[..length.min(80)].escape_ascii();
                return Err(Failure::wrong_reply(format!("garbled reply ({garbled:?}) in: {shown}")));
            }
        }
        work.finish(began, &decoder.tally);
    }
    Ok(())
}

async fn send(stream: &TcpStream, mut bytes: &'static [u8]) -> Result<(), Failure> {
    while !bytes.is_empty() {
        let (result, _) = stream.write(bytes).submit().await;
        bytes = &bytes[result.during("sending")?..];
    }
    Ok(())
}
