//! `loadgen memory`: resident memory per small item and per idle connection, beside memcached's.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use crate::failure::{Failure, While};
use crate::fill::fill;
use crate::keys::{KEY_BYTES, KeySpace};
use crate::machine::{self, Machine};
use crate::request::{Dialect, Mix};
use crate::server::{Recipe, Server};

/// Time a server is left alone before its memory is read.
const SETTLE: Duration = Duration::from_millis(500);
/// Open files beside the idle connections.
const OTHER_FILES: u64 = 1000;

#[derive(Args)]
pub struct MemoryArgs {
    /// Items to store
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1..))]
    items: u32,
    /// Bytes of each value
    #[arg(long, default_value_t = 32)]
    value_size: usize,
    /// Idle connections to open
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    connections: u32,
    /// The store program [default: beside this program, or in target/release]
    #[arg(long)]
    store: Option<String>,
    /// The memcached program [default: memcached-peer or memcached on PATH]
    #[arg(long)]
    memcached: Option<String>,
    /// Compare these servers instead: NAME=COMMAND, with {port} and {dir} to be filled in
    #[arg(long, value_name = "NAME=COMMAND")]
    server: Vec<String>,
    /// Core of the servers
    #[arg(long, default_value_t = 0)]
    server_cpu: usize,
    /// Folder, on a disk, for the servers' data directories
    #[arg(long, default_value = "/var/tmp")]
    data_parent: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    machine: Machine,
    items: u32,
    key_bytes: usize,
    value_bytes: usize,
    connections: u32,
    servers: Vec<Footprint>,
}

#[derive(Serialize)]
struct Footprint {
    name: String,
    version: String,
    command: String,
    /// Resident memory of the server before the first item.
    empty_bytes: u64,
    /// Growth of the resident memory, per item and per connection.
    bytes_per_item: f64,
    bytes_per_idle_connection: f64,
}

/// Measures each server alone and prints what was found.
pub fn run(args: &MemoryArgs) -> Result<(), Failure> {
    machine::allow_open_files(u64::from(args.connections) + OTHER_FILES)?;
    let keys = KeySpace::new(args.items, args.value_size, 1);
    let mut servers = Vec::new();
    for recipe in args.recipes()? {
        servers.push(footprint(&recipe, args, keys, &args.data_parent)?);
    }
    let (machine, items, connections) = (Machine::describe(), args.items, args.connections);
    let report = Report { machine, items, key_bytes: KEY_BYTES, value_bytes: args.value_size, connections, servers };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report).during("writing JSON")?);
    } else {
        print!("{}", markdown(&report));
    }
    Ok(())
}

fn footprint(recipe: &Recipe, args: &MemoryArgs, keys: KeySpace, data_parent: &Path) -> Result<Footprint, Failure> {
    let server = Server::start(recipe, args.server_cpu, data_parent)?;
    let empty_bytes = settled(&server)?;
    let mut idle = Vec::new();
    for _ in 0..args.connections {
        idle.push(TcpStream::connect(server.address).during("opening an idle connection")?);
    }
    let connected_bytes = settled(&server)?;
    drop(idle);
    // a server may keep what idle connections took, and use it again: items are counted from here on
    let disconnected_bytes = settled(&server)?;
    fill(server.address, server.dialect, Mix::Set, keys, &[])?;
    let full_bytes = settled(&server)?;
    let growth = |from: u64, to: u64, count: u32| (to as f64 - from as f64) / f64::from(count);
    Ok(Footprint {
        name: recipe.name.clone(),
        version: server.version.clone(),
        command: recipe.command.clone(),
        empty_bytes,
        bytes_per_item: growth(disconnected_bytes, full_bytes, args.items),
        bytes_per_idle_connection: growth(empty_bytes, connected_bytes, args.connections),
    })
}

fn settled(server: &Server) -> Result<u64, Failure> {
    std::thread::sleep(SETTLE);
    server.resident_bytes()
}

impl MemoryArgs {
    fn recipes(&self) -> Result<Vec<Recipe>, Failure> {
        if !self.server.is_empty() {
            return self.server.iter().map(|text| Recipe::from_argument(text)).collect();
        }
        let store = self.store.clone().unwrap_or_else(|| machine::program("store"));
        let memcached = self.memcached.clone().unwrap_or_else(machine::memcached);
        let limit = u64::from(self.connections) + 100;
        let common = format!("-p {{port}} -l 127.0.0.1 -t 1 -m 4096 -c {limit}");
        Ok(vec![
            Recipe::new("memcached", format!("{memcached} {common} -U 0 -u root"), Dialect::Memcached),
            Recipe::new("no log", format!("{store} addsrv {common} --no-log"), Dialect::Memcached),
            Recipe::new(
                "fsync never",
                format!("{store} addsrv {common} --data-dir {{dir}} --fsync never"),
                Dialect::Memcached,
            ),
        ])
    }
}

fn markdown(report: &Report) -> String {
    let mut out = format!(
        "Kernel {}, {}, commit {}; {} items of {} + {} bytes, {} idle connections.\n\n",
        report.machine.kernel,
        report.machine.cpu,
        report.machine.commit,
        report.items,
        report.key_bytes,
        report.value_bytes,
        report.connections
    );
    out += "| server | version | empty, MB | bytes per item | bytes per idle connection |\n|---|---|--:|--:|--:|\n";
    for server in &report.servers {
        out += &format!(
            "| {} | {} | {:.1} | {:.1} | {:.0} |\n",
            server.name,
            server.version,
            server.empty_bytes as f64 / 1e6,
            server.bytes_per_item,
            server.bytes_per_idle_connection
        );
    }
    out
}
