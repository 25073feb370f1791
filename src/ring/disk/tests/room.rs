//! Room for frames to come: where there is some, and that nobody who reads a log can tell.

use std::io;
use std::os::fd::RawFd;
use std::path::PathBuf;

use rand::SeedableRng;
use rand::rngs::StdRng;

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
fn a_frame_may_end_where_it_ends() {
    let disk = Faulty::default();
    let (mut writer, recovered, _) = reopen(disk.clone(), Fsync::Always);
    let mut source = Source::new(&recovered);
    write(&disk, &mut writer, &mut source, 0);
    let frame_of_none = source.position.0 as usize;
    let length_bytes_more = 2;
    let left = ROOM - FILE_HEADER_BYTES - source.position.0 as usize;
    write(&disk, &mut writer, &mut source, left - frame_of_none - length_bytes_more);
    assert_eq!(FILE_HEADER_BYTES + source.position.0 as usize, ROOM);
    assert_eq!(file_bytes(&disk), [ROOM], "a large sync makes no room");
    for _ in 0..2 {
        write(&disk, &mut writer, &mut source, 5);
    }
    assert_eq!(file_bytes(&disk), [2 * ROOM]);
    assert_eq!(reopen(disk, Fsync::Always).2, source.read());
}

#[test]
fn what_is_cut_before_another_file_follows_does_not_come_back() {
    for seed in 0..40 {
        let disk = Faulty::default();
        let (mut writer, recovered, _) = reopen(disk.clone(), Fsync::Always);
        let mut source = Source::new(&recovered);
        disk.0.borrow_mut().file_bytes_max = Some(600);
        for value_bytes in [50, 50, 50] {
            write(&disk, &mut writer, &mut source, value_bytes);
        }
        assert_eq!(file_bytes(&disk), [600], "the system lets it grow no more");
        // goes over room first, and then does not fit
        write(&disk, &mut writer, &mut source, 300);
        assert_eq!(disk.0.borrow().file_bytes().len(), 2);
        disk.0.borrow_mut().crash(&mut StdRng::seed_from_u64(seed));
        let (_, recovered, read) = reopen(disk, Fsync::Always);
        assert_eq!((recovered.end, read), (source.position, source.read()), "seed {seed}");
    }
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
    let first_fill = ROOM - FILE_HEADER_BYTES;
    for room in (0..3 * FILE_HEADER_BYTES + 700).chain(first_fill - 9..first_fill + 9) {
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

/// What a reader sees whose first reads are older than so many frames, and how much of the file is old.
fn read_meanwhile(frames: usize, old_bytes: usize, finish: bool) {
    let disk = Faulty::default();
    let (mut writer, recovered, _) = reopen(disk.clone(), Fsync::Always);
    let mut source = Source::new(&recovered);
    for _ in 0..3 {
        write(&disk, &mut writer, &mut source, 100);
    }
    let (seen, end) = (source.read(), source.position);
    let old = disk.0.borrow_mut().contents(Position(0)).clone();
    for _ in 0..frames {
        write(&disk, &mut writer, &mut source, 100);
    }
    if finish {
        writer.finish().expect("syncs work");
    }
    let boundary = FILE_HEADER_BYTES + end.0 as usize + old_bytes;
    let mut reader = TwoMoments { old: old[..boundary].to_vec(), size: old.len() as u64, disk, opened: 0 };
    let mut entries = Vec::new();
    let found = read(&mut reader, &mut |_, index, entry| {
        entries.push((index, format!("{entry:?}")));
        Ok(())
    });
    let found = found.unwrap_or_else(|error| panic!("{frames} frames, {old_bytes} old bytes: {error}"));
    assert!(found.cut.is_none_or(|cut| cut.is_room), "{frames} frames, {old_bytes} old bytes: {:?}", found.cut);
    if old_bytes > 0 {
        assert_eq!((found.end, entries), (end, seen));
    }
}

#[test]
fn who_reads_a_log_that_is_written_sees_its_frames_and_nothing_wrong() {
    for frames in 0..4 {
        for old_bytes in [0, 10, 64, 100, 200, 400] {
            read_meanwhile(frames, old_bytes, false);
        }
        // its file was as long as its room when it was opened
        read_meanwhile(frames, 0, true);
    }
}

#[test]
fn who_reads_a_log_finds_what_is_wrong_with_it() {
    let disk = Faulty::default();
    let (mut writer, recovered, _) = reopen(disk.clone(), Fsync::Always);
    let mut source = Source::new(&recovered);
    let mut ends = Vec::new();
    for _ in 0..5 {
        write(&disk, &mut writer, &mut source, 100);
        ends.push(FILE_HEADER_BYTES + source.position.0 as usize);
    }
    let whole = disk.0.borrow_mut().contents(Position(0)).clone();
    let found = |at: usize, bytes: &[u8]| {
        let mut disk = disk.clone();
        let mut damaged = whole.clone();
        damaged[at..at + bytes.len()].copy_from_slice(bytes);
        *disk.0.borrow_mut().contents(Position(0)) = damaged;
        read(&mut disk, &mut |_, _, _| Ok(()))
    };
    // a byte, a whole frame, and the last one in the place of an earlier one
    assert!(found(ends[0] + 90, &[0]).is_err());
    assert!(found(ends[0], &vec![0; ends[1] - ends[0]]).is_err());
    let last = whole[ends[3]..ends[4]].to_vec();
    assert!(found(ends[1], &last).is_err());
    // nothing says of the last one that it was durable
    let torn = found(ends[4] - 1, &[0]).unwrap_or_else(|error| panic!("{error}"));
    assert!(torn.cut.is_some_and(|cut| !cut.is_room));
}

/// Read for the first time, the beginning of the file is of an older moment than the rest.
struct TwoMoments {
    old: Vec<u8>,
    /// How long the file is when it is opened for the first time.
    size: u64,
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
        let (name, bytes) = self.disk.open(name)?;
        Ok(((self.opened, name), if self.opened == 1 { self.size } else { bytes }))
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
