//! On a real directory: making it, its lock, its files, what is said about them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::super::{DataDir, LogFiles, LogWriter, OpenError, read};
use super::{Source, reopen};
use crate::config::Fsync;
use crate::log::Recovered;

fn open(path: &Path) -> (LogWriter<LogFiles>, Recovered, super::Read) {
    reopen(LogFiles::new(DataDir::open(path).unwrap_or_else(|error| panic!("{error}"))), Fsync::Always)
}

#[test]
fn a_log_comes_back_after_a_torn_tail_and_goes_on() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("new/data");
    let (writer, recovered, read_back) = open(&path);
    assert!(read_back.is_empty());
    let mut source = Source::new(&recovered);
    let mut writer = writer.with_file_bytes(600);
    for _ in 0..9 {
        let frame = source.frame(2, 80);
        writer.append([frame.as_slice()]).expect("room");
    }
    writer.finish().expect("synced");
    drop(writer);
    assert_eq!(fs::metadata(path.join("log.00000000000000000000")).expect("it").permissions().mode() & 0o777, 0o600);
    let mut names: Vec<_> = fs::read_dir(&path).expect("it").map(|e| e.expect("it").path()).collect();
    names.sort();
    let last = names.iter().rev().find(|name| name.display().to_string().contains("/log.")).expect("a log file");
    let whole = fs::read(last).expect("readable");
    fs::write(last, [&whole[..], &whole[64..100]].concat()).expect("writable");

    let (mut writer, recovered, read_back) = open(&path);
    assert_eq!(read_back, source.read());
    assert_eq!(recovered.cut.map(|cut| cut.bytes), Some(36));
    assert_eq!(fs::read(last).expect("readable"), whole, "the tail is gone");
    let frame = source.frame(1, 1);
    writer.append([frame.as_slice()]).expect("room");
    // a reader needs no lock and no server's leave
    let mut seen = Vec::new();
    read(&mut LogFiles::read_only(&path), &mut |_, index, entry| {
        seen.push((index, format!("{entry:?}")));
        Ok(())
    })
    .expect("whole");
    assert_eq!(seen, source.read());
}

#[test]
fn a_second_server_is_told_who_has_the_directory() {
    let dir = tempfile::tempdir().expect("a directory");
    let first = DataDir::open(dir.path()).expect("free");
    let error = DataDir::open(dir.path()).expect_err("taken");
    let said = error.to_string();
    assert!(said.contains(&format!("in use by another server (process {})", std::process::id())), "{said}");
    assert_eq!(error.exit_code(), 75);
    drop(first);
    DataDir::open(dir.path()).expect("free again");
}

#[test]
fn what_is_no_directory_is_said() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("file");
    fs::write(&file, "x").expect("writable");
    let error = DataDir::open(&file).expect_err("a file");
    assert!(matches!(error, OpenError::Open { .. }) && error.exit_code() == 73, "{error}");
    let error = DataDir::open(&file.join("below")).expect_err("below a file");
    assert!(matches!(error, OpenError::Create { .. } | OpenError::Open { .. }), "{error}");
}

#[test]
fn corruption_names_file_and_place_and_changes_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut writer, recovered, _) = open(dir.path());
    let mut source = Source::new(&recovered);
    for _ in 0..3 {
        let frame = source.frame(1, 50);
        writer.append([frame.as_slice()]).expect("room");
        writer.finish().expect("synced");
        source.durable = source.position;
    }
    drop(writer);
    let file = dir.path().join("log.00000000000000000000");
    let mut bytes = fs::read(&file).expect("readable");
    bytes[64 + 120 + 70] ^= 1;
    fs::write(&file, &bytes).expect("writable");
    let storage = LogFiles::new(DataDir::open(dir.path()).expect("free"));
    let error = super::recover(storage, Fsync::Always, super::LOG, &mut |_, _, _| Ok(())).err().expect("corrupt");
    let said = error.to_string();
    let place = format!("{} at byte 184 (position 120): the checksum of the frame's entries is wrong", file.display());
    assert!(said.contains(&place) && said.contains("store log verify"), "{said}");
    assert_eq!(error.exit_code(), 65);
    assert_eq!(fs::read(&file).expect("readable"), bytes);
}
