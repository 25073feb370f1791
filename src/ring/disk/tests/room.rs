//! Room for frames to come: where there is some, and that nobody who reads a log can tell.

use std::io;
use std::os::fd::RawFd;
use std::path::PathBuf;

use super::super::{LogStorage, LogWriter, read};
use super::faulty::Faulty;
use super::{Source, reopen};
use crate::config::{self, Fsync};
use crate::log::Position;
use crate::log::layout::file::BYTES as FILE_HEADER_BYTES;
use crate::time::{Duration, Time};

const ROOM: usize = config::LOG_ROOM_BYTES as usize;

/// Writes a frame of one value and syncs it.
fn write(disk: &Faulty, writer: &mut LogWriter<Faulty>, source: &mut Source, value_bytes: usize) {
    let frame = source.frame(1, value_bytes);
    let appended = writer.append([frame.as_slice()]).expect("full is not fatal");
    if let Some(written) = appended.refused {
        source.refuse(written);
    }
    if let Some(request) = writer.next_sync(Time(0)) {
        writer.on_synced(Time(0), disk.fdatasync(request.descriptor)).expect("syncs work");
        source.durable = writer.synced();
    }
}

fn file_bytes(disk: &Faulty) -> Vec<usize> {
    disk.0.borrow().file_bytes().into_iter().map(|(_, bytes)| bytes).collect()
}

#[test]
fn a_file_grows_by_much_and_seldom_while_syncs_carry_little() {
    let disk = Faulty::default();
    let (mut writer, recovered, _) = reopen(disk.clone(), Fsync::Always);
    let mut source = Source::new(&recovered);
    assert_eq!(file_bytes(&disk), [FILE_HEADER_BYTES], "nothing is made ahead of the first frame");
    let mut sizes = Vec::new();
    while source.position.0 < 3 * config::LOG_ROOM_BYTES {
        write(&disk, &mut writer, &mut source, 500);
        sizes.extend(file_bytes(&disk));
        let left = sizes.last().expect("just pushed") - FILE_HEADER_BYTES - source.position.0 as usize;
        assert!(left as u64 >= config::LOG_ROOM_BYTES_MIN, "the next frames find room");
    }
    sizes.dedup();
    assert_eq!(sizes, [ROOM, 2 * ROOM, 3 * ROOM, 4 * ROOM]);
    writer.finish().expect("syncs work");
    assert_eq!(file_bytes(&disk), [FILE_HEADER_BYTES + source.position.0 as usize], "all of it is given back");
    assert_eq!(reopen(disk, Fsync::Always).2, source.read());
}

#[test]
fn there_is_none_where_writes_wait_for_no_sync_or_syncs_carry_much() {
    for (fsync, value_bytes) in
        [(Fsync::Never, 100), (Fsync::Interval(Duration::from_millis(1)), 100), (Fsync::Always, 40_000)]
    {
        let disk = Faulty::default();
        let (mut writer, recovered, _) = reopen(disk.clone(), fsync);
        let mut source = Source::new(&recovered);
        for _ in 0..20 {
            write(&disk, &mut writer, &mut source, value_bytes);
            assert_eq!(file_bytes(&disk), [FILE_HEADER_BYTES + source.position.0 as usize]);
        }
    }
}

#[test]
fn large_frames_fill_it_and_go_on_behind_it() {
    let disk = Faulty::default();
    let (mut writer, recovered, _) = reopen(disk.clone(), Fsync::Always);
    let mut source = Source::new(&recovered);
    disk.0.borrow_mut().interrupts = true;
    disk.0.borrow_mut().write_bytes_max = Some(9_999);
    for value_bytes in [10, 2 * ROOM, 10, 10, 60_000, ROOM, 0, 0] {
        write(&disk, &mut writer, &mut source, value_bytes);
    }
    let (_, recovered, read) = reopen(disk, Fsync::Always);
    assert_eq!((recovered.end, read), (source.position, source.read()));
    assert!(recovered.cut.is_some_and(|cut| cut.is_room), "what stays behind them is no torn frame");
}

#[test]
fn a_kernel_that_only_appends_has_none() {
    let disk = Faulty::default();
    let (mut writer, recovered, _) = reopen(disk.clone(), Fsync::Always);
    let mut source = Source::new(&recovered);
    disk.0.borrow_mut().only_appends = true;
    write(&disk, &mut writer, &mut source, 100);
    for _ in 0..20 {
        write(&disk, &mut writer, &mut source, 100);
        assert_eq!(file_bytes(&disk), [FILE_HEADER_BYTES + source.position.0 as usize], "it was tried once");
    }
    let (_, recovered, read) = reopen(disk, Fsync::Always);
    assert_eq!((recovered.cut, read), (None, source.read()));
}

