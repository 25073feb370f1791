//! What is written is what is read.

use proptest::prelude::*;

use super::super::{EntryFault, FrameFault, FrameView, Frames, Incarnation, NodeId, Origin};
use super::*;
use crate::config;

fn removed() -> impl Strategy<Value = Removed> {
    prop_oneof![Just(Removed::Deleted), Just(Removed::Expired), Just(Removed::Evicted), Just(Removed::Flushed)]
}

/// An entry that owns its bytes, as numbers that say which and what.
type Owned = (u8, Vec<u8>, Vec<u8>, (u32, u32, Option<u64>, u8), Removed);

fn owned() -> impl Strategy<Value = Owned> {
    let key = prop::collection::vec(any::<u8>(), 1..=config::KEY_BYTES_MAX);
    let value = prop_oneof![0..4usize, 120..136usize, 16_380..16_390usize]
        .prop_flat_map(|bytes| prop::collection::vec(any::<u8>(), bytes));
    let zero_or = |any: BoxedStrategy<u32>| prop_oneof![Just(0), any];
    let numbers = (zero_or(any::<u32>().boxed()), zero_or(any::<u32>().boxed()), any::<Option<u64>>(), 0..3u8);
    (0..6u8, key, value, numbers, removed())
}

fn entry((kind, key, value, (flags, expiry, cas, bits), reason): &Owned) -> Entry<'_> {
    let expiry = Expiry::from_raw(*expiry);
    match kind {
        0 => Entry::Put { key, value, flags: *flags, expiry, cas: *cas, bits: *bits },
        1 => Entry::Delete { key, reason: *reason },
        2 => Entry::Touch { key, expiry },
        3 => Entry::Flush,
        4 => Entry::FlushAt { time: Seconds(*flags) },
        _ => Entry::NoOp,
    }
}

proptest! {
    #[test]
    fn entries_come_back_and_take_no_more_than_their_bytes(entries in prop::collection::vec(owned(), 1..20)) {
        let mut bytes = Vec::new();
        entries.iter().for_each(|owned| entry(owned).encode(&mut bytes));
        let mut rest = &bytes[..];
        for owned in &entries {
            let (decoded, after) = Entry::decode(rest).expect("it was encoded");
            prop_assert_eq!(decoded, entry(owned));
            for short in 0..(rest.len() - after.len()).min(300) {
                prop_assert_eq!(Entry::decode(&rest[..short]), Err(EntryFault::Short));
            }
            rest = after;
        }
        prop_assert!(rest.is_empty());
    }

    #[test]
    fn any_bytes_that_decode_encode_to_the_same(bytes in prop::collection::vec(prop_oneof![0..8u8, any::<u8>()], 0..40)) {
        if let Ok((entry, rest)) = Entry::decode(&bytes) {
            let mut again = Vec::new();
            entry.encode(&mut again);
            prop_assert_eq!(&again[..], &bytes[..bytes.len() - rest.len()]);
        }
    }
}

#[test]
fn a_small_set_costs_three_bytes_more_than_key_and_value() {
    let mut bytes = Vec::new();
    Entry::Put { key: b"key", value: b"value", flags: 0, expiry: Expiry::NEVER, cas: None, bits: 0 }.encode(&mut bytes);
    assert_eq!(bytes.len(), 3 + 3 + 5);
}

#[test]
fn fields_that_are_never_written_are_refused() {
    let cases: [(&[u8], EntryFault); 9] = [
        (&[0x00], EntryFault::Kind(0x00)),
        (&[0x07], EntryFault::Kind(0x07)),
        (&[0x14], EntryFault::Kind(0x14)),
        (&[0x42, 1, b'k'], EntryFault::Kind(0x42)),
        (&[0x01, 0, 0], EntryFault::KeyLength(0)),
        (&[0x02, 251], EntryFault::KeyLength(251)),
        (&[0x01, 1, 0x80, 0x00, b'k'], EntryFault::NotCanonical),
        (&[0x11, 1, 0, 0, 0, 0, 0, b'k'], EntryFault::NotCanonical),
        (&[0x01, 1, 0x81, 0x80, 0x80, 0x80, 0x04, b'k'], EntryFault::ValueLength((1 << 30) + 1)),
    ];
    for (bytes, fault) in cases {
        assert_eq!(Entry::decode(bytes), Err(fault), "{bytes:02x?}");
    }
}

#[test]
fn frames_follow_each_other_in_a_slice() {
    let (files, read, positions) = small_log(5, 5, 1);
    let bytes = &files.0[0].1[file::BYTES..];
    let frames: Vec<FrameView<'_>> = Frames::new(bytes).collect::<Result<_, _>>().expect("all are whole");
    assert_eq!(frames.iter().map(|frame| frame.header.start.position).collect::<Vec<_>>(), positions);
    let entries: Read = frames
        .iter()
        .flat_map(FrameView::entries)
        .map(|entry| entry.map(|(index, entry)| (index, format!("{entry:?}"))).expect("it was pushed"))
        .collect();
    assert_eq!(entries, read);
    let cut: Vec<_> = Frames::new(&bytes[..bytes.len() - 1]).collect();
    assert_eq!(cut.len(), positions.len(), "whole ones and the fault");
    assert_eq!(cut.last().expect("not empty").as_ref().err(), Some(&FrameFault::Short));
}

#[test]
fn small_buffers_are_used_again_and_large_ones_given_back() {
    let mut builder = FrameBuilder::new();
    builder.reuse(Vec::with_capacity(config::FRAME_BUFFER_BYTES_KEPT + 1));
    let start = |position| FrameStart {
        epoch: Epoch(1),
        first_index: LogIndex(1),
        position,
        durable_upto: Position(0),
        time: Time(1),
    };
    let mut kept = Vec::with_capacity(4096);
    kept.push(1);
    let address = kept.as_ptr();
    builder.reuse(kept);
    builder.begin(start(Position(0)));
    builder.push(&Entry::NoOp);
    drop(builder.take());
    builder.begin(start(Position(9)));
    builder.push(&Entry::NoOp);
    let second = builder.take();
    assert_eq!(second.as_ptr(), address, "the small one was kept and is used");
}

#[test]
fn an_origin_stands_before_its_entry_and_takes_no_index() {
    let origin = Origin { node: NodeId(7), incarnation: Incarnation(2), number: 9 };
    let mut builder = FrameBuilder::new();
    let start = FrameStart {
        epoch: Epoch(1),
        first_index: LogIndex(5),
        position: Position(0),
        durable_upto: Position(0),
        time: Time(1),
    };
    builder.begin(start);
    assert_eq!(builder.push(&Entry::NoOp), LogIndex(5));
    assert_eq!(builder.push_from(&origin, &Entry::Flush), LogIndex(6));
    assert_eq!(builder.push(&Entry::NoOp), LogIndex(7));
    let bytes = builder.take();
    let mut entries = FrameView::parse(&bytes).expect("it is whole").entries();
    let mut found = Vec::new();
    while let Some(entry) = entries.next() {
        found.push((entry.expect("it was pushed"), entries.origin()));
    }
    let expected = [(5, Entry::NoOp, None), (6, Entry::Flush, Some(origin)), (7, Entry::NoOp, None)];
    assert_eq!(found, expected.map(|(index, entry, origin)| ((LogIndex(index), entry), origin)));
    let mut one = Vec::new();
    origin.encode(&mut one);
    assert_eq!(Origin::decode(&one), Ok((Some(origin), &[][..])));
    assert_eq!(Origin::decode(&one[..24]), Err(EntryFault::Short));
}
