//! A large index: read, compared with another, and with a layer left out.

use std::{collections::HashSet, hint::black_box};

use buildkit_gha::cache::{
    index_format::parse,
    graph::{Graph, without},
};
use criterion::Criterion;

use crate::large::{CHAIN, config};

pub fn whole(criterion: &mut Criterion) {
    let config = config();
    let json = config.to_json();
    let failed = HashSet::from([config.layers[CHAIN / 2].blob]);
    let mut group = criterion.benchmark_group("index of 10,000 layers and 10,000 records");
    group.sample_size(10);
    group.bench_function("read", |b| b.iter(|| parse(black_box(&json))));
    group.bench_function("its graph", |b| b.iter(|| Graph::from_index(black_box(&config))));
    group.bench_function("without a layer", |b| {
        b.iter(|| without(black_box(&config), &failed));
    });
    group.bench_function("write", |b| b.iter(|| black_box(&config).to_json()));
    group.finish();
}
