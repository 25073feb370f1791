//! `store demo` as a user runs it, and what the demo is for: a client that goes on when the leader is killed, the status and
//! the check of the servers' data. Real processes; nothing of them is left.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ringstore::control::json::Value;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

const STORE: &str = env!("CARGO_BIN_EXE_store");
const CLIENT: &str = env!("CARGO_BIN_EXE_client");
/// Longest wait for something that should happen soon.
const PATIENCE: Duration = Duration::from_secs(30);

/// One demo at a time: each would like to have the usual ports.
static ALONE: Mutex<()> = Mutex::new(());

/// A demo that runs, in a directory of its own; killed when it is dropped.
struct Demo {
    process: Child,
    base: tempfile::TempDir,
    /// What it said until it was ready.
    said: String,
    lines: BufReader<std::process::ChildStdout>,
    _alone: MutexGuard<'static, ()>,
}

fn pid(number: u32) -> Pid {
    Pid::from_raw(number.cast_signed()).expect("a process")
}

fn lives(number: u32) -> bool {
    test_kill_process(pid(number)).is_ok()
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

impl Demo {
    fn start(arguments: &[&str]) -> Self {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let base = tempfile::tempdir().expect("a directory");
        let mut process = Command::new(STORE)
            .arg("demo")
            .args(arguments)
            .env("TMPDIR", base.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("started");
        let mut lines = BufReader::new(process.stdout.take().expect("it is piped"));
        let mut said = String::new();
        while !said.contains("Ctrl-C ends") {
            assert!(lines.read_line(&mut said).expect("its words") > 0, "it ended before it was ready: {said}");
        }
        Self { process, base, said, lines, _alone: alone }
    }

    /// Address and process of those that it calls so.
    fn processes(&self, name: &str) -> Vec<(SocketAddr, u32)> {
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let row = |line: &str| -> Option<(SocketAddr, u32)> {
            let words = words(line.trim_start().strip_prefix(name)?);
            let [address, pid, number] = words.as_slice() else { return None };
            (pid == "pid").then(|| (address.parse().expect("an address"), number.parse().expect("a number")))
        };
        self.said.lines().filter_map(row).collect()
    }

    fn lb(&self) -> String {
        self.processes("load balancer")[0].0.to_string()
    }

    fn children(&self) -> Vec<u32> {
        ["load balancer", "leader", "follower"].iter().flat_map(|name| self.processes(name)).map(|one| one.1).collect()
    }

    fn call(&self, program: &str, arguments: &[&str]) -> (i32, String) {
        let Output { status, stdout, stderr } =
            Command::new(program).args(arguments).args(["--lb", &self.lb()]).output().expect("started");
        let text = String::from_utf8([stdout, stderr].concat()).expect("a text");
        (status.code().expect("not killed"), text)
    }

    fn client(&self, arguments: &[&str]) -> (i32, String) {
        self.call(CLIENT, arguments)
    }

    fn status(&self) -> Value {
        let (_, text) = self.call(STORE, &["status", "--json"]);
        Value::parse(&text).unwrap_or_else(|| panic!("no JSON: {text}"))
    }

    /// Sends a signal and waits for the end.
    fn end(&mut self, signal: Signal) -> ExitStatus {
        kill_process(pid(self.process.id()), signal).expect("it runs");
        let mut ended = None;
        until("it ends", || {
            ended = self.process.try_wait().expect("a child");
            ended.is_some()
        });
        ended.expect("it was waited for")
    }

    fn files(&self) -> usize {
        fs::read_dir(self.base.path()).expect("a directory").count()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A conversation in plain text, as by nc.
fn talk(server: SocketAddr, say: &str, end: &str) -> String {
    let mut stream = TcpStream::connect(server).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time");
    stream.write_all(say.as_bytes()).expect("sent");
    let mut answer = String::new();
    let mut buffer = [0; 256];
    while !answer.ends_with(end) {
        let read = stream.read(&mut buffer).expect("an answer");
        assert!(read > 0, "it closed after {answer:?}");
        answer.push_str(std::str::from_utf8(&buffer[..read]).expect("a text"));
    }
    answer
}

#[test]
fn a_demo_serves_survives_its_leader_and_leaves_nothing() {
    let mut demo = Demo::start(&[]);
    let (leader, followers) = (demo.processes("leader"), demo.processes("follower"));
    assert_eq!((leader.len(), followers.len()), (1, 2), "{}", demo.said);
    assert_eq!(demo.client(&["set", "greeting", "hello, world"]), (0, "STORED\n".to_owned()));
    assert_eq!(demo.client(&["get", "greeting"]), (0, "hello, world".to_owned()));
    let follower = followers[1].0;
    let answer = talk(follower, "set n 0 0 2\r\n41\r\nincr n 1\r\nget n\r\n", "END\r\n");
    assert_eq!(answer, "STORED\r\n42\r\nVALUE n 0 2\r\n42\r\nEND\r\n", "a follower takes everything");
    // a machine with much to do may leave a server out for a while
    let mut table = String::new();
    until("it survives the loss of one", || {
        let (status, text) = demo.call(STORE, &["status"]);
        table = text;
        status == 0 && table.contains("survives the loss of 1 server")
    });
    for (address, _) in leader.iter().chain(&followers) {
        assert!(table.contains(&address.to_string()), "{address}: {table}");
    }
    let all_alike = || matches!(demo.call(STORE, &["verify"]), (0, text) if text.starts_with("equal: 3 servers"));
    until("all three hold the same", all_alike);
    let epoch = demo.status().number("epoch").expect("an epoch");
    assert_eq!(talk(follower, "stats cluster\r\n", "END\r\n").matches("STAT role ").count(), 1);

    kill_process(pid(leader[0].1), Signal::KILL).expect("it runs");
    // a client that comes now finds whoever leads next; the dead one's port may still have taken its connection
    let again = ["set", "greeting", "still here", "--timeout", "20", "--resend"];
    assert_eq!(demo.client(&again), (0, "STORED\n".to_owned()));
    assert_eq!(
        demo.client(&["get", "greeting", "n", "--timeout", "20"]),
        (0, "greeting still here\nn 42\n".to_owned())
    );
    until("it is without the dead one", || demo.status().number("epoch").is_some_and(|now| now > epoch));
    let (status, text) = demo.call(STORE, &["verify", "--timeout", "30"]);
    assert!(status == 0 && text.starts_with("equal: "), "{text}");
    until("the dead one is back, as a member", || demo.status().number("survives_losses") == Some(1));
    until("all three hold the same again", all_alike);

    let back = demo.status();
    let pids: Vec<u32> =
        back.list("servers").iter().map(|one| one.text("address").expect("an address")).map(pid_at).collect();
    let balancer = demo.processes("load balancer")[0].1;
    let status = demo.end(Signal::TERM);
    assert_eq!(status.code(), Some(0));
    let mut rest = String::new();
    demo.lines.read_to_string(&mut rest).expect("its last words");
    for words in ["was killed by signal 9", " members in epoch ", " runs again", "All processes are ended"] {
        assert!(rest.contains(words), "{words}: {rest}");
    }
    for child in pids.into_iter().chain([balancer]) {
        assert!(!lives(child), "{child} is left");
    }
    assert_eq!(demo.files(), 0, "its directory is left");
}

/// The process that listens there.
fn pid_at(address: &str) -> u32 {
    let stats = talk(address.parse().expect("an address"), "stats\r\n", "END\r\n");
    let line = stats.lines().find_map(|line| line.strip_prefix("STAT pid ")).expect("a pid");
    line.parse().expect("a number")
}

#[test]
fn children_do_not_outlive_a_demo_that_is_killed() {
    let mut demo = Demo::start(&["--servers", "2"]);
    let children = demo.children();
    assert_eq!(children.len(), 3, "{}", demo.said);
    assert_eq!(demo.end(Signal::KILL).signal(), Some(9));
    until("the kernel ends its children", || {
        // who has nobody left to wait for it may stay a zombie, where the first process of the machine takes no care of it
        children.iter().all(|&child| !lives(child) || is_zombie(child))
    });
}

fn is_zombie(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z')))
}

#[test]
fn ports_that_are_taken_are_left_alone() {
    let taken: Vec<_> = [11200, 11211].iter().map(|port| TcpListener::bind(("127.0.0.1", *port))).collect();
    let mut demo = Demo::start(&["--servers", "1"]);
    let (balancer, leader) = (demo.processes("load balancer"), demo.processes("leader"));
    assert_ne!(balancer[0].0.port(), 11200);
    assert_ne!(leader[0].0.port(), 11211);
    drop(taken);
    assert_eq!(demo.client(&["set", "k", "v"]), (0, "STORED\n".to_owned()), "one server of one is enough");
    let (status, table) = demo.call(STORE, &["status"]);
    assert!(status == 0 && table.contains("does not survive the loss of its only server"), "{table}");
    assert_eq!(demo.end(Signal::INT).code(), Some(0));
}

fn refused(base: &Path, limit: &str) -> (i32, String) {
    let script = format!("{limit} exec \"$0\" demo");
    let mut command = Command::new("sh");
    command.args(["-c", &script, STORE]).env("TMPDIR", base).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut process = command.spawn().expect("a shell");
    let end = Instant::now() + PATIENCE;
    while process.try_wait().expect("a child").is_none() {
        if Instant::now() >= end {
            process.kill().expect("it runs");
        }
        thread::sleep(Duration::from_millis(5));
    }
    let output = process.wait_with_output().expect("it has ended");
    (output.status.code().unwrap_or(-1), String::from_utf8(output.stderr).expect("a text"))
}

#[test]
fn a_demo_that_cannot_start_says_why_and_leaves_nothing() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let base = tempfile::tempdir().expect("a directory");
    // the load balancer has enough of them, a server wants more for its clients
    let (status, said) = refused(base.path(), "ulimit -n 200;");
    assert_eq!(status, 71, "{said}");
    assert!(said.contains("ended with status 71 before it was ready") && said.contains("open files"), "{said}");
    assert_eq!(fs::read_dir(base.path()).expect("a directory").count(), 0, "its directory is left");
    let (status, said) = refused(&base.path().join("none"), "");
    assert!(status == 73 && said.contains("TMPDIR"), "{said}");
}
