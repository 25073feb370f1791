//! D4 and the fsync rule: what each failure of the disk does.

use rustix::io::Errno;

use super::super::{Appended, SyncRequest};
use super::faulty::Faulty;
use super::{Source, reopen};
use crate::config::{self, Fsync};
use crate::log::layout::file::BYTES as FILE_HEADER_BYTES;
use crate::time::{Duration, Time};

#[test]
fn short_and_interrupted_writes_go_on() {
    let disk = Faulty::default();
    let (mut writer, recovered, _) = reopen(disk.clone(), Fsync::Never);
    let mut source = Source::new(&recovered);
    disk.0.borrow_mut().write_bytes_max = Some(7);
    disk.0.borrow_mut().interrupts = true;
    let frames = [source.frame(3, 100), source.frame(1, 0)];
    let appended = writer.append(frames.iter().map(Vec::as_slice)).expect("nothing failed");
    assert_eq!(appended, Appended { persisted: Some(source.position), refused: None });
    assert_eq!(reopen(disk, Fsync::Never).2, source.read());
}

#[test]
fn a_full_disk_refuses_whole_frames_at_every_byte_and_works_again() {
    let frame_bytes = 64 + 3 + 3 + 50;
    for file_bytes in [1 << 20, 1] {
        for room in 0..=(3 * frame_bytes + 2 * FILE_HEADER_BYTES) {
            let disk = Faulty::default();
            let (writer, recovered, _) = reopen(disk.clone(), Fsync::Never);
            let mut writer = writer.with_file_bytes(file_bytes);
            let mut source = Source::new(&recovered);
            disk.0.borrow_mut().room = Some(room);
            let frames = [source.frame(1, 50), source.frame(1, 50), source.frame(1, 50)];
            assert_eq!(frames[0].len(), frame_bytes);
            let appended = writer.append(frames.iter().map(Vec::as_slice)).expect("full is not fatal");
            let header = if file_bytes == 1 { FILE_HEADER_BYTES } else { 0 };
            let fit = (0..3).take_while(|n| n * (frame_bytes + header) + frame_bytes <= room).count();
            let written = writer.written();
            assert_eq!(written.0 as usize, fit * frame_bytes, "room {room}");
            assert_eq!(appended.refused, (fit < 3).then_some(written));
            assert_eq!(appended.persisted, (fit > 0).then_some(written));
            let on_disk: usize =
                disk.0.borrow().file_bytes().iter().map(|(_, b)| b % FILE_HEADER_BYTES.max(1 << 30)).sum();
            let files = disk.0.borrow().file_bytes().len();
            assert_eq!(on_disk, fit * frame_bytes + files * FILE_HEADER_BYTES, "nothing partial remains, room {room}");

            source.refuse(written);
            disk.0.borrow_mut().room = None;
            let again = source.frame(2, 9);
            let appended = writer.append([again.as_slice()]).expect("there is space again");
            assert_eq!(appended.refused, None);
            let (_, recovered, read) = reopen(disk, Fsync::Never);
            assert_eq!((recovered.cut, read), (None, source.read()));
        }
    }
}

#[test]
fn a_file_that_may_not_grow_is_followed_by_another() {
    let disk = Faulty::default();
    let (mut writer, recovered, _) = reopen(disk.clone(), Fsync::Never);
    let mut source = Source::new(&recovered);
    disk.0.borrow_mut().file_bytes_max = Some(400);
    let frames = [(1, 50); 5].map(|(entries, bytes)| source.frame(entries, bytes));
    let appended = writer.append(frames.iter().map(Vec::as_slice)).expect("not fatal");
    assert_eq!(appended.refused, None);
    assert_eq!(disk.0.borrow().file_bytes().len(), 3);
    let written = source.position;
    let large = source.frame(1, 400);
    let appended = writer.append([large.as_slice()]).expect("not fatal");
    assert_eq!(appended.refused, Some(written), "it fits into no file");
    source.refuse(written);
    let next = source.frame(1, 1);
    assert_eq!(writer.append([next.as_slice()]).expect("room").refused, None);
    assert_eq!(reopen(disk, Fsync::Never).2, source.read());
}

