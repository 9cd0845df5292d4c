//! The cache index and its graph: what can be read can be written, compared and cut.

use std::collections::HashSet;

use buildkit_gha::{
    cache::{
        graph::{Graph, without},
        index_format::{self, CacheConfig},
    },
    digest::Digest,
};

/// The first byte chooses which layers to leave out; the rest is the index.
pub fn body(data: &[u8]) {
    let Some((chosen, json)) = data.split_first() else {
        return;
    };
    let Ok(index) = index_format::parse(json) else {
        return;
    };
    let graph = Graph::from_index(&index).expect("what was checked has a graph");
    let written = index.to_json();
    let again = index_format::parse(&written).expect("what was written can be read");
    assert_eq!(again, index);
    assert_eq!(Graph::from_index(&again).ok(), Some(graph));

    let nothing = HashSet::<Digest>::new();
    assert_eq!(without(&index, &nothing).ok(), Some(index.clone()));
    leaves_out(&index, *chosen);
}

fn leaves_out(index: &CacheConfig, chosen: u8) {
    let layers = index.layers.iter().enumerate();
    let failed: HashSet<Digest> = layers
        .filter(|(at, _)| chosen >> (at % 8) & 1 == 1)
        .map(|(_, layer)| layer.blob)
        .collect();
    let left = without(index, &failed).expect("what was checked can be cut");
    left.check().expect("what is left is an index");
    assert!(
        left.layers
            .iter()
            .all(|layer| !failed.contains(&layer.blob))
    );
    let keys = |index: &CacheConfig| -> Vec<String> {
        let records = index.records.iter();
        records.map(|record| record.digest.clone()).collect()
    };
    assert_eq!(keys(&left), keys(index), "records stay");
    assert_eq!(without(&left, &failed).ok(), Some(left.clone()));
    index_format::parse(&left.to_json()).expect("what is left can be written");
}
