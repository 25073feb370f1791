//! What an operator does when more is lost than a cluster survives, with real processes: a load balancer's record that is
//! gone, and members that are.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use ringstore::control::json::Value;

const STORE: &str = env!("CARGO_BIN_EXE_store");
const CLIENT: &str = env!("CARGO_BIN_EXE_client");
/// Longest wait for something that should happen soon.
const PATIENCE: Duration = Duration::from_secs(30);

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        thread::sleep(Duration::from_millis(10));
    }
}

fn run(program: &str, arguments: &[&str]) -> (i32, String) {
    let Output { status, stdout, stderr } = Command::new(program).args(arguments).output().expect("started");
    (status.code().expect("not killed"), String::from_utf8([stdout, stderr].concat()).expect("a text"))
}

/// A process that is killed when it is dropped.
struct Running(Child);

impl Running {
    fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A cluster in a directory of its own.
struct Cluster {
    directory: tempfile::TempDir,
    lb: String,
    balancer: Running,
}

fn balancer(directory: &Path, listen: &str, more: &[&str]) -> (Running, String) {
    let mut command = Command::new(STORE);
    command.args(["addlb", "--listen", listen, "--data-dir"]).arg(directory.join("lb")).args(more);
    let mut process = command.stderr(Stdio::piped()).spawn().expect("started");
    let mut lines = BufReader::new(process.stderr.take().expect("it is piped"));
    let mut said = String::new();
    let address = loop {
        assert!(lines.read_line(&mut said).expect("its words") > 0, "it ended before it listened: {said}");
        if let Some((_, rest)) = said.split_once("listening on ") {
            break rest.split(',').next().expect("an address").to_owned();
        }
    };
    thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
    (Running(process), address)
}

impl Cluster {
    /// Without servers. An address of its own, so that nobody takes the port while the load balancer is down.
    fn new(host: &str, more: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let (balancer, lb) = balancer(directory.path(), &format!("{host}:0"), more);
        Self { directory, lb, balancer }
    }

    fn record(&self) -> PathBuf {
        self.directory.path().join("lb")
    }

    /// Starts a server, or starts it again.
    fn server(&self, name: &str) -> Running {
        let data = self.directory.path().join(name);
        let mut command = Command::new(STORE);
        command.args(["addsrv", "--lb", &self.lb, "--port=-1", "-t", "1", "-m", "64", "--data-dir"]).arg(data);
        Running(command.stderr(Stdio::null()).spawn().expect("started"))
    }

    fn status(&self) -> Value {
        let (_, text) = run(STORE, &["status", "--json", "--lb", &self.lb]);
        Value::parse(&text).unwrap_or_else(|| panic!("no JSON: {text}"))
    }

    /// Waits until so many members serve; the addresses of all.
    fn until_members(&self, count: usize) -> Vec<String> {
        let members = |status: &Value| {
            let roles = status.list("servers").iter().filter_map(|one| one.text("role"));
            roles.filter(|role| matches!(*role, "leader" | "follower")).count()
        };
        until("so many are members, and serve", || {
            let status = self.status();
            let writable = status.get("writable") == Some(&Value::Word("true".to_owned()));
            writable && members(&status) == count && status.list("servers").len() == count
        });
        self.status().list("servers").iter().map(|one| one.text("address").expect("one").to_owned()).collect()
    }

