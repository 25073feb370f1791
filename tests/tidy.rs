//! Rules that matter are machines: the purity wall, where `unsafe` may stand, how long a file may be.

use std::fs;
use std::path::{Path, PathBuf};

/// No file is longer: past this one scrolls and no longer reads.
const LINES_MAX: usize = 700;

/// The pure core: the same code under the ring, the simulator, the tests and the benches.
const PURE: &[&str] = &[
    "src/proto",
    "src/store",
    "src/log",
    "src/cluster",
    "src/keystore",
    "src/transport",
    "src/lifeline.rs",
    "src/conn.rs",
    "src/shard",
    "src/writes",
    "src/node",
    "src/stats",
];

/// The load generator's core: as pure, but it draws from generators that were seeded.
const SEEDED: &[&str] = &[
    "loadgen/src/compare/sheet.rs",
    "loadgen/src/compare/table.rs",
    "loadgen/src/workload",
    "loadgen/src/engine/author.rs",
    "loadgen/src/engine/freshness.rs",
    "loadgen/src/engine/generator.rs",
    "loadgen/src/engine/session.rs",
    "loadgen/src/engine/tally.rs",
];

/// What the pure core does not name.
const IMPURE: &[&str] = &[
    "std::net",
    "std::fs",
    "std::thread",
    "std::process",
    "std::env::var",
    "tokio",
    "io_uring",
    "rustix",
    "libc::",
    "Instant::now",
    "SystemTime",
    "rand::",
    "RandomState",
];

/// Where `unsafe` may stand: the shell, and the store files that publish memory to other threads.
const UNSAFE: &[&str] = &["src/ring/", "src/store/index.rs", "src/store/arena.rs"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(under: &Path, found: &mut Vec<PathBuf>) {
    if under.is_file() {
        found.push(under.to_path_buf());
        return;
    }
    for entry in fs::read_dir(under).unwrap_or_else(|e| panic!("{}: {e}", under.display())) {
        let path = entry.expect("a readable directory").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            rust_files(&path, found);
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
}

fn files(of: &[&str]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for place in of {
        rust_files(&root().join(place), &mut found);
    }
    found.sort();
    let relative = |path: &Path| path.strip_prefix(root()).expect("under the root").display().to_string();
    found.iter().map(|path| (relative(path), fs::read_to_string(path).expect("a text file"))).collect()
}

/// Code without its comments and without the tests at its end.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .take_while(|line| !line.trim_start().starts_with("#[cfg(test)]"))
        .enumerate()
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(i, line)| (i + 1, line))
}

fn is_test(name: &str) -> bool {
    name.ends_with("tests.rs") || name.contains("/tests/")
}

#[test]
fn the_core_names_no_io() {
    let mut off = Vec::new();
    let seeded = files(SEEDED).into_iter().map(|file| (file, &["rand::"][..]));
    let all = files(PURE).into_iter().map(|file| (file, &[][..])).chain(seeded);
    for ((name, text), allowed) in all.filter(|((name, _), _)| !is_test(name)) {
        for (line, code) in code(&text) {
            for word in IMPURE.iter().filter(|&word| code.contains(word) && !allowed.contains(word)) {
                off.push(format!("{name}:{line}: {word}"));
            }
        }
    }
    assert!(off.is_empty(), "the pure core names I/O:\n{}", off.join("\n"));
}

#[test]
fn unsafe_stands_only_where_it_may() {
    let mut off = Vec::new();
    for (name, text) in files(&["src", "loadgen/src"]) {
        let allowed = UNSAFE.iter().any(|place| name.starts_with(place));
        if !allowed && (text.contains("allow(unsafe_code") || text.contains("expect(unsafe_code")) {
            off.push(name);
        }
    }
    assert!(off.is_empty(), "unsafe is allowed in:\n{}", off.join("\n"));
}

#[test]
fn no_file_is_too_long() {
    let long: Vec<_> = files(&["src", "tests", "benches", "loadgen", "fuzz"])
        .iter()
        .map(|(name, text)| (name.clone(), text.lines().count()))
        .filter(|(_, lines)| *lines > LINES_MAX)
        .collect();
    assert!(long.is_empty(), "split these by concept: {long:?}");
}

#[test]
fn nothing_is_left_unfinished() {
    let marks = [concat!("todo", "!("), concat!("unimplemented", "!("), concat!("FIX", "ME"), concat!("#[", "ignore")];
    let mut off = Vec::new();
    for (name, text) in files(&["src", "tests", "benches", "loadgen", "fuzz"]) {
        for (i, line) in text.lines().enumerate() {
            if marks.iter().any(|mark| line.contains(mark)) {
                off.push(format!("{name}:{}: {}", i + 1, line.trim()));
            }
        }
    }
    assert!(off.is_empty(), "unfinished:\n{}", off.join("\n"));
}
