//! The parser and the encoder alone: every command, small input, input cut short, many keys.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ringstore::proto::{self, Command, ParseLimits, Parsed, Reply, reply};

mod support;

const LIMITS: ParseLimits = ParseLimits { item_bytes_max: 1 << 20 };

/// One of each command, as clients send them.
const COMMANDS: [(&str, &str); 25] = [
    ("get", "get user:1000042\r\n"),
    ("gets", "gets user:1000042\r\n"),
    ("gat", "gat 3600 user:1000042\r\n"),
    ("gats", "gats 3600 user:1000042\r\n"),
    ("set", "set user:1000042 0 3600 32\r\n0123456789abcdef0123456789abcdef\r\n"),
    ("set_noreply", "set user:1000042 0 3600 32 noreply\r\n0123456789abcdef0123456789abcdef\r\n"),
    ("add", "add user:1000042 5 0 8\r\n01234567\r\n"),
    ("replace", "replace user:1000042 5 0 8\r\n01234567\r\n"),
    ("append", "append user:1000042 0 0 8\r\n01234567\r\n"),
    ("prepend", "prepend user:1000042 0 0 8\r\n01234567\r\n"),
    ("cas", "cas user:1000042 0 0 8 7340032\r\n01234567\r\n"),
    ("delete", "delete user:1000042\r\n"),
    ("incr", "incr counter:17 1\r\n"),
    ("decr", "decr counter:17 1\r\n"),
    ("touch", "touch user:1000042 3600\r\n"),
    ("flush_all", "flush_all 10 noreply\r\n"),
    ("stats", "stats settings\r\n"),
    ("version", "version\r\n"),
    ("verbosity", "verbosity 1\r\n"),
    ("cache_memlimit", "cache_memlimit 1024\r\n"),
    ("lru_crawler", "lru_crawler metadump all\r\n"),
    ("slabs", "slabs automove 1\r\n"),
    ("quit", "quit\r\n"),
    ("shutdown", "shutdown graceful\r\n"),
    ("unknown", "frobnicate user:1000042\r\n"),
];

/// Parses `input` to its end and walks through every key, as the server does. Never inlined, so that callgrind can be told to
/// count nothing else.
#[inline(never)]
fn parse_all(input: &[u8]) -> usize {
    let (mut at, mut work) = (0, 0);
    while at < input.len() {
        match proto::parse(&input[at..], &LIMITS) {
            Parsed::Command { command, consumed } => {
                at += consumed;
                work += match command {
                    Command::Get(get) => get.keys.map(|key| black_box(key).len()).sum(),
                    other => {
                        black_box(&other);
                        1
                    }
                };
            }
            Parsed::Invalid { consumed, .. } => at += consumed,
            Parsed::Need { total } => return work + total,
            Parsed::Close { .. } => return work,
        }
    }
    work
}

fn commands(c: &mut Criterion) {
    let mut group = c.benchmark_group("parse/command");
    for (name, text) in COMMANDS {
        group.bench_function(name, |b| b.iter(|| parse_all(black_box(text.as_bytes()))));
    }
    group.finish();
}

/// A whole receive buffer of one command: the cost of one request when clients pipeline.
fn pipelined(c: &mut Criterion) {
    let mut group = c.benchmark_group("parse/pipelined");
    for (name, text) in COMMANDS.iter().filter(|(name, _)| matches!(*name, "get" | "set" | "delete" | "incr")) {
        const REQUESTS: usize = 64;
        let input = text.repeat(REQUESTS);
        group.throughput(Throughput::Elements(REQUESTS as u64));
        group.bench_function(*name, |b| b.iter(|| parse_all(black_box(input.as_bytes()))));
    }
    group.finish();
}

fn multiget(c: &mut Criterion) {
    let mut group = c.benchmark_group("parse/multiget");
    for keys in [2, 10, 100] {
        let words: String = (0..keys).map(|n| format!(" user:{}", 1_000_000 + n)).collect();
        let input = format!("get{words}\r\n");
        group.throughput(Throughput::Elements(keys));
        group.bench_with_input(BenchmarkId::from_parameter(format!("{keys}-keys")), &input, |b, input| {
            b.iter(|| parse_all(black_box(input.as_bytes())));
        });
    }
    group.finish();
}

/// Input that ends within a command: what it costs to find that out, once per receive.
fn split(c: &mut Criterion) {
    let mut group = c.benchmark_group("parse/split");
    let large = format!("set user:1000042 0 0 100000\r\n{}", "x".repeat(16 << 10));
    for (name, input) in [
        ("line", "get user:10000"),
        ("block", "set user:1000042 0 3600 32\r\n0123456789abc"),
        ("large_block", large.as_str()),
    ] {
        group.bench_function(name, |b| b.iter(|| parse_all(black_box(input.as_bytes()))));
    }
    group.finish();
}

fn encode(c: &mut Criterion) {
    let mut group = c.benchmark_group("parse/encode");
    let mut out = Vec::with_capacity(4096);
    let mut bench = |name: &str, encode: &dyn Fn(&mut Vec<u8>)| {
        group.bench_function(name, |b| {
            b.iter(|| {
                out.clear();
                encode(black_box(&mut out));
            });
        });
    };
    let value = [b'v'; 1024];
    for bytes in [32, 1024] {
        let value = &value[..bytes];
        bench(&format!("value_{bytes}"), &|out| {
            reply::value(out, black_box(b"user:1000042"), 0, black_box(value), None);
        });
    }
    bench("value_cas", &|out| {
        reply::value(out, black_box(b"user:1000042"), 7, black_box(&value[..32]), Some(7_340_032));
    });
    bench("end", &|out| reply::end(out));
    bench("stored", &|out| black_box(Reply::Stored).encode(out));
    bench("number", &|out| black_box(Reply::Number(1_234_567)).encode(out));
    bench("error", &|out| reply::line(out, black_box(reply::BAD_FORMAT)));
    group.finish();
}

criterion_group! {
    name = benches;
    config = support::criterion();
    targets = commands, pipelined, multiget, split, encode
}
criterion_main!(benches);
