//! `--fill`: stores every key once before a load, with a bar on a terminal that shows how far it is.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::engine::{End, Pace, Plan, Shape, drive};
use crate::failure::Failure;
use crate::workload::mix::{Mix, Operation};
use crate::workload::popularity::Popularity;

/// Connections of a fill, at most.
const CONNECTIONS_MAX: usize = 8;
/// Bytes that a connection has in flight, about.
const BYTES_IN_FLIGHT: usize = 32 << 10;
/// Requests in flight on a connection, at most.
const PIPELINE_MAX: usize = 64;
/// How often the bar moves.
const INTERVAL: Duration = Duration::from_millis(100);

/// Stores every value, and every counter if the load counts.
///
/// # Errors
/// When a server cannot be reached, or not everything was stored.
pub fn fill(load: &Plan) -> Result<(), Failure> {
    let operations = || load.shape.mix.operations();
    if operations().any(|operation| !operation.counts()) {
        store_all(load, Operation::Set)?;
    }
    if operations().any(Operation::counts) {
        store_all(load, Operation::SetCounter)?;
    }
    Ok(())
}

fn store_all(load: &Plan, operation: Operation) -> Result<(), Failure> {
    let keys = u64::from(load.shape.keys.count);
    let connections = load.connections.clamp(load.threads, CONNECTIONS_MAX.max(load.threads));
    let plan = Plan {
        shape: Shape { mix: Mix::only(operation), popularity: Popularity::Sequential, ..load.shape.clone() },
        pace: Pace::Closed,
        end: End::Requests(keys),
        warm_up: Duration::ZERO,
        interval: INTERVAL,
        connections,
        pipeline: (BYTES_IN_FLIGHT / (load.shape.value_size.max() + 64)).clamp(1, PIPELINE_MAX),
        verify: false,
        ..load.clone()
    };
    let style = ProgressStyle::with_template("fill {bar:40} {human_pos} of {human_len} keys, {per_sec}, {eta} left");
    let bar = ProgressBar::new(keys).with_style(style.expect("the template is right"));
    let outcome = drive(&plan, &mut |piece| bar.inc(piece.tally.answered))?;
    bar.finish_and_clear();
    let tally = outcome.tally();
    if tally.stored != keys {
        return Err(Failure::new(format!(
            "of {keys} keys {} were stored ({} refused, {} of unknown outcome); give the server more memory, or fewer keys",
            tally.stored, tally.errors, tally.unknown
        )));
    }
    Ok(())
}
