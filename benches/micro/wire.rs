//! A Solve with a cache import and a cache export, both replaced.

use std::{collections::BTreeMap, hint::black_box};

use buildkit_gha::{
    gateway::internals::rewrite::{Edit, Entry, rewrite_solve},
    wire::{append, map_entry},
};
use criterion::{Criterion, Throughput};

/// How large the definition is that passes by untouched.
const DEFINITIONS: [usize; 2] = [1 << 10, 1 << 20];

/// Fields of `Control.SolveRequest` and of the messages in it.
mod field {
    pub const REF: u32 = 1;
    pub const DEFINITION: u32 = 2;
    pub const CACHE: u32 = 8;
    pub const EXPORTS: u32 = 4;
    pub const IMPORTS: u32 = 5;
    pub const TYPE: u32 = 1;
    pub const ATTRS: u32 = 2;
}

pub fn edit(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("wire editor");
    for size in DEFINITIONS {
        let request = request(size);
        let name = format!("Solve with {} KiB of definition", size >> 10);
        group.throughput(Throughput::Bytes(request.len() as u64));
        group.bench_function(name, |b| {
            b.iter(|| rewrite_solve(black_box(&request), replace, replace));
        });
    }
    group.finish();
}

fn request(definition: usize) -> Vec<u8> {
    let mut entry = Vec::new();
    append(&mut entry, field::TYPE, b"gha");
    for (name, value) in [("scope", "main"), ("mode", "max"), ("token", "secret")] {
        append(&mut entry, field::ATTRS, &map_entry(name, value));
    }
    let mut cache = Vec::new();
    append(&mut cache, field::EXPORTS, &entry);
    append(&mut cache, field::IMPORTS, &entry);
    let mut request = Vec::new();
    append(&mut request, field::REF, b"a-build");
    append(&mut request, field::DEFINITION, &vec![7; definition]);
    append(&mut request, field::CACHE, &cache);
    request
}

fn replace(entry: &Entry) -> Edit {
    assert_eq!(entry.kind, "gha");
    let attrs = BTreeMap::from([("dest".to_owned(), "elsewhere".to_owned())]);
    let kind = "local".to_owned();
    Edit::Replace(vec![Entry { kind, attrs }])
}
