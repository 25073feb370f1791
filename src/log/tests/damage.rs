//! D1: every torn tail and every flipped bit of a small log. No entry is ever read that was not written.

use super::super::{Fault, FileFault, FrameFault};
use super::*;

fn assert_prefix(read: &Read, of: &Read, what: &str) {
    assert!(read.len() <= of.len() && read[..] == of[..read.len()], "{what}: a wrong entry was accepted");
}

#[test]
fn a_whole_log_is_read_whatever_the_size_of_the_reads() {
    for per_file in [1, 2, 5, 100] {
        let (files, written, _) = small_log(11, per_file, 1);
        for step in (0..200).chain([1000, usize::MAX]) {
            let (read, recovered) = files.read_by(step);
            let recovered = recovered.unwrap_or_else(|c| panic!("{c}"));
            assert_eq!(read, written);
            assert_eq!(recovered.cut, None);
            assert_eq!(recovered.files, files.0.len() as u64);
            assert_eq!((recovered.frames, recovered.entries), (11, written.len() as u64));
            assert_eq!(recovered.last_index, written.last().expect("not empty").0);
            assert_eq!((recovered.first_epoch, recovered.epoch, recovered.last_time), (Epoch(1), Epoch(4), Time(20)));
            assert_eq!(recovered.log_id, Some(LOG));
        }
    }
}

#[test]
fn a_torn_tail_is_cut_at_every_byte() {
    for per_file in [2, 100] {
        let (whole, written, positions) = small_log(7, per_file, 1);
        let (last_name, last) = whole.0.last().expect("a file").clone();
        for bytes in 0..last.len() {
            let mut torn = whole.clone();
            torn.0.last_mut().expect("a file").1.truncate(bytes);
            let (read, recovered) = torn.read();
            let recovered = recovered.unwrap_or_else(|c| panic!("cut at {bytes}: {c}"));
            assert_prefix(&read, &written, "torn");
            let last_whole = positions.iter().rev().find(|&&p| p <= recovered.end).expect("position 0 is whole");
            if bytes >= file::BYTES {
                let reached = last_name.0 + (bytes - file::BYTES) as u64;
                assert!(recovered.end.0 <= reached, "nothing is invented");
                let next = positions.iter().find(|p| **p > recovered.end).map_or(u64::MAX, |p| p.0);
                assert!(recovered.end == *last_whole && next > reached, "every whole frame is kept");
                let keep = offset_in(last_name, recovered.end);
                match recovered.cut {
                    None => assert_eq!(keep, bytes),
                    Some(cut) => {
                        assert_eq!(
                            (cut.file, cut.keep_bytes, cut.bytes),
                            (last_name, keep as u64, (bytes - keep) as u64)
                        );
                    }
                }
            } else {
                let cut = recovered.cut.expect("a header that is not whole goes");
                assert_eq!((cut.file, cut.keep_bytes, cut.bytes), (last_name, 0, bytes as u64));
                assert_eq!(recovered.end, last_name);
            }
        }
    }
}

/// Flips each bit of each byte of each file; `judge` gets the place and what became of it.
fn flip_every_bit(
    whole: &Files,
    written: &Read,
    mut judge: impl FnMut(Position, usize, Result<Recovered, Corruption>),
) {
    for file_number in 0..whole.0.len() {
        let name = whole.0[file_number].0;
        for at in 0..whole.0[file_number].1.len() {
            for bit in 0..8 {
                let mut damaged = whole.clone();
                damaged.0[file_number].1[at] ^= 1 << bit;
                let (read, judged) = damaged.read_by(if bit == 0 { 100 } else { usize::MAX });
                assert_prefix(&read, written, "damaged");
                judge(name, at, judged);
            }
        }
    }
}

