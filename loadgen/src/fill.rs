//! Stores every key once before a load.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::failure::Failure;
use crate::keys::KeySpace;
use crate::load::{Load, Plan};
use crate::request::{Dialect, Mix, Pool};

/// Connections of a fill.
const FILL_CONNECTIONS: usize = 4;

/// Fills the server for `mix`; a fill with a wrong reply is a failure.
pub fn fill(
    server: SocketAddr,
    dialect: Dialect,
    mix: Mix,
    keys: KeySpace,
    cpus: &[usize],
) -> Result<Duration, Failure> {
    let began = std::time::Instant::now();
    let pool = Pool::fill(mix, dialect, keys)?;
    let budget = Some(pool.batches.len() as u64);
    let plan = Plan { server, connections: FILL_CONNECTIONS, threads: 1, cpus: cpus.to_vec(), budget, verify: true };
    let tally = Load::start(&plan, Arc::new(pool))?.join()?.tally;
    if !tally.is_clean() || tally.replies != u64::from(keys.count) {
        return Err(Failure::wrong_reply(format!("filling {} keys went wrong: {tally:?}", keys.count)));
    }
    Ok(began.elapsed())
}
