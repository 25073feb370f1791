//! Entries through a leader and two followers in memory: built, appended, sent, acked, committed on all three; with messages
//! handed over as they are, and with the codec on both ends.

#[path = "support/cluster.rs"]
mod cluster;
mod support;

use cluster::Cluster;
use criterion::{BenchmarkId, Criterion, Throughput};

fn replicate(c: &mut Criterion) {
    for (name, codec) in [("cluster/replicate", false), ("cluster/replicate-encoded", true)] {
        let mut group = c.benchmark_group(name);
        for batch in [1, 16, 256] {
            let mut cluster = Cluster::new(codec);
            group.throughput(Throughput::Elements(batch));
            group.bench_function(BenchmarkId::from_parameter(batch), |b| b.iter(|| cluster.write(batch)));
        }
        group.finish();
    }
}

fn main() {
    let mut criterion = support::criterion().configure_from_args();
    replicate(&mut criterion);
    criterion.final_summary();
}
