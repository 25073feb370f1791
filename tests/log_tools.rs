//! `store log dump` and `store log verify` on real directories.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use ringstore::config::Fsync;
use ringstore::log::{Entry, Epoch, FrameBuilder, FrameStart, LogId, LogIndex, Position, Removed};
use ringstore::ring::disk::{DataDir, LogFiles, LogWriter, recover};
use ringstore::time::{Expiry, Seconds, Time};

#[path = "../src/bin/store/log_tools.rs"]
#[expect(dead_code, reason = "the help text is the program's")]
mod log_tools;

use log_tools::{DumpForm, dump, verify};

const ENTRIES: [Entry<'static>; 6] = [
    Entry::Put { key: b"a", value: b"one two", flags: 0, expiry: Expiry::NEVER, cas: None, bits: 0 },
    Entry::Put { key: b"b\"", value: b"\x00\xff\xfe", flags: 7, expiry: Expiry::from_raw(9), cas: Some(1), bits: 2 },
    Entry::Delete { key: b"a", reason: Removed::Expired },
    Entry::Touch { key: b"b\"", expiry: Expiry::NEVER },
    Entry::FlushAt { time: Seconds(5) },
    Entry::Put { key: b"c", value: "q\"\\\n\u{1}é".as_bytes(), flags: 0, expiry: Expiry::NEVER, cas: None, bits: 0 },
];

/// A log of `ENTRIES`, two frames of three; the writer keeps the directory locked.
fn log_in(dir: &Path) -> LogWriter<LogFiles> {
    let files = LogFiles::new(DataDir::open(dir).expect("free"));
    let (mut writer, _) = recover(files, Fsync::Never, LogId(0xAB), &mut |_, _, _| Ok(())).expect("a new log");
    let mut builder = FrameBuilder::new();
    for (number, entries) in ENTRIES.chunks(3).enumerate() {
        let position = writer.written();
        let (first_index, time) = (LogIndex(1 + 3 * number as u64), Time(10 + number as u64));
        builder.begin(FrameStart { epoch: Epoch(1), first_index, position, durable_upto: position, time });
        for entry in entries {
            builder.push(entry);
        }
        writer.append([builder.take().as_slice()]).expect("room");
    }
    writer
}

fn dumped(dir: &Path, form: DumpForm) -> Vec<u8> {
    let mut out = Vec::new();
    dump(dir, form, &mut out).expect("a whole log");
    out
}

#[test]
fn dump_prints_every_set_while_the_server_runs() {
    let dir = tempfile::tempdir().expect("a directory");
    let _server = log_in(dir.path());
    let expected = [&b"1 a one two\n2 b\" \x00\xff\xfe\n6 c q\"\\\n\x01"[..], "é\n".as_bytes()].concat();
    assert_eq!(dumped(dir.path(), DumpForm::Text), expected);
}

#[test]
fn dump_json_prints_everything() {
    let dir = tempfile::tempdir().expect("a directory");
    let end = log_in(dir.path()).written();
    let text = String::from_utf8(dumped(dir.path(), DumpForm::Json)).expect("JSON is UTF-8");
    let first = r#""frame":{"epoch":1,"position":0,"durable_upto":0,"time_ns":10}}"#;
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 6);
    let set = r#"{"index":1,"op":"set","key":"a","flags":0,"expiry":0,"cas":1,"bits":0,"value":"one two","#;
    assert_eq!(lines[0], format!("{set}{first}"));
    let set = r#"{"index":2,"op":"set","key":"b\"","flags":7,"expiry":9,"cas":1,"bits":2,"value_base64":"AP/+","#;
    assert_eq!(lines[1], format!("{set}{first}"));
    assert_eq!(lines[2], format!(r#"{{"index":3,"op":"delete","key":"a","reason":"expired",{first}"#));
    assert!(lines[3].starts_with(r#"{"index":4,"op":"touch","key":"b\"","expiry":0,"frame":{"epoch":1,"position":"#));
    assert!(lines[4].starts_with(r#"{"index":5,"op":"flush_at","time":5,"#));
    assert!(lines[5].contains(r#","value":"q\"\\\n\u0001é","#), "{}", lines[5]);
    assert!(end > Position(0));
}

#[test]
fn verify_counts_and_finds_torn_tails_and_corruption() {
    let dir = tempfile::tempdir().expect("a directory");
    let end = log_in(dir.path()).written().0;
    let mut out = Vec::new();
    verify(dir.path(), &mut out).expect("whole");
    let said = String::from_utf8(out).expect("text");
    for line in ["files 1", "frames 2", "entries 6", "first_index 1", "last_index 6", "torn_tail_bytes 0"] {
        assert!(said.lines().any(|l| l == line), "{line} in {said}");
    }
    assert!(said.contains(&format!("bytes {end}\n")) && said.starts_with("log 000000000000000000000000000000ab\n"));

    let file = dir.path().join("log.00000000000000000000");
    let whole = fs::read(&file).expect("readable");
    fs::write(&file, &whole[..whole.len() - 5]).expect("writable");
    let mut out = Vec::new();
    verify(dir.path(), &mut out).expect("a torn tail is no corruption");
    let said = String::from_utf8(out).expect("text");
    assert!(said.contains("entries 3\n") && said.contains("(the file ends within a frame)"), "{said}");

    let mut damaged = whole;
    damaged[64 + 64 + 2] ^= 4;
    fs::write(&file, &damaged).expect("writable");
    let error = verify(dir.path(), io::sink()).expect_err("below the watermark of the second frame");
    assert_eq!(error.exit_code(), 65);
    assert!(error.to_string().contains("at byte 64 (position 0)"), "{error}");
}

#[test]
fn a_directory_without_a_log_is_said() {
    let dir = tempfile::tempdir().expect("a directory");
    for path in [dir.path().to_path_buf(), dir.path().join("none")] {
        let error = dump(&path, DumpForm::Text, io::sink()).expect_err("nothing there");
        assert_eq!(error.exit_code(), 66);
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    }
}

/// An output whose reader has gone, or whose disk is full.
struct Failing(io::ErrorKind);

impl Write for Failing {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(self.0.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_closed_output_is_quiet_and_a_full_one_is_not() {
    let dir = tempfile::tempdir().expect("a directory");
    drop(log_in(dir.path()));
    for form in [DumpForm::Text, DumpForm::Json] {
        dump(dir.path(), form, Failing(io::ErrorKind::BrokenPipe)).expect("quiet");
        let error = dump(dir.path(), form, Failing(io::ErrorKind::StorageFull)).expect_err("said");
        assert_eq!(error.exit_code(), 74);
    }
    verify(dir.path(), Failing(io::ErrorKind::BrokenPipe)).expect("quiet");
}