#[test]
fn other_write_errors_are_fatal_and_leave_a_log_that_opens() {
    for after in 0..8 {
        let disk = Faulty::default();
        let (writer, recovered, _) = reopen(disk.clone(), Fsync::Never);
        let mut writer = writer.with_file_bytes(1);
        let mut source = Source::new(&recovered);
        disk.0.borrow_mut().fail_after = Some((after, Errno::IO));
        let frames = [source.frame(1, 50), source.frame(1, 50), source.frame(1, 50)];
        let fatal = writer.append(frames.iter().map(Vec::as_slice)).expect_err("it fails sooner or later");
        assert_eq!(fatal.exit_code(), 74);
        assert!(fatal.to_string().contains("log."), "{fatal}");
        disk.0.borrow_mut().fail_after = None;
        source.refuse(writer.written());
        assert_eq!(reopen(disk, Fsync::Never).2, source.read());
    }
}

#[test]
fn a_frame_that_cannot_be_taken_back_is_fatal() {
    let disk = Faulty::default();
    let (mut writer, recovered, _) = reopen(disk.clone(), Fsync::Never);
    let mut source = Source::new(&recovered);
    disk.0.borrow_mut().room = Some(10);
    disk.0.borrow_mut().truncate_fails = true;
    let frame = source.frame(1, 50);
    let fatal = writer.append([frame.as_slice()]).expect_err("part of a frame stays");
    assert!(fatal.to_string().starts_with("cannot take back a part of a frame from log.0: "), "{fatal}");
}

#[test]
fn a_failed_sync_is_fatal() {
    let disk = Faulty::default();
    let (mut writer, recovered, _) = reopen(disk.clone(), Fsync::Always);
    let frame = Source::new(&recovered).frame(1, 1);
    writer.append([frame.as_slice()]).expect("room");
    disk.0.borrow_mut().sync_fails = true;
    let request = writer.next_sync(Time(0)).expect("it is due");
    let fatal = writer.on_synced(Time(0), disk.fdatasync(request.descriptor)).expect_err("never tried again");
    assert!(fatal.to_string().starts_with("cannot sync log.0: "), "{fatal}");
}

#[test]
fn always_acknowledges_what_was_written_before_the_sync_was_asked_for() {
    let disk = Faulty::default();
    let (mut writer, recovered, _) = reopen(disk, Fsync::Always);
    let mut source = Source::new(&recovered);
    assert_eq!(writer.next_sync(Time(0)), None, "there is nothing to sync");
    let frame = source.frame(1, 1);
    assert_eq!(writer.append([frame.as_slice()]).expect("room"), Appended::default());
    let first = source.position;
    assert_eq!(writer.next_sync(Time(0)).map(|request| request.covers), Some(first));
    let frame = source.frame(1, 1);
    writer.append([frame.as_slice()]).expect("room");
    assert_eq!(writer.next_sync(Time(0)), None, "one is under way");
    let synced = writer.on_synced(Time(0), Ok(())).expect("it went well");
    assert_eq!((synced.upto, synced.persisted), (first, Some(first)), "not what came meanwhile");
    assert_eq!(writer.next_sync(Time(0)).map(|request| request.covers), Some(source.position));
}

#[test]
fn interval_and_never_acknowledge_at_once_and_sync_when_they_should() {
    let second = Duration::from_seconds(1);
    for (fsync, due) in [(Fsync::Interval(second), true), (Fsync::Never, false)] {
        let (mut writer, recovered, _) = reopen(Faulty::default(), fsync);
        let mut source = Source::new(&recovered);
        let start = Time(0).after(Duration::from_seconds(9));
        for _ in 0..2 {
            let frame = source.frame(1, 1);
            assert_eq!(writer.append([frame.as_slice()]).expect("room").persisted, Some(source.position));
            if writer.next_sync(start).is_some() {
                assert_eq!(writer.on_synced(Time(0), Ok(())).expect("it went well").persisted, None);
            }
        }
        assert_eq!(writer.next_sync(Time(start.0 + second.0 - 1)), None);
        assert_eq!(writer.next_sync(start.after(second)).is_some(), due);
        writer.finish().expect("it syncs all");
        assert_eq!(writer.synced(), source.position);
    }
}

