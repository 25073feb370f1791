//! `store log dump`, `store log verify` and `store keystore dump` on real directories, of servers alone and in a cluster.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use ringstore::cluster::{Configuration, Doubt, EpochStart, Frame, Mark, Member, NodeRecord};
use ringstore::config::Fsync;
use ringstore::log::{Entry, Epoch, FrameBuilder, FrameStart, Incarnation, LogId, LogIndex, NodeId, Position, Removed};
use ringstore::ring::disk::{DataDir, LogFiles, LogWriter, recover};
use ringstore::ring::replica_disk::{self, ReplicaDisk};
use ringstore::store::{Region, StoreConfig, create};
use ringstore::time::{Expiry, Seconds, Time};
use ringstore::writes::Writes;

#[path = "../src/bin/store/log_tools.rs"]
#[expect(dead_code, reason = "the help text is the program's")]
mod log_tools;

#[path = "../src/bin/store/keystore_tools.rs"]
#[expect(dead_code, reason = "the help text is the program's")]
mod keystore_tools;

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
    for line in
        ["files 1", "frames 2", "entries 6", "first_index 1", "last_index 6", "room_bytes 0", "torn_tail_bytes 0"]
    {
        assert!(said.lines().any(|l| l == line), "{line} in {said}");
    }
    assert!(said.contains(&format!("bytes {end}\n")) && said.starts_with("log 000000000000000000000000000000ab\n"));

    let file = dir.path().join("log.00000000000000000000");
    let whole = fs::read(&file).expect("readable");
    fs::write(&file, [whole.as_slice(), &[0; 1000]].concat()).expect("writable");
    let mut out = Vec::new();
    verify(dir.path(), &mut out).expect("room is no corruption");
    let said = String::from_utf8(out).expect("text");
    assert!(said.contains("entries 6\n") && said.contains("room_bytes 1000\ntorn_tail_bytes 0\n"), "{said}");
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

/// The write path over an empty store, of a cluster's server.
fn writes(node: NodeId, incarnation: Incarnation) -> Writes {
    let (writer, _) = create(StoreConfig {
        memory_bytes: 4 << 20,
        address_bytes: 16 << 20,
        evict: false,
        item_bytes_max: 1 << 20,
        hash_seed: 7,
        readers: 1,
        region: &mut Region::heap,
    })
    .expect("the heap has room");
    let mut writes = Writes::new(writer, true);
    writes.join(node, incarnation);
    writes
}

const CLUSTER: LogId = LogId(0xC1);

/// Frames of a leader, one for each text: `key value`, `-key` to remove it, `!` to flush.
fn frames(entries: &[(u64, &str)]) -> Vec<Frame> {
    let mut builder = FrameBuilder::new();
    let mut frames: Vec<Frame> = Vec::new();
    for (epoch, text) in entries {
        let end = frames.last().map_or(Mark::default(), Frame::mark);
        let (first_index, position) = (LogIndex(end.index.0 + 1), end.position);
        let time = Time((100 + first_index.0) * 1_000_000_000);
        builder.begin(FrameStart { epoch: Epoch(*epoch), first_index, position, durable_upto: position, time });
        let put = |key, value, expiry| Entry::Put { key, value, flags: 3, expiry, cas: None, bits: 0 };
        builder.push(&match (text.split_once(' '), text.strip_prefix('-')) {
            (Some((key, "short")), _) => put(key.as_bytes(), b"short", Expiry::from_raw(105)),
            (Some((key, value)), _) => put(key.as_bytes(), value.as_bytes(), Expiry::NEVER),
            (None, Some(key)) => Entry::Delete { key: key.as_bytes(), reason: Removed::Deleted },
            (None, None) => Entry::Flush,
        });
        frames.push(Frame::built(builder.take()));
    }
    frames
}

/// What a leader sends to one that is far behind: everything up to its fourth frame.
fn snapshot(frames: &[Frame]) -> Vec<u8> {
    let mut leader = writes(NodeId(1), Incarnation(1));
    frames.iter().for_each(|frame| leader.on_append(frame));
    leader.commit(frames[3].mark(), &mut Vec::new()).expect("room");
    let history = [0, 2].map(|number: usize| EpochStart::of(frames[number].header()));
    let mut bytes = Vec::new();
    let mut snapshot = leader.begin_snapshot(CLUSTER, &history, &mut bytes);
    while leader.go_on_snapshot(&mut snapshot, 1 << 20, &mut bytes) {}
    leader.end_snapshot(snapshot, &mut bytes);
    bytes
}

