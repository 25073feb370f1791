//! The steady state of a cluster allocates nothing but a frame's shared handle: every allocation is counted while frames go
//! through a leader and two followers. Alone in its binary, because the counter counts whoever runs.
#![allow(unsafe_code, reason = "an allocator that counts is an allocator")]

#[path = "../benches/support/cluster.rs"]
mod cluster;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};

use cluster::Cluster;

static COUNT: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);

struct Counting;

// SAFETY: every call goes to the system's allocator unchanged
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        BYTES.fetch_add(layout.size() as u64, Ordering::Relaxed);
        // SAFETY: the caller's promises are those that are asked for
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: it came from there
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Frames until all that is kept of the newest ones is full and old buffers come back.
const WARM_UP: u64 = 10_000;
const FRAMES: u64 = 10_000;

/// Allocations and bytes for each frame of `entries`.
fn per_frame(codec: bool, entries: u64) -> (f64, f64) {
    let mut cluster = Cluster::new(codec);
    (0..WARM_UP).for_each(|_| cluster.write(entries));
    let before = (COUNT.load(Ordering::Relaxed), BYTES.load(Ordering::Relaxed));
    (0..FRAMES).for_each(|_| cluster.write(entries));
    let per = |counter: &AtomicU64, before: u64| (counter.load(Ordering::Relaxed) - before) as f64 / FRAMES as f64;
    (per(&COUNT, before.0), per(&BYTES, before.1))
}

#[test]
fn a_frame_costs_its_handle_and_no_other_allocation() {
    for entries in [1, 16] {
        let (count, bytes) = per_frame(false, entries);
        println!("{entries} entries: {count} allocations of {bytes} bytes for each frame");
        assert!(count <= 1.01 && bytes <= 128.0, "{entries} entries: {count} allocations, {bytes} bytes");
        let (count, bytes) = per_frame(true, entries);
        println!("{entries} entries, encoded: {count} allocations of {bytes} bytes for each frame");
        // each receiver has a buffer and a handle of its own
        assert!(count <= 5.01, "{entries} entries, encoded: {count} allocations");
    }
}
