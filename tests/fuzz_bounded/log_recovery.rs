//! What must hold for any bytes that are read as a log; shared by the fuzz target and a bounded test.

use ringstore::log::{Entry, FrameView, LogIndex, Position, Recovery, Step};

/// Reads `data` as the files of a log: the first byte says into how many files it is split and how large the reads are.
/// Nothing may panic, whatever is accepted must continue what came before it, and the size of the reads must not matter.
pub fn check_log_recovery(data: &[u8]) {
    let Some((&how, data)) = data.split_first() else { return };
    let files = 1 + usize::from(how & 3);
    let step = usize::from(how >> 2) * 8;
    assert_eq!(read(data, files, step), read(data, files, usize::MAX), "the size of the reads changes the result");
}

/// What was found, as text.
fn read(data: &[u8], files: usize, step: usize) -> String {
    let mut recovery = Recovery::new();
    let mut last: Option<LogIndex> = None;
    let mut name = Position(0);
    for bytes in data.chunks(data.len().div_ceil(files).max(1)) {
        recovery.begin_file(name, bytes.len() as u64);
        let mut window = step;
        loop {
            let at = recovery.offset() as usize;
            let end = at.saturating_add(window).min(bytes.len());
            window = match recovery.step(&bytes[at..end]) {
                Err(corruption) => return format!("{corruption:?} after {last:?}"),
                Ok(Step::FileEnd) => break,
                Ok(Step::Passed { .. }) => step,
                Ok(Step::Need { bytes: needed }) => {
                    assert!(needed > end - at && at + needed <= bytes.len(), "it asks for what there is");
                    needed
                }
                Ok(Step::Frame { frame, consumed }) => {
                    assert_eq!(consumed, frame.header.frame_bytes());
                    check_entries(&frame, &mut last);
                    step
                }
            };
        }
        name.0 += (bytes.len() as u64).saturating_sub(64);
    }
    let recovered = recovery.finish();
    assert!(last.is_none() || last == Some(recovered.last_index), "the last entry is the last index");
    format!("{recovered:?}")
}

fn check_entries(frame: &FrameView<'_>, last: &mut Option<LogIndex>) {
    for entry in frame.entries() {
        let Ok((index, entry)) = entry else {
            // its count was checked, its entries are a matter of whoever applies them
            *last = Some(frame.header.last_index());
            return;
        };
        assert!(last.is_none_or(|last| index.0 == last.0 + 1), "indices continue");
        *last = Some(index);
        let mut bytes = Vec::new();
        entry.encode(&mut bytes);
        assert_eq!(Entry::decode(&bytes), Ok((entry, &[][..])), "an entry has one form");
    }
}
