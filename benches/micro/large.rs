//! An index of 10,000 layers and 10,000 records: the largest that builds use. Each record has a layer in a
//! chain of 100, and all but the first of a chain stand upon another one, which costs buildkitd 503 MB by the
//! estimate of `cache/index_format/usable.rs`. Some 700 records more are beyond its bound
//! of 512 MiB, and `make bench-growth` fails at the warning.

use buildkit_gha::{
    cache::index_format::{
        Annotations, CacheConfig, Layer, LayerResult, Link, NO_PARENT, Record, Time,
    },
    digest::Digest,
};

const LAYERS: usize = 10_000;

const RECORDS: usize = 10_000;

/// Layers in one chain; BuildKit's images have not many more.
pub const CHAIN: usize = 100;

pub fn config() -> CacheConfig {
    CacheConfig {
        layers: (0..LAYERS).map(layer).collect(),
        records: (0..RECORDS).map(record).collect(),
        ..CacheConfig::default()
    }
}

fn layer(number: usize) -> Layer {
    let below = i64::try_from(number).expect("few") - 1;
    Layer {
        blob: Digest::sha256(number.to_le_bytes()),
        parent: if number.is_multiple_of(CHAIN) {
            NO_PARENT
        } else {
            below
        },
        annotations: Some(Annotations {
            media_type: "application/vnd.oci.image.layer.v1.tar+gzip".to_owned(),
            diff_id: Some(Digest::sha256(number.to_be_bytes())),
            size: 1 << 20,
            created_at: Time::default(),
        }),
    }
}

/// Each upon the one before it, as steps are.
fn record(number: usize) -> Record {
    let place = |number: usize| u32::try_from(number).expect("few");
    let results = LayerResult {
        layer: place(number % LAYERS),
        created_at: Time::default(),
    };
    let below = (!number.is_multiple_of(CHAIN)).then(|| {
        let link = place(number - 1);
        vec![Link {
            selector: String::new(),
            link,
        }]
    });
    Record {
        results: vec![results],
        chains: Vec::new(),
        digest: Digest::sha256(format!("record {number}").as_bytes()).to_string(),
        inputs: below.into_iter().collect(),
    }
}
