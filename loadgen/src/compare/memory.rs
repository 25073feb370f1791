//! `loadgen compare memory`: resident memory per small item and per idle connection, beside memcached's.

use std::net::TcpStream;
use std::time::Duration;

use clap::Args;

use super::contest::describe;
use super::sheet::{Column, EntrantResult, EventResult, Kind};
use super::{Scenario, Setup, Sheet};
use crate::failure::{Failure, While};
use crate::fill::fill;
use crate::keys::{KEY_BYTES, KeySpace};
use crate::machine;
use crate::request::Mix;
use crate::server::Server;

/// Time a server is left alone before its memory is read.
const SETTLE: Duration = Duration::from_millis(500);
/// Open files beside the idle connections.
const OTHER_FILES: u64 = 1000;
/// What is stored and opened unless told otherwise, and with `--quick`.
const ITEMS: u32 = 1_000_000;
const QUICK_ITEMS: u32 = 20_000;
const CONNECTIONS: u32 = 10_000;
const QUICK_CONNECTIONS: u32 = 200;

const COLUMNS: [Column; 3] = [
    Column { name: "empty_mb", title: "empty, MB", kind: Kind::Cost },
    Column { name: "bytes_per_item", title: "bytes per item", kind: Kind::Cost },
    Column { name: "bytes_per_idle_connection", title: "bytes per idle connection", kind: Kind::Cost },
];

#[derive(Args)]
pub struct MemoryArgs {
    /// Items to store, of the scenario memory [default: 1000000]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    items: Option<u32>,
    /// Bytes of each of them
    #[arg(long, default_value_t = 32)]
    item_bytes: usize,
    /// Idle connections to open, of the scenario memory [default: 10000]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    idle_connections: Option<u32>,
}

/// How much is stored and opened.
#[derive(Clone, Copy)]
struct Amount {
    keys: KeySpace,
    connections: u32,
}

/// Measures each server alone, in rounds. Nothing when it is not asked for.
///
/// # Errors
/// When a server does not start or answers wrongly.
pub fn run(setup: &Setup) -> Result<Option<Sheet>, Failure> {
    let (args, contest) = (&setup.args.memory, &setup.args.contest);
    let items = args.items.unwrap_or(if contest.quick { QUICK_ITEMS } else { ITEMS });
    let default_connections = if contest.quick { QUICK_CONNECTIONS } else { CONNECTIONS };
    let connections = args.idle_connections.unwrap_or(default_connections);
    let title = format!("items of {KEY_BYTES} + {} bytes, {items} of them", args.item_bytes);
    if !contest.asks_for(&title) {
        return Ok(None);
    }
    machine::allow_open_files(u64::from(connections) + OTHER_FILES)?;
    let recipes = setup.recipes(&format!("-p {{port}} -l 127.0.0.1 -t 1 -m 4096 -c {}", connections + 100))?;
    let amount = Amount { keys: KeySpace::new(items, args.item_bytes, contest.seed), connections };
    let mut servers = Vec::new();
    let mut samples = vec![Vec::new(); recipes.len()];
    for round in 1..=contest.rounds() {
        eprintln!("round {round} of {}: {title}", contest.rounds());
        for ((recipe, peer), samples) in recipes.iter().zip(&mut samples) {
            let server = Server::start(recipe, contest.server_cpu, &contest.data_parent)?;
            samples.push(footprint(&server, amount)?);
            if round == 1 {
                servers.push(describe(recipe, *peer, &server));
            }
        }
    }
    let entrants = servers.iter().zip(&samples);
    let entrants = entrants.map(|(server, rounds)| EntrantResult::of(&COLUMNS, server, rounds, contest.quick));
    let results = vec![EventResult::of(&COLUMNS, &title, entrants.collect(), &[], contest.quick)];
    let about = format!(
        "{} Resident memory, key and value included, and its growth by {connections} idle connections.",
        setup.placement()
    );
    Ok(Some(Sheet { scenario: Scenario::Memory, about, columns: &COLUMNS, servers, results }))
}

/// The figures of [`COLUMNS`] of a server that has just started.
fn footprint(server: &Server, amount: Amount) -> Result<Vec<f64>, Failure> {
    let empty_bytes = settled(server)?;
    let mut idle = Vec::new();
    for _ in 0..amount.connections {
        idle.push(TcpStream::connect(server.address).during("opening an idle connection")?);
    }
    let connected_bytes = settled(server)?;
    drop(idle);
    // a server may keep what idle connections took, and use it again: items are counted from here on
    let disconnected_bytes = settled(server)?;
    fill(server.address, server.dialect, Mix::Set, amount.keys, &[])?;
    let full_bytes = settled(server)?;
    let growth = |from: u64, to: u64, count: u32| (to as f64 - from as f64) / f64::from(count);
    Ok(vec![
        empty_bytes as f64 / 1e6,
        growth(disconnected_bytes, full_bytes, amount.keys.count),
        growth(empty_bytes, connected_bytes, amount.connections),
    ])
}

fn settled(server: &Server) -> Result<u64, Failure> {
    std::thread::sleep(SETTLE);
    server.resident_bytes()
}