#[test]
fn much_that_is_not_on_the_disk_is_synced_whatever_the_policy() {
    for fsync in [Fsync::Interval(Duration::from_seconds(9)), Fsync::Never] {
        let (mut writer, recovered, _) = reopen(Faulty::default(), fsync);
        let mut source = Source::new(&recovered);
        let begin = source.position.0;
        while source.position.0 - begin < config::LOG_UNSYNCED_BYTES {
            assert_eq!(writer.next_sync(Time(1)), None, "it is not much yet");
            let frame = source.frame(1, 1 << 20);
            assert_eq!(writer.append([frame.as_slice()]).expect("room").persisted, Some(source.position));
        }
        assert_eq!(writer.next_sync(Time(1)).map(|request| request.covers), Some(source.position));
        assert_eq!(
            writer.on_synced(Time(0), Ok(())).expect("it went well").persisted,
            None,
            "it was acknowledged before"
        );
        assert_eq!(writer.next_sync(Time(1)), None);
    }
}

#[test]
fn a_rollover_during_a_sync_keeps_the_order_of_files() {
    for fsync in [Fsync::Always, Fsync::Never] {
        let disk = Faulty::default();
        let (writer, recovered, _) = reopen(disk.clone(), fsync);
        let mut writer = writer.with_file_bytes(250);
        let mut source = Source::new(&recovered);
        let mut ends = Vec::new();
        for _ in 0..6 {
            let frame = source.frame(1, 20);
            writer.append([frame.as_slice()]).expect("room");
            if ends.is_empty() {
                assert_eq!(writer.next_sync(Time(0)).is_some(), fsync == Fsync::Always);
            }
            ends.push(source.position);
        }
        assert_eq!(disk.0.borrow().file_bytes().len(), 3, "two frames in each file");
        let mut covered = Vec::new();
        if fsync == Fsync::Always {
            covered.push(writer.on_synced(Time(0), Ok(())).expect("fine").upto);
        }
        while let Some(SyncRequest { descriptor, covers }) = writer.next_sync(Time(0)) {
            assert!(descriptor as u64 <= covers.0, "the file that holds what is covered");
            covered.push(writer.on_synced(Time(0), disk.fdatasync(descriptor)).expect("fine").upto);
        }
        let expected: &[_] = match fsync {
            Fsync::Always => &[ends[0], ends[1], ends[3], ends[5]],
            _ => &[ends[1], ends[3]],
        };
        assert_eq!(covered, expected);
    }
}

#[test]
fn the_log_is_the_same_in_files_of_any_size() {
    for file_bytes in (64..900).step_by(13) {
        let disk = Faulty::default();
        let (writer, recovered, _) = reopen(disk.clone(), Fsync::Never);
        let mut writer = writer.with_file_bytes(file_bytes);
        let mut source = Source::new(&recovered);
        for number in 0..12 {
            let frame = source.frame(1 + number % 3, number * 17);
            writer.append([frame.as_slice()]).expect("room");
        }
        for (name, bytes) in disk.0.borrow().file_bytes() {
            let one_frame = source.made.iter().find(|(end, ..)| *end > name).expect("no file is empty").0;
            assert!(bytes as u64 <= file_bytes.max(one_frame.0 - name.0 + FILE_HEADER_BYTES as u64));
        }
        let (_, recovered, read) = reopen(disk, Fsync::Never);
        assert_eq!((recovered.cut, recovered.end, read), (None, source.position, source.read()));
    }
}
