//! What a flush hides and what it does not.

use super::*;

#[test]
fn a_flush_hides_what_was_reserved_before_its_mark_and_nothing_else() {
    let (mut writer, readers) = store(8, false, 1);
    set(&mut writer, b"stored", b"1").expect("room");
    let early = writer.reserve(&put(&writer, b"early", b"2", 2)).expect("room");
    let never = writer.reserve(&put(&writer, b"never", b"2", 2)).expect("room");
    let mark = writer.flush_prepare();
    let late = writer.reserve(&put(&writer, b"late", b"3", 3)).expect("room");
    set(&mut writer, b"between", b"4").expect("room");
    writer.publish(early);
    assert!(get(&readers[0], b"stored").is_some(), "hidden before the flush");
    writer.flush(mark);
    writer.publish(late);
    writer.publish(never);
    let there: Vec<bool> = [&b"stored"[..], b"early", b"never", b"between", b"late"]
        .iter()
        .map(|key| get(&readers[0], key).is_some())
        .collect();
    assert_eq!(there, [false, false, false, true, true]);
    assert_eq!(writer.stats().items, 2);
    writer.check_invariants();
    assert!(!writer.remove(writer.hash(b"stored"), b"stored"));
    set(&mut writer, b"stored", b"5").expect("room");
    assert_eq!(get(&readers[0], b"stored").map(|item| item.value), Some(&b"5"[..]));
    writer.check_invariants();
}

#[test]
fn large_items_keep_their_side_of_a_mark() {
    let (mut writer, readers) = store(32, false, 1);
    let large = vec![b'l'; 2 << 20];
    for with_open in [false, true] {
        if with_open {
            set(&mut writer, b"small", b"1").expect("room");
        }
        set(&mut writer, b"before", &large).expect("room");
        let mark = writer.flush_prepare();
        set(&mut writer, b"after", &large).expect("room");
        writer.flush(mark);
        assert!(get(&readers[0], b"before").is_none());
        assert!(get(&readers[0], b"after").is_some());
        writer.check_invariants();
    }
}

#[test]
fn memory_of_what_was_flushed_comes_back() {
    let (mut writer, mut readers) = store(16, false, 1);
    for round in 0..20_u64 {
        for n in 0..50_000_u64 {
            set(&mut writer, &(round * 100_000 + n).to_le_bytes(), &[7; 100]).expect("room");
            if n % 500 == 0 {
                turn(&mut writer, &mut readers[0]);
            }
        }
        let mark = writer.flush_prepare();
        writer.flush(mark);
        assert_eq!((writer.stats().items, writer.stats().bytes), (0, 0));
        for _ in 0..100 {
            turn(&mut writer, &mut readers[0]);
        }
        writer.check_invariants();
        assert!(writer.stats().segments_used <= 2, "{:?}", writer.stats());
    }
}

#[test]
fn sets_and_flushes_in_one_turn_do_not_run_out_of_memory() {
    let (mut writer, _readers) = store(8, false, 1);
    for _ in 0..100_000 {
        set(&mut writer, b"key", b"value").expect("room");
        let mark = writer.flush_prepare();
        writer.flush(mark);
    }
    writer.check_invariants();
}

#[test]
fn what_is_moved_while_a_mark_is_open_stays_on_its_side() {
    let mut rng = Rng::seeded("flush and move", 11);
    for round in 0..20 {
        let (mut writer, mut readers) = store(8, false, 1);
        let mut reader = readers.remove(0);
        // seven of eight die, so that everything is moved
        let mut fill = |writer: &mut Writer, side: u8| {
            for n in 0..40_000_u32 {
                let key = [&[side][..], &(n / 8).to_le_bytes()].concat();
                if let Err(error) = set(writer, &key, &[side; 100]) {
                    panic!("{error:?} at {n} of {side}: {:?}", writer.stats());
                }
                if rng.one_in(300) {
                    turn(writer, &mut reader);
                }
            }
        };
        fill(&mut writer, b'a');
        let first = writer.flush_prepare();
        fill(&mut writer, b'b');
        let second = writer.flush_prepare();
        fill(&mut writer, b'c');
        let count = |writer: &Writer, side: u8| {
            let key = |n: u32| [&[side][..], &n.to_le_bytes()].concat();
            (0..5000).filter(|&n| writer.get(writer.hash(&key(n)), &key(n), Seconds(1)).is_some()).count()
        };
        let counts = |writer: &Writer| [b'a', b'b', b'c'].map(|side| count(writer, side));
        assert_eq!(counts(&writer), [5000; 3]);
        if round % 2 == 0 {
            writer.flush(first);
            assert_eq!(counts(&writer), [0, 5000, 5000]);
        }
        writer.flush(second);
        assert_eq!(counts(&writer), [0, 0, 5000]);
        assert!(writer.stats().moved_bytes > 0);
        writer.check_invariants();
    }
}
