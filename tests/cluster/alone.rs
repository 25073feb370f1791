//! A server that stands alone under the same clients and the same check: what the harness says of a cluster it says of the
//! simplest server too. And a history that was made wrong is seen to be wrong.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::history::load::{Load, Plan};
use crate::history::record::History;
use crate::history::verdict;
use crate::linear::{Op, Outcome};
use crate::machines::{PATIENCE, hold};

struct Alone {
    process: Child,
    scratch: tempfile::TempDir,
    address: SocketAddr,
}

fn spawn(directory: &Path, port: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_store"))
        .args(["addsrv", "-l", "127.0.0.1", "-t", "2", "-p", port, "--data-dir"])
        .arg(directory.join("data"))
        .env("MEMCACHED_PORT_FILENAME", directory.join("ports"))
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program can be started")
}

impl Alone {
    fn start() -> Self {
        let scratch = tempfile::tempdir().expect("a directory");
        let process = spawn(scratch.path(), "-1");
        let mut one = Self { process, scratch, address: ([127, 0, 0, 1], 0).into() };
        let deadline = Instant::now() + PATIENCE;
        while one.address.port() == 0 {
            assert!(Instant::now() < deadline, "it does not listen");
            thread::sleep(Duration::from_millis(5));
            let text = std::fs::read_to_string(one.scratch.path().join("ports")).unwrap_or_default();
            if let Some(port) = text.lines().find_map(|line| line.strip_prefix("TCP INET: ")) {
                one.address.set_port(port.trim().parse().expect("a port"));
            }
        }
        one
    }

    fn kill(&mut self) {
        // it may have ended already; then there is nothing to end
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    fn restart(&mut self) {
        self.kill();
        self.process = spawn(self.scratch.path(), &self.address.port().to_string());
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        self.kill();
    }
}

fn history_of(plan: impl FnOnce(Plan) -> Plan, writes: u64, kills: usize) -> History {
    let mut server = Alone::start();
    let load = Load::start(plan(Plan { pinned: 3, roaming: 3, ..Plan::new(&[server.address]) }));
    hold(load.more_writes(writes, PATIENCE));
    for _ in 0..kills {
        server.restart();
        hold(load.more_writes(writes, PATIENCE));
    }
    let mut history = load.finish();
    hold(history.read_everywhere(&[server.address], PATIENCE));
    history
}

#[test]
fn a_server_that_is_alone_passes() {
    let history = history_of(|plan| plan, 1000, 3);
    hold(verdict::explained(&history));
    println!("a server that is alone: {history}");
}

#[test]
fn pipelined_operations_pass() {
    let history = history_of(|plan| Plan { pipelined: 6, ..plan }, 1000, 1);
    hold(verdict::explained(&history));
    println!("a server that is alone, pipelined: {history}");
}

/// A recorded history with one answer changed by hand.
fn bent(what: &str, bend: impl Fn(&mut Op, &mut Outcome) -> bool) {
    let mut history = history_of(|plan| plan, 400, 1);
    hold(verdict::explained(&history));
    let bent = history
        .entries
        .iter_mut()
        .rev()
        .filter(|entry| entry.refused.is_none())
        .any(|entry| bend(&mut entry.operation.op, &mut entry.operation.outcome));
    assert!(bent, "{what}: nothing to bend");
    assert!(verdict::explained(&history).is_err(), "{what}: a wrong history passes");
}

#[test]
fn a_history_that_was_made_wrong_is_found() {
    bent("a lost item", |op, outcome| {
        let is_value = *op == Op::Get && matches!(outcome, Outcome::Value { .. });
        if is_value {
            *outcome = Outcome::Miss;
        }
        is_value
    });
    bent("a value nobody wrote", |_, outcome| match outcome {
        Outcome::Value { value, .. } => {
            value.push(b'?');
            true
        }
        _ => false,
    });
    bent("an incr done twice", |op, outcome| match (op, outcome) {
        (Op::Incr(delta), Outcome::Number(number)) => {
            *number += *delta;
            true
        }
        _ => false,
    });
}