#[test]
fn a_flipped_bit_below_the_watermark_is_refused_and_above_it_cut() {
    for (per_file, lag) in [(100, 1), (100, 3), (2, 1), (3, 4)] {
        let (whole, written, positions) = small_log(8, per_file, lag);
        // the watermark of the last frame
        let durable = positions[8 - lag];
        flip_every_bit(&whole, &written, |name, at, judged| {
            if at < file::BYTES {
                assert!(judged.is_err(), "a file header with frames behind it was durable");
                return;
            }
            let place = Position(name.0 + (at - file::BYTES) as u64);
            let frame = *positions.iter().rev().find(|&&position| position <= place).expect("0 is below");
            match judged {
                Err(corruption) => {
                    assert!(frame < durable, "byte {at} of {}: not known durable: {corruption}", name.0);
                    assert_eq!((corruption.file, corruption.position), (name, frame));
                    assert_eq!(corruption.offset as usize, offset_in(name, frame));
                    assert!(corruption.durable_upto.is_some_and(|upto| upto > frame), "{corruption}");
                }
                Ok(recovered) => {
                    assert!(frame >= durable, "byte {at} of {}: durable data was dropped", name.0);
                    let cut = recovered.cut.expect("the damage was noticed");
                    assert_eq!((cut.file, cut.keep_bytes as usize), (name, offset_in(name, frame)));
                    assert_eq!(recovered.end, frame);
                }
            }
        });
    }
}

#[test]
fn zeros_and_noise_behind_the_last_frame_are_cut() {
    let (whole, written, _) = small_log(4, 100, 1);
    for garbage in [vec![0; 4096], frame::MAGIC_BYTES.repeat(40), vec![0xF5; 100]] {
        let mut files = whole.clone();
        files.0[0].1.extend_from_slice(&garbage);
        let (read, recovered) = files.read_by(70);
        assert_eq!(read, written);
        let cut = recovered.expect("a torn tail").cut.expect("noticed");
        assert_eq!(cut.bytes, garbage.len() as u64);
        assert_eq!(cut.is_room, garbage[0] == 0, "zeros alone are room");
    }
}

#[test]
fn room_is_zeros_to_the_end_of_the_last_file_and_nothing_else() {
    let (whole, written, _) = small_log(4, 2, 1);
    for (at, room) in [(None, true), (Some(0), false), (Some(70), false), (Some(299), false)] {
        for step in [64, 70, 300, usize::MAX] {
            let mut files = whole.clone();
            let mut zeros = vec![0; 300];
            if let Some(at) = at {
                zeros[at] = 1;
            }
            files.0.last_mut().expect("a file").1.extend_from_slice(&zeros);
            let (read, recovered) = files.read_by(step);
            assert_eq!(read, written);
            let cut = recovered.expect("a torn tail").cut.expect("noticed");
            assert_eq!((cut.bytes, cut.is_room), (300, room), "{at:?}, {step}");
        }
    }
    let mut files = whole;
    files.0[0].1.extend_from_slice(&[0; 300]);
    let corruption = files.read().1.expect_err("what follows says that all before it was durable");
    assert_eq!(corruption.offset as usize, files.0[0].1.len() - 300);
}

#[test]
fn a_later_frame_inside_a_value_proves_nothing() {
    // a client stores a frame of a far later part of the log as a value; then the frame around it is torn
    let (other, _, _) = small_log(8, 100, 1);
    let value = other.0[0].1[file::BYTES..].to_vec();
    let mut files = Files::default();
    files.begin(Position(0), LogIndex(1), Epoch(1), Time(1));
    let mut builder = FrameBuilder::new();
    let (position, durable_upto) = (Position(0), Position(0));
    builder.begin(FrameStart { epoch: Epoch(1), first_index: LogIndex(1), position, durable_upto, time: Time(9) });
    builder.push(&Entry::Put { key: b"k", value: &value, flags: 0, expiry: Expiry::NEVER, cas: None, bits: 0 });
    let whole = builder.take();
    for damaged in [frame::TIME.at, frame::BYTES + 1] {
        let mut files = files.clone();
        files.0[0].1.extend_from_slice(&whole);
        files.0[0].1[file::BYTES + damaged] ^= 1;
        let (read, recovered) = files.read();
        assert!(read.is_empty());
        assert!(recovered.expect("torn").cut.is_some());
    }
}

