//! On a real directory: names and modes of files, the lock, and a server's directory that stands alone or not.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::super::open;
use super::*;
use crate::ring::disk::{DataDir, LogFiles};

/// A server that is started on a directory, writes, and takes a keystore.
fn used(path: &std::path::Path) -> Log {
    let (mut server, boot) = start(open(path, Fsync::Always).unwrap_or_else(|e| panic!("{e}"))).expect("it starts");
    let record = NodeRecord { node: boot.record.node, ..record(1, 1, Doubt::None) };
    server.begin(&boot, record).expect("the disk works");
    let mut log = Log::default();
    for _ in 0..12 {
        let frame = log.grow(1, server.persisted);
        server.append(&frame, 0).expect("the disk works");
        sync(&mut server);
    }
    server.commit(log.frames[8].mark()).expect("the disk works");
    server.disk.checkpoint_log_bytes = 1;
    for _ in 0..20 {
        let epochs_below = |at| log.epochs_below(at);
        let around = Surroundings { writes: &server.writes, epochs_below: &epochs_below, log_needed_from: None };
        server.disk.advance(server.now, &around).expect("the disk works");
        sync(&mut server);
        server.disk.checkpoint_log_bytes = u64::MAX;
    }
    server.disk.finish(log.frames[8].mark()).expect("the disk works");
    log
}

/// As the ring does it.
fn sync(server: &mut Server<LogFiles>) {
    let fdatasync = |descriptor| {
        let path = format!("/proc/self/fd/{descriptor}");
        fs::File::open(path).and_then(|file| file.sync_data()).map_or(-5, |()| 0)
    };
    while let Some(descriptor) = server.disk.next_sync(server.now) {
        server.disk.on_synced(server.now, fdatasync(descriptor)).expect("the disk works");
    }
    while let Some(descriptor) = server.disk.next_keystore_sync() {
        server.disk.on_keystore_synced(fdatasync(descriptor)).expect("the disk works");
    }
    server.take_events();
}

#[test]
fn a_directory_holds_what_the_format_says_and_comes_back() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = used(dir.path());
    let mut names: Vec<String> = fs::read_dir(dir.path())
        .expect("it")
        .map(|e| e.expect("it").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names.retain(|name| !name.starts_with("log."));
    assert_eq!(names, ["committed", "keystore", "lock", "record", "record.spare", "running"]);
    for name in &names {
        let mode = fs::metadata(dir.path().join(name)).expect("it").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    assert!(!dir.path().join("log.00000000000000000000").exists(), "its entries are in the keystore");
    assert_eq!(fs::read_to_string(dir.path().join("running")).expect("text"), "stopped\n");
    let opened = open(dir.path(), Fsync::Always).unwrap_or_else(|e| panic!("{e}"));
    assert!(opened.node() != NodeId(0) && opened.incarnation() == Incarnation(2));
    let (mut server, boot) = start(opened).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!((boot.end, boot.applied, boot.doubt), (log.end(), log.frames[8].mark(), Doubt::None));
    server.commit(boot.end).expect("the disk works");
    assert_eq!(items(&server.writes), content(&log.frames));
}

#[test]
fn a_lock_that_is_let_go_in_time_is_waited_for() {
    let dir = tempfile::tempdir().expect("a directory");
    let held = DataDir::open(dir.path()).expect("free");
    let guardian = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(30));
        drop(held);
    });
    assert!(open(dir.path(), Fsync::Always).is_ok());
    guardian.join().expect("it ends");
    let _held = DataDir::open(dir.path()).expect("free");
    let error = open(dir.path(), Fsync::Always).err().expect("taken");
    assert!(matches!(error, OpenError::Locked { .. }), "{error}");
}

#[test]
fn a_server_that_stands_alone_does_not_take_a_clusters_directory() {
    let dir = tempfile::tempdir().expect("a directory");
    used(dir.path());
    let error = crate::ring::log_disk::open(dir.path(), Fsync::Always).err().expect("refused");
    assert!(matches!(error, OpenError::OfCluster { cluster: CLUSTER, .. }) && error.exit_code() == 78, "{error}");
    assert!(error.to_string().contains("--lb"), "{error}");
}
