use super::*;
use crate::cache::index_format::{ChainResult, Layer, LayerResult, Link, Record, Time, parse};

const STOCK: &[u8] = include_bytes!("../../../tests/fixtures/local-export/config.json");

fn stock() -> CacheConfig {
    parse(STOCK).unwrap()
}

fn graph(config: &CacheConfig) -> Graph {
    Graph::from_index(config).unwrap()
}

/// The same index with layers, records, links and results in the opposite order.
fn reversed(config: &CacheConfig) -> CacheConfig {
    let mut config = config.clone();
    let (layers, records) = (config.layers.len(), config.records.len());
    let flip = |place: u32, count: usize| u32::try_from(count).unwrap() - 1 - place;
    config.layers.reverse();
    config.records.reverse();
    for layer in &mut config.layers {
        if layer.parent != NO_PARENT {
            layer.parent = i64::try_from(layers).unwrap() - 1 - layer.parent;
        }
    }
    for record in &mut config.records {
        record.results.reverse();
        for result in &mut record.results {
            result.layer = flip(result.layer, layers);
            result.created_at = Time::default();
        }
        for links in &mut record.inputs {
            links.reverse();
            for link in links {
                link.link = flip(link.link, records);
            }
        }
    }
    config
}

#[test]
fn order_and_times_do_not_count() {
    let other = reversed(&stock());
    assert_ne!(other.to_json(), STOCK);
    assert_eq!(graph(&other), graph(&stock()));
}

#[test]
fn everything_else_counts() {
    let changes: [fn(&mut CacheConfig); 8] = [
        |c| c.layers[0].blob = Digest::sha256("x"),
        |c| c.layers[0].parent = NO_PARENT,
        |c| c.records[0].digest.push('x'),
        |c| c.records[0].results.clear(),
        |c| c.records[0].inputs[0][0].link = 3,
        |c| c.records[0].inputs[1][0].selector.clear(),
        |c| c.records[0].inputs.swap(0, 1),
        |c| {
            c.records[3].chains.push(ChainResult {
                layers: vec![1],
                created_at: Time::default(),
            });
        },
    ];
    for (i, change) in changes.into_iter().enumerate() {
        let mut config = stock();
        change(&mut config);
        assert_ne!(graph(&config), graph(&stock()), "change {i}");
    }
}

#[test]
fn a_lost_layer_takes_those_upon_it_and_their_results() {
    // 2 <- 4 <- {3, 6}; 6 <- 1; and 5 <- 0 on its own.
    let config = stock();
    let left = without(&config, &HashSet::from([config.layers[6].blob])).unwrap();
    let blobs: Vec<_> = left.layers.iter().map(|l| l.blob).collect();
    let expected: Vec<_> = [0, 2, 3, 4, 5].map(|at| config.layers[at].blob).to_vec();
    assert_eq!(blobs, expected);
    let parents: Vec<_> = left.layers.iter().map(|l| l.parent).collect();
    assert_eq!(parents, [4, -1, 3, 1, -1]);
    assert_eq!(left.records.len(), config.records.len());
    for (before, after) in config.records.iter().zip(&left.records) {
        assert_eq!(
            (&before.digest, &before.inputs),
            (&after.digest, &after.inputs)
        );
        let lost = before.results.iter().any(|r| matches!(r.layer, 1 | 6));
        assert_eq!(after.results.is_empty(), lost || before.results.is_empty());
        for (was, is) in before.results.iter().zip(&after.results) {
            let (was, is) = (was.layer as usize, is.layer as usize);
            assert_eq!(config.layers[was].blob, left.layers[is].blob);
        }
    }
    assert!(left.check().is_ok());
}

#[test]
fn a_chain_that_names_a_lost_layer_goes_and_nothing_lost_changes_nothing() {
    let mut config = stock();
    for layers in [vec![2, 6], vec![2, 3]] {
        config.records[0].chains.push(ChainResult {
            layers,
            created_at: Time::default(),
        });
    }
    assert_eq!(without(&config, &HashSet::new()).unwrap(), config);
    let left = without(&config, &HashSet::from([config.layers[6].blob])).unwrap();
    assert_eq!(left.records[0].chains.len(), 1);
    assert_eq!(left.records[0].chains[0].layers, [1, 2]);

    let all: HashSet<_> = config.layers.iter().map(|l| l.blob).collect();
    let none = without(&config, &all).unwrap();
    assert!(none.layers.is_empty());
    assert!(
        none.records
            .iter()
            .all(|r| r.results.is_empty() && r.chains.is_empty())
    );
}

#[test]
fn a_large_index_takes_no_long_time() {
    const LAYERS: u32 = 10_000;
    const RECORDS: u32 = 50_000;
    let blob = |n: u32| Digest::sha256(n.to_le_bytes());
    let layers = (0..LAYERS).map(|n| Layer {
        blob: blob(n),
        parent: i64::from(n) - 1,
        annotations: None,
    });
    let records = (0..RECORDS).map(|n| Record {
        digest: blob(n).to_string(),
        results: vec![LayerResult {
            layer: n % LAYERS,
            created_at: Time::default(),
        }],
        // Each record with two links to the one before: 2^n paths to the bottom.
        inputs: match n {
            0 => Vec::new(),
            _ => vec![
                vec![Link {
                    selector: String::new(),
                    link: n - 1
                }];
                2
            ],
        },
        ..Record::default()
    });
    let config = CacheConfig {
        layers: layers.collect(),
        records: records.collect(),
        ..CacheConfig::default()
    };
    let mut same = config.clone();
    same.layers.reverse();
    for layer in &mut same.layers {
        layer.parent = if layer.parent < 0 {
            NO_PARENT
        } else {
            i64::from(LAYERS) - 1 - layer.parent
        };
    }
    for record in &mut same.records {
        record.results[0].layer = LAYERS - 1 - record.results[0].layer;
    }
    assert_eq!(graph(&same), graph(&config));
    let half = without(&config, &HashSet::from([blob(LAYERS / 2)])).unwrap();
    assert_eq!(half.layers.len(), LAYERS as usize / 2);
}

#[test]
fn a_layer_is_worth_all_that_stands_upon_it() {
    let layer = |name: &str, parent: i64, size: i64| {
        serde_json::json!({
            "blob": Digest::sha256(name),
            "parent": parent,
            "annotations": {"mediaType": "m", "diffID": Digest::sha256("diff"), "size": size},
        })
    };
    // The last one stands upon two others.
    let layers = [
        layer("root", -1, 5),
        layer("middle", 0, 3),
        layer("top", 1, 2),
        layer("other", -1, 4),
        layer("top", 3, 2),
    ];
    let json = serde_json::json!({"layers": layers}).to_string();
    let savings = savings(&parse(json.as_bytes()).unwrap()).unwrap();
    let of = |name: &str| savings[&Digest::sha256(name)];
    assert_eq!(
        ["root", "middle", "other", "top"].map(of),
        [10, 5, 6, 4],
        "a parent is worth more than what stands upon it"
    );
}
