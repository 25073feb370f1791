//! `-d` from the caller's side: when the call returns, with which status, and what runs on; and `-u`.
//!
//! Called with a role this program is the server; without one it starts itself in each role and looks. It has no test
//! harness, because a fork wants a process of one thread.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, ExitCode, Output};
use std::thread;
use std::time::{Duration, Instant};

use ringstore::config::ServerConfig;
use ringstore::ring::process::{Signal, announce_failure, announce_ready, prepare, wait_for_signal};

/// How long the server takes to start: the call must not return before.
const START: Duration = Duration::from_millis(300);
/// Longest wait for something that should happen at once.
const PATIENCE: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.as_slice() {
        [_, role, pid_file] if role.starts_with("play-") => play(role, pid_file),
        _ => {
            a_ready_server_lets_its_caller_go_and_runs_on();
            a_failed_start_has_its_status();
            root_is_given_up_for_good();
            println!("background: ok");
            ExitCode::SUCCESS
        }
    }
}

fn play(role: &str, pid_file: &str) -> ExitCode {
    if role == "play-nobody" {
        return play_nobody(pid_file);
    }
    let prepared = prepare(&config(pid_file)).expect("prepared");
    thread::sleep(START);
    match role {
        "play-ready" => {
            announce_ready();
            // once ready, a failure is no longer the caller's business
            announce_failure(9);
            while wait_for_signal() != Signal::Terminate {}
        }
        "play-failed" => {
            eprintln!("the reason");
            announce_failure(9);
        }
        "play-dead" => std::process::abort(),
        other => panic!("no such role: {other}"),
    }
    drop(prepared);
    ExitCode::SUCCESS
}

/// Becomes nobody and prints what the kernel thinks of it.
fn play_nobody(pid_file: &str) -> ExitCode {
    let config = ServerConfig { user: Some("nobody".to_owned()), daemon: false, ..config(pid_file) };
    // groups that root had must not stay
    let groups = [0, 12_345].map(rustix::process::Gid::from_raw);
    rustix::thread::set_thread_groups(&groups).expect("root may");
    let _prepared = prepare(&config).expect("prepared");
    print!("{}", fs::read_to_string("/proc/thread-self/status").expect("the kernel's word"));
    ExitCode::SUCCESS
}

fn start(role: &str, pid_file: &Path) -> (Output, Duration) {
    let begun = Instant::now();
    let output = Command::new(std::env::current_exe().expect("this program"))
        .args([role.as_ref(), pid_file.as_os_str()])
        .output()
        .expect("started");
    (output, begun.elapsed())
}

fn a_ready_server_lets_its_caller_go_and_runs_on() {
    let directory = tempfile::tempdir().expect("a directory");
    let pid_file = directory.path().join("server.pid");
    // output() waits for the end of both streams: that it returns shows that the server has let them go
    let (output, taken) = start("play-ready", &pid_file);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(taken >= START, "the call returned before the server was ready");
    let pid: i32 = fs::read_to_string(&pid_file).expect("the pid file").trim().parse().expect("a number");
    assert_eq!(fs::read_link(format!("/proc/{pid}/cwd")).expect("it runs"), Path::new("/"));
    assert_eq!(fs::read_link(format!("/proc/{pid}/fd/0")).expect("it runs"), Path::new("/dev/null"));
    let session = session_of(&pid.to_string());
    assert_ne!(session, session_of("self"), "it left our session");
    assert_ne!(session, pid, "a leader could get a terminal again");

    let process = rustix::process::Pid::from_raw(pid).expect("not zero");
    rustix::process::kill_process(process, rustix::process::Signal::TERM).expect("it runs");
    let until = Instant::now() + PATIENCE;
    while pid_file.exists() {
        assert!(Instant::now() < until, "the pid file goes with the server");
        thread::sleep(Duration::from_millis(5));
    }
}

/// The session of a process by /proc: 0 for one whose leader is outside our pid namespace, where `getsid` of rustix panics.
fn session_of(process: &str) -> i32 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).expect("it runs");
    // proc(5): the name, which may hold anything, ends with the last bracket; state, ppid, pgrp and session follow
    let (_, fields) = stat.rsplit_once(") ").expect("a name in brackets");
    fields.split(' ').nth(3).expect("a session").parse().expect("a number")
}

fn a_failed_start_has_its_status() {
    let directory = tempfile::tempdir().expect("a directory");
    let pid_file = directory.path().join("server.pid");
    let (output, _) = start("play-failed", &pid_file);
    assert_eq!(output.status.code(), Some(9), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "the reason\n");
    let (output, _) = start("play-dead", &pid_file);
    assert_eq!(output.status.code(), Some(70), "a server that dies says no word: {output:?}");
}

fn root_is_given_up_for_good() {
    if !rustix::process::geteuid().is_root() {
        println!("background: -u concerns root alone, and this is another user: not looked at");
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let open_to_all = fs::Permissions::from_mode(0o777);
    fs::set_permissions(directory.path(), open_to_all).expect("nobody writes the pid file there");
    let (output, _) = start("play-nobody", &directory.path().join("server.pid"));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let status = String::from_utf8_lossy(&output.stdout);
    for field in ["Uid:", "Gid:"] {
        let line = status.lines().find(|line| line.starts_with(field)).expect("the kernel always says it");
        // real, effective, saved, file system
        let ids: Vec<&str> = line.split_whitespace().skip(1).collect();
        assert!(ids.len() == 4 && !ids.contains(&"0"), "{line}");
    }
    let groups = status.lines().find(|line| line.starts_with("Groups:")).expect("the kernel always says it");
    assert!(!groups.split_whitespace().any(|group| group == "0" || group == "12345"), "{groups}");
    assert!(!directory.path().join("server.pid").exists(), "nobody removed it");
}

fn config(pid_file: &str) -> ServerConfig {
    ServerConfig { connections_max: 16, pid_file: Some(pid_file.into()), daemon: true, ..ServerConfig::default() }
}
