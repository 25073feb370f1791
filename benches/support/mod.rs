//! What every bench shares: criterion's settings, and the profiler behind `--profile-time`.

use std::env;
use std::fs::{self, File};
use std::path::Path;

use criterion::Criterion;
use criterion::profiler::Profiler;
use pprof::{ProfilerGuard, ProfilerGuardBuilder};

/// Samples per second: a prime, so as not to run in step with anything periodic.
const SAMPLES_PER_SECOND: i32 = 997;

/// The environment variable that switches the profiler off.
const PROFILER_VARIABLE: &str = "BENCH_PROFILER";

/// Criterion as all benches use it. With `--profile-time <seconds>` nothing is measured; instead each benchmark runs
/// that long under a sampling profiler and leaves `profile/flamegraph.svg` in its directory below `target/criterion`.
/// `BENCH_PROFILER=none` leaves the process to a profiler from outside.
pub fn criterion() -> Criterion {
    let criterion = Criterion::default();
    if env::var_os(PROFILER_VARIABLE).is_some_and(|value| value == "none") {
        return criterion;
    }
    criterion.with_profiler(FlameGraph { running: None })
}

/// Whether each benchmark runs only once, to see that it works: criterion's rule, which it keeps to itself.
#[allow(dead_code, reason = "not every bench is so large that it must be smaller then")]
pub fn is_test() -> bool {
    let has = |flag: &str| env::args().any(|argument| argument == flag);
    has("--test") || !has("--bench")
}

struct FlameGraph {
    running: Option<ProfilerGuard<'static>>,
}

impl Profiler for FlameGraph {
    fn start_profiling(&mut self, _benchmark: &str, _directory: &Path) {
        let guard = ProfilerGuardBuilder::default()
            .frequency(SAMPLES_PER_SECOND)
            // the unwinder must not interrupt itself; samples in libc are wanted: that is where system calls are made
            .blocklist(&["libgcc", "vdso"])
            .build()
            .expect("the profiling timer starts");
        self.running = Some(guard);
    }

    fn stop_profiling(&mut self, benchmark: &str, directory: &Path) {
        let guard = self.running.take().expect("profiling was started");
        let report = guard.report().build().expect("samples make a report");
        fs::create_dir_all(directory).expect("the benchmark's directory can be made");
        let path = directory.join("flamegraph.svg");
        let file = File::create(&path).expect("the flame graph's file can be made");
        report.flamegraph(file).expect("the flame graph can be written");
        println!("{benchmark}: {}", path.display());
    }
}
