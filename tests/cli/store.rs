//! The server program up to the point where it would serve.

use std::os::unix::fs::symlink;
use std::process::{Command, Output, Stdio};

const STORE: &str = env!("CARGO_BIN_EXE_store");

fn run(program: &std::path::Path, arguments: &[&str]) -> Output {
    Command::new(program).args(arguments).stdin(Stdio::null()).output().expect("started")
}

fn store(arguments: &[&str]) -> (i32, String, String) {
    seen(&run(STORE.as_ref(), arguments))
}

fn memcached(arguments: &[&str]) -> (i32, String, String) {
    let directory = tempfile::tempdir().expect("a directory");
    let link = directory.path().join("memcached");
    symlink(STORE, &link).expect("a link");
    seen(&run(&link, arguments))
}

fn seen(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().expect("not killed"), text(&output.stdout), text(&output.stderr))
}

#[test]
fn help_and_versions_are_printed() {
    let (status, help, _) = store(&["--help"]);
    assert_eq!(status, 0);
    for word in ["addsrv", "memcached", "addlb", "demo", "status", "verify"] {
        assert!(help.contains(word), "{word}: {help}");
    }
    let (status, help, _) = store(&["addsrv", "--help"]);
    assert_eq!(status, 0);
    for word in
        ["--data-dir", "--fsync", "--lb", "--advertise", "--cluster-key-file", "127.0.0.1", "Refused, with the reason"]
    {
        assert!(help.contains(word), "{word}: {help}");
    }
    assert_eq!(store(&["--version"]).1, format!("store {}\n", env!("CARGO_PKG_VERSION")));
    let (status, help, _) = memcached(&["-h"]);
    assert_eq!((status, help.lines().next()), (0, Some("memcached 1.6.45")));
    assert_eq!(memcached(&["-V"]).1, "memcached 1.6.45\n");
    assert!(memcached(&["-i"]).1.contains("Apache License"));
}

#[test]
fn a_wrong_command_line_is_64() {
    for arguments in [
        &["addsrv", "-S"][..],
        &["addsrv", "-o", "bogus"],
        &["addsrv", "-t", "0"],
        &["no-such-command"],
        &["demo", "--servers", "0"],
        &["status", "now"],
        &["addsrv", "--lb", "127.0.0.1", "--evict"],
    ] {
        let (status, stdout, stderr) = store(arguments);
        assert_eq!((status, stdout.as_str()), (64, ""), "{arguments:?}");
        assert!(!stderr.is_empty());
    }
    assert_eq!(store(&[]).0, 64);
    let (status, _, stderr) = memcached(&["-o", "ext_path=/tmp/x:1G"]);
    assert_eq!(status, 64);
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.starts_with("memcached: -o ext_path: external storage"), "{stderr}");
}

#[test]
fn a_pid_file_that_cannot_be_written_is_73() {
    let directory = tempfile::tempdir().expect("a directory");
    let pid_file = directory.path().join("none").join("server.pid");
    let pid_file = pid_file.to_str().expect("a plain path");
    let (status, _, stderr) = memcached(&["-P", pid_file]);
    assert_eq!(status, 73, "{stderr}");
    assert!(stderr.contains(pid_file), "{stderr}");
}

#[test]
fn a_start_in_the_background_that_fails_is_told_to_the_caller() {
    let directory = tempfile::tempdir().expect("a directory");
    let pid_file = directory.path().join("none").join("server.pid");
    let pid_file = pid_file.to_str().expect("a plain path");
    let (status, _, stderr) = memcached(&["-d", "-P", pid_file]);
    assert_eq!(status, 73, "{stderr}");
    assert!(stderr.contains("-P cannot write"), "{stderr}");
}
