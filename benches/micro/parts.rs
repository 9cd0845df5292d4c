//! Cutting an entry into parts.

use std::hint::black_box;

use buildkit_gha::actions::plan::Plan;
use criterion::{Criterion, Throughput};

/// Small, large, and one with the most blocks that Azure takes.
const SIZES: [(&str, u64); 3] = [
    ("1 MiB", 1 << 20),
    ("4 GiB", 4 << 30),
    ("400 GiB", 400 << 30),
];

/// The size of parts as long as there are not too many of them.
const PART: u64 = 8 << 20;

pub fn cut(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("part cutter");
    for (name, size) in SIZES {
        let parts = || {
            Plan::new(black_box(size), PART)
                .expect("it can be cut")
                .parts()
        };
        group.throughput(Throughput::Elements(parts().len() as u64));
        group.bench_function(name, |b| {
            b.iter(|| parts().map(|part| part.range.end).max());
        });
    }
    group.finish();
}
