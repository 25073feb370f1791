//! The machine under the load: pinning, limits, and what it is, for the heading of a result.

use std::path::Path;
use std::process::Command;

use rustix::process::{Resource, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};
use serde::Serialize;

use crate::failure::{Failure, While};

/// Pins the calling thread to one core.
pub fn pin_thread(cpu: usize) -> Result<(), Failure> {
    let mut set = CpuSet::new();
    if cpu >= CpuSet::MAX_CPU {
        return Err(Failure::new(format!("there is no core {cpu}")));
    }
    set.set(cpu);
    sched_setaffinity(None, &set).during(format_args!("pinning to core {cpu}"))
}

/// Makes room for this many open files, here and in the servers that are started from here.
pub fn allow_open_files(count: u64) -> Result<(), Failure> {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= count) {
        return Ok(());
    }
    limit.current = Some(count);
    limit.maximum = limit.maximum.map(|maximum| maximum.max(count));
    setrlimit(Resource::Nofile, limit).during(format_args!("raising the limit of open files to {count}"))
}

/// Where a result was made.
#[derive(Serialize)]
pub struct Machine {
    pub kernel: String,
    pub cpu: String,
    pub cores: usize,
    /// Of the working directory; empty outside a repository. `+` marks uncommitted changes.
    pub commit: String,
}

impl Machine {
    pub fn describe() -> Self {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpuinfo.lines().find_map(|line| Some(line.strip_prefix("model name")?.split_once(':')?.1.trim()));
        Self {
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            cpu: model.unwrap_or("unknown").to_owned(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            commit: commit(),
        }
    }
}

fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short", "HEAD"]) else { return String::new() };
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]).is_none_or(|changes| !changes.is_empty());
    if changed { format!("{commit}+") } else { commit }
}

/// The program of this name beside this one, else in `target/release`, else the bare name for `PATH`.
pub fn program(name: &str) -> String {
    let beside = std::env::current_exe().ok().map(|path| path.with_file_name(name));
    let candidates = beside.into_iter().chain([Path::new("target/release").join(name)]);
    candidates.into_iter().find(|path| path.is_file()).map_or(name.to_owned(), |path| path.display().to_string())
}

/// The newest memcached at hand: `memcached-peer` where tests/foreign/install-peers has run, else `memcached`.
pub fn memcached() -> String {
    if is_installed("memcached-peer") { "memcached-peer" } else { "memcached" }.to_owned()
}

/// Whether there is a program of this name, which is a path or to be looked for on `PATH`.
pub fn is_installed(program: &str) -> bool {
    if program.contains('/') {
        return Path::new(program).is_file();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_by_path_and_by_name() {
        assert!(is_installed("sh"));
        assert!(is_installed(&std::env::current_exe().expect("a path").display().to_string()));
        assert!(!is_installed("no-such-program-anywhere"));
        assert!(!is_installed("/no/such/program"));
    }
}