#[test]
fn a_file_that_lost_whole_frames_is_torn_or_corrupt_by_the_watermark_of_the_next() {
    for (lag, durable) in [(1, true), (8, false)] {
        let (mut files, written, positions) = small_log(4, 2, lag);
        let lost_from = offset_in(Position(0), positions[1]);
        files.0[0].1.truncate(lost_from);
        let (read, judged) = files.read();
        assert_eq!(read[..], written[..read.len()]);
        match judged {
            Err(corruption) => assert!(durable && matches!(corruption.fault, Fault::Position { .. }), "{corruption}"),
            Ok(recovered) => {
                assert!(!durable);
                let cut = recovered.cut.expect("the second file goes");
                assert_eq!((cut.file, cut.keep_bytes), (positions[2], 0));
                assert_eq!(recovered.end, positions[1]);
            }
        }
    }
}

/// Replaces the last file by one whose header and frame say what `header` and `start` say.
fn with_last(mut files: Files, header: FileHeader, start: FrameStart) -> Result<Recovered, Corruption> {
    let last = files.0.last_mut().expect("a file");
    last.1 = header.encode().to_vec();
    let mut builder = FrameBuilder::new();
    builder.begin(start);
    builder.push(&Entry::NoOp);
    last.1.extend_from_slice(&builder.take());
    files.read().1
}

#[test]
fn what_no_crash_can_make_is_corruption_at_once() {
    let (files, written, positions) = small_log(5, 4, 9);
    let (position, index) = (positions[4], LogIndex(written.len() as u64 - 1));
    let header = FileHeader { log_id: LOG, position, index, epoch: Epoch(2), time: Time(14) };
    let start = FrameStart { epoch: Epoch(2), first_index: index, position, durable_upto: Position(0), time: Time(14) };
    let judge = |header, start| with_last(files.clone(), header, start);
    assert_eq!(judge(header, start).expect("this one continues").cut, None);

    let later = Position(position.0 + 1);
    let faults = [
        judge(FileHeader { log_id: LogId(1), ..header }, start),
        judge(FileHeader { position: later, ..header }, start),
        judge(FileHeader { index: LogIndex(index.0 + 1), ..header }, start),
        judge(FileHeader { epoch: Epoch(1), ..header }, start),
        judge(FileHeader { time: Time(1), ..header }, start),
        judge(header, FrameStart { position: later, ..start }),
        judge(header, FrameStart { first_index: LogIndex(index.0 + 1), ..start }),
        judge(header, FrameStart { first_index: LogIndex(index.0 - 1), ..start }),
        judge(header, FrameStart { epoch: Epoch(1), ..start }),
        judge(header, FrameStart { time: Time(13), ..start }),
    ]
    .map(|judged| judged.expect_err("it does not continue the log").fault);
    assert!(matches!(
        faults,
        [
            Fault::LogId { .. },
            Fault::Position { .. },
            Fault::Index { .. },
            Fault::Epoch { .. },
            Fault::Time { .. },
            Fault::Position { .. },
            Fault::Index { .. },
            Fault::Index { .. },
            Fault::Epoch { .. },
            Fault::Time { .. },
        ]
    ));
}

#[test]
fn a_newer_format_is_named_and_never_cut() {
    let newer = 2u16.to_le_bytes();
    let (mut files, ..) = small_log(1, 1, 1);
    let bytes = &mut files.0[0].1;
    let at = file::BYTES;
    bytes[at + frame::VERSION.at..at + frame::VERSION.end()].copy_from_slice(&newer);
    let checksum = crc32c::crc32c(&bytes[at + frame::CHECKSUM.end()..at + frame::BYTES]);
    bytes[at + frame::CHECKSUM.at..at + frame::CHECKSUM.end()].copy_from_slice(&checksum.to_le_bytes());
    let fault = files.read().1.expect_err("a newer frame").fault;
    assert_eq!(fault, Fault::Frame(FrameFault::Version(2)));

    let bytes = &mut files.0[0].1;
    bytes.truncate(file::BYTES);
    bytes[file::VERSION.at..file::VERSION.end()].copy_from_slice(&newer);
    let checksum = crc32c::crc32c(&bytes[file::CHECKSUM.end()..]);
    bytes[file::CHECKSUM.at..file::CHECKSUM.end()].copy_from_slice(&checksum.to_le_bytes());
    let fault = files.read().1.expect_err("a newer file").fault;
    assert_eq!(fault, Fault::File(FileFault::Version(2)));
}