/// A server whose keystore holds four frames of two epochs, and whose log goes on in a third.
fn cluster_directory(dir: &Path) -> (ReplicaDisk, Vec<Frame>) {
    let entries = [(1, "a one"), (1, "b two"), (3, "a three"), (3, "d short"), (4, "-b"), (4, "c four"), (4, "e five")];
    let frames = frames(&entries);
    let opened = replica_disk::open(dir, Fsync::Never).expect("free");
    let (node, incarnation) = (opened.node(), opened.incarnation());
    let mut writes = writes(node, incarnation);
    let (mut disk, _) = opened.start(&mut writes).expect("an empty directory");
    let configuration = Configuration {
        cluster: CLUSTER,
        epoch: Epoch(4),
        leader: NodeId(1),
        leader_incarnation: Incarnation(1),
        members: vec![Member { node: NodeId(1), contact: String::new() }],
        min_insync: 1,
        forced: Epoch(0),
    };
    let doubt = Doubt::None;
    disk.persist(NodeRecord { node, incarnation, configuration: Some(configuration), doubt }).expect("the disk works");
    disk.begin_install(&mut writes).expect("the disk works");
    disk.install(&snapshot(&frames));
    for _ in 0..3 {
        disk.go_on_install(&mut writes).expect("the disk works");
        if disk.next_keystore_sync().is_some() {
            disk.on_keystore_synced(0).expect("as if it had been synced");
        }
    }
    for frame in &frames[4..] {
        disk.append(frame, 1).expect("the disk works");
    }
    (disk, frames)
}

fn keystore_dumped(dir: &Path, form: DumpForm) -> Vec<u8> {
    let mut out = Vec::new();
    keystore_tools::dump(dir, form, &mut out).unwrap_or_else(|error| panic!("{error}"));
    out
}

#[test]
fn a_keystore_dump_is_keystore_and_log_while_the_server_runs() {
    let dir = tempfile::tempdir().expect("a directory");
    let server = cluster_directory(dir.path());
    assert!(dir.path().join("keystore").exists());
    // d has expired by the time of the newest frame
    assert_eq!(
        String::from_utf8(keystore_dumped(dir.path(), DumpForm::Text)).expect("text"),
        "a three\nc four\ne five\n"
    );
    let json = String::from_utf8(keystore_dumped(dir.path(), DumpForm::Json)).expect("text");
    let first = r#"{"key":"a","flags":3,"expiry":0,"cas":3,"bits":0,"value":"three"}"#;
    assert_eq!(json.lines().next(), Some(first));
    assert_eq!(json.lines().count(), 3);
    drop(server);
    assert_eq!(json.as_bytes(), keystore_dumped(dir.path(), DumpForm::Json), "and when it is stopped");
}

#[test]
fn log_tools_read_a_log_that_begins_behind_a_keystore() {
    let dir = tempfile::tempdir().expect("a directory");
    let (_server, frames) = cluster_directory(dir.path());
    assert_eq!(dumped(dir.path(), DumpForm::Text), b"6 c four\n7 e five\n");
    let mut out = Vec::new();
    verify(dir.path(), &mut out).expect("whole");
    let said = String::from_utf8(out).expect("text");
    let end = format!("end_position {}", frames.last().expect("some").end().0);
    for line in ["entries 3", "first_index 5", "last_index 7", "first_epoch 3", "last_epoch 4", end.as_str()] {
        assert!(said.lines().any(|l| l == line), "{line} in {said}");
    }
    assert!(said.starts_with("log 000000000000000000000000000000c1\n"), "{said}");
}

#[test]
fn a_server_that_stands_alone_has_a_dump_too_and_damage_is_said() {
    let dir = tempfile::tempdir().expect("a directory");
    let _server = log_in(dir.path());
    let expected = ["b\" \u{0}".as_bytes(), b"\xff\xfe\n", b"c q\"\\\n\x01", "é\n".as_bytes()].concat();
    assert_eq!(keystore_dumped(dir.path(), DumpForm::Text), expected);
    let error = keystore_tools::dump(&dir.path().join("none"), DumpForm::Text, io::sink()).expect_err("nothing there");
    assert_eq!(error.exit_code(), 66);

    let dir = tempfile::tempdir().expect("a directory");
    drop(cluster_directory(dir.path()));
    let keystore = dir.path().join("keystore");
    let mut bytes = fs::read(&keystore).expect("readable");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&keystore, &bytes).expect("writable");
    let error = keystore_tools::dump(dir.path(), DumpForm::Text, io::sink()).expect_err("damaged");
    assert_eq!(error.exit_code(), 65);
    assert!(error.to_string().contains("keystore"), "{error}");
    for form in [DumpForm::Text, DumpForm::Json] {
        let dir = tempfile::tempdir().expect("a directory");
        drop(cluster_directory(dir.path()));
        keystore_tools::dump(dir.path(), form, Failing(io::ErrorKind::BrokenPipe)).expect("quiet");
        let error = keystore_tools::dump(dir.path(), form, Failing(io::ErrorKind::StorageFull)).expect_err("said");
        assert_eq!(error.exit_code(), 74);
    }
}