    fn client(&self, arguments: &[&str]) -> (i32, String) {
        run(CLIENT, &[&["--lb", &self.lb, "--timeout", "20"], arguments].concat())
    }
}

#[test]
fn a_lost_record_is_made_again_when_the_operator_confirms_it() {
    let mut cluster = Cluster::new("127.0.7.2", &[]);
    let _first = cluster.server("first");
    let _second = cluster.server("second");
    let servers = cluster.until_members(2);
    assert_eq!(cluster.client(&["set", "k", "v"]).0, 0);
    let all = servers.join(",");
    let record = cluster.record();
    let recover = |lb: &str, more: &[&str]| {
        let record = record.to_str().expect("a plain path");
        run(STORE, &[&["addlb", "--listen", lb, "--data-dir", record], more].concat())
    };

    cluster.balancer.kill();
    let (status, said) = recover(&cluster.lb, &["--recover", &all, "--confirmed"]);
    assert!(status == 64 && said.contains("there is a record"), "{said}");
    fs::remove_dir_all(&record).expect("lost");
    let (status, said) = recover(&cluster.lb, &["--recover", &servers[0]]);
    assert!(status == 65 && said.contains("was not named"), "{said}");
    let (status, said) = recover(&cluster.lb, &["--recover", &format!("{all},127.0.0.1:1")]);
    assert!(status == 69 && said.contains("127.0.0.1:1"), "{said}");
    let (status, said) = recover(&cluster.lb, &["--recover", &all]);
    assert!(status == 77 && said.contains("--confirmed"), "{said}");
    let epoch = said.split_once(", epoch ").and_then(|(_, rest)| rest.split(',').next()?.parse::<u64>().ok());
    assert!(epoch.is_some_and(|epoch| epoch > 2), "later than that of two members: {said}");
    assert_eq!(cluster.client(&["get", "k", "--timeout", "1"]).0, 69, "nothing runs yet");

    let more = ["--recover", &all, "--confirmed"];
    (cluster.balancer, _) = balancer(cluster.directory.path(), &cluster.lb, &more);
    cluster.until_members(2);
    assert!(cluster.status().number("epoch") >= epoch, "it goes on from there");
    assert_eq!(cluster.client(&["set", "k", "w"]), (0, "STORED\n".to_owned()));
    let (status, text) = run(STORE, &["verify", "--lb", &cluster.lb]);
    assert!(status == 0 && text.starts_with("equal: 2 servers"), "{text}");
    // it is the load balancer of this cluster again: others can join
    let _third = cluster.server("third");
    cluster.until_members(3);
}

#[test]
fn a_server_leads_by_force_when_the_operator_confirms_it() {
    let cluster = Cluster::new("127.0.7.3", &["--min-insync", "1"]);
    let mut first = cluster.server("first");
    cluster.until_members(1);
    let mut second = cluster.server("second");
    cluster.until_members(2);
    assert_eq!(cluster.client(&["set", "k", "old"]).0, 0);
    second.kill();
    cluster.until_members(1);
    assert_eq!(cluster.client(&["set", "k", "new"]).0, 0);
    let node = |role: &str| {
        let status = cluster.status();
        let found = status.list("servers").iter().find(|one| one.text("role") == Some(role));
        found.map(|one| one.text("node").expect("a name").to_owned())
    };
    let leader = node("leader").expect("one leads");
    let force =
        |node: &str, more: &[&str]| run(STORE, &[&["unsafe-recover", node, "--lb", &cluster.lb], more].concat());
    let (status, said) = force(&leader, &["--confirmed"]);
    assert!(status == 75 && said.contains("the leader is heard"), "{said}");
    assert_eq!(force("leader", &[]).0, 64, "a name is 16 digits");

    first.kill();
    let _second = cluster.server("second");
    // it holds less than was acknowledged, so it never leads by itself
    let mut left = None;
    until("it registers", || {
        left = node("learner").or_else(|| node("outside"));
        left.is_some()
    });
    let left = left.expect("it was waited for");
    let (status, said) = force(&left, &[]);
    assert!(status == 77 && said.contains("nothing is changed yet") && said.contains("up to index"), "{said}");
    assert_eq!(cluster.status().number("forced"), Some(0));
    until("it leads", || force(&left, &["--confirmed"]).0 == 0);
    cluster.until_members(1);
    assert_eq!(cluster.client(&["get", "k"]), (0, "old".to_owned()), "what only the lost one had is lost");
    let (_, table) = run(STORE, &["status", "--lb", &cluster.lb]);
    assert!(table.contains("an operator forced a leader"), "{table}");
}