#[test]
fn only_the_last_file_has_some() {
    let disk = Faulty::default();
    let (writer, recovered, _) = reopen(disk.clone(), Fsync::Always);
    let mut writer = writer.with_file_bytes(1_000);
    let mut source = Source::new(&recovered);
    for _ in 0..10 {
        write(&disk, &mut writer, &mut source, 200);
    }
    let files = disk.0.borrow().file_bytes();
    assert_eq!(files.len(), 4);
    for pair in files.windows(2) {
        assert_eq!(FILE_HEADER_BYTES as u64 + pair[1].0.0 - pair[0].0.0, pair[0].1 as u64);
    }
    assert_eq!(files[3].1, 1_000, "no file is larger than it may be");
    assert_eq!(reopen(disk, Fsync::Always).2, source.read());
}

#[test]
fn a_full_disk_refuses_whole_frames_also_behind_room() {
    for room in (0..3 * FILE_HEADER_BYTES + 700).chain(ROOM - 9..ROOM + 9) {
        let disk = Faulty::default();
        let (writer, recovered, _) = reopen(disk.clone(), Fsync::Always);
        let mut writer = writer.with_file_bytes(if room < ROOM / 2 { 600 } else { 1 << 30 });
        let mut source = Source::new(&recovered);
        disk.0.borrow_mut().room = Some(room);
        for _ in 0..20 {
            let value_bytes = if room < ROOM / 2 { 50 } else { 14_000 };
            write(&disk, &mut writer, &mut source, value_bytes);
            assert_eq!((writer.written(), writer.synced()), (source.position, source.position), "room {room}");
        }
        disk.0.borrow_mut().room = None;
        write(&disk, &mut writer, &mut source, 300);
        writer.finish().expect("syncs work");
        let (_, recovered, read) = reopen(disk, Fsync::Always);
        assert_eq!((recovered.cut, read), (None, source.read()), "room {room}");
    }
}

#[test]
fn who_reads_a_log_that_is_written_sees_its_frames_and_nothing_wrong() {
    let disk = Faulty::default();
    let (mut writer, recovered, _) = reopen(disk.clone(), Fsync::Always);
    let mut source = Source::new(&recovered);
    for _ in 0..3 {
        write(&disk, &mut writer, &mut source, 100);
    }
    let (seen, end) = (source.read(), source.position);
    let old = disk.0.borrow_mut().contents(Position(0)).clone();
    for _ in 0..3 {
        write(&disk, &mut writer, &mut source, 100);
    }
    let boundary = FILE_HEADER_BYTES + end.0 as usize + 10;
    let mut reader = TwoMoments { old: old[..boundary].to_vec(), disk, opened: 0 };
    let mut entries = Vec::new();
    let found = read(&mut reader, &mut |_, index, entry| {
        entries.push((index, format!("{entry:?}")));
        Ok(())
    });
    let found = found.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((found.cut, found.end, entries), (None, end, seen));
}

/// Read for the first time, the beginning of the file is of an older moment than the rest.
struct TwoMoments {
    old: Vec<u8>,
    disk: Faulty,
    opened: u32,
}

impl LogStorage for TwoMoments {
    type File = (u32, Position);

    fn list(&mut self) -> io::Result<Vec<Position>> {
        self.disk.list()
    }

    fn open(&mut self, name: Position) -> io::Result<((u32, Position), u64)> {
        self.opened += 1;
        self.disk.open(name).map(|(name, bytes)| ((self.opened, name), bytes))
    }

    fn read(&mut self, file: &(u32, Position), offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let done = self.disk.read(&file.1, offset, into)?;
        if file.0 == 1 && (offset as usize) < self.old.len() {
            let old = &self.old[offset as usize..];
            let taken = old.len().min(done);
            into[..taken].copy_from_slice(&old[..taken]);
        }
        Ok(done)
    }

    fn path(&self, name: Position) -> PathBuf {
        self.disk.path(name)
    }

    fn create(&mut self, _: Position) -> io::Result<(u32, Position)> {
        unreachable!("it only reads")
    }

    fn append(&mut self, _: &(u32, Position), _: &[u8]) -> io::Result<usize> {
        unreachable!("it only reads")
    }

    fn write_over(&mut self, _: &(u32, Position), _: u64, _: &[u8]) -> io::Result<usize> {
        unreachable!("it only reads")
    }

    fn truncate(&mut self, _: &(u32, Position), _: u64) -> io::Result<()> {
        unreachable!("it only reads")
    }

    fn sync(&mut self, _: &(u32, Position)) -> io::Result<()> {
        unreachable!("it only reads")
    }

    fn sync_dir(&mut self) -> io::Result<()> {
        unreachable!("it only reads")
    }

    fn remove(&mut self, _: Position) -> io::Result<()> {
        unreachable!("it only reads")
    }

    fn descriptor(&self, _: &(u32, Position)) -> RawFd {
        unreachable!("it only reads")
    }
}
