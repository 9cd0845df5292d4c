use super::*;
use crate::cache::graph::Graph;

const MANIFEST: &[u8] = include_bytes!("../../../tests/fixtures/local-export/manifest.json");
const CONFIG: &[u8] = include_bytes!("../../../tests/fixtures/local-export/config.json");
const GHA_INDEX: &[u8] = include_bytes!("../../../tests/fixtures/local-export/gha-index.json");

fn stock_index() -> CacheConfig {
    Manifest::parse(MANIFEST).unwrap().index(CONFIG).unwrap()
}

/// The stock manifest with one text replaced.
fn spoilt(from: &str, to: &str) -> Vec<u8> {
    let text = String::from_utf8(MANIFEST.to_vec()).unwrap();
    assert!(text.contains(from));
    text.replace(from, to).into_bytes()
}

#[test]
fn what_buildkit_exported_becomes_the_index_of_its_own_gha_export() {
    let index = stock_index();
    let layer = index.layers[0].annotations.as_ref().unwrap();
    assert_eq!(
        layer.media_type,
        "application/vnd.oci.image.layer.v1.tar+gzip"
    );
    assert_eq!(layer.size, 132);
    assert_eq!(layer.created_at.as_str(), "2026-11-23T01:57:22.890103443Z");
    let diff_id = "sha256:ffec7be755d03f9d3301380cb272f6394aab2684ef644912d7be533b7123bd8f";
    assert_eq!(layer.diff_id.unwrap().to_string(), diff_id);
    let stock = index_format::parse(GHA_INDEX).unwrap();
    assert_eq!(
        Graph::from_index(&index).unwrap(),
        Graph::from_index(&stock).unwrap()
    );
    // The same state of the same daemon: even the bytes are equal.
    assert_eq!(
        String::from_utf8(index.to_json()).unwrap().as_bytes(),
        GHA_INDEX
    );
}

#[test]
fn the_way_back_gives_buildkits_bytes() {
    let local = LocalCache::from_index(&stock_index()).unwrap();
    assert_eq!(
        String::from_utf8(local.config.clone()).unwrap().as_bytes(),
        CONFIG
    );
    assert_eq!(
        String::from_utf8(local.manifest.clone())
            .unwrap()
            .as_bytes(),
        MANIFEST
    );
    assert!(local.fits_local_import());
}

#[test]
fn a_blob_at_two_places_is_described_once() {
    let mut index = stock_index();
    index.layers.push(index.layers[3].clone());
    let local = LocalCache::from_index(&index).unwrap();
    let manifest = Manifest::parse(&local.manifest).unwrap();
    assert_eq!(manifest.layers.len(), index.layers.len() - 1);
    assert_eq!(manifest.index(&local.config).unwrap(), index);
}

#[test]
fn an_image_index_is_read_too() {
    let stock = Manifest::parse(MANIFEST).unwrap();
    let mut manifests = stock.layers.clone();
    manifests.push(stock.config.clone());
    let document = serde_json::json!({
        "schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": manifests,
    });
    assert_eq!(
        Manifest::parse(document.to_string().as_bytes()).unwrap(),
        stock
    );
}

#[test]
fn a_list_of_dockers_is_read_with_the_names_of_oci() {
    let oci = "application/vnd.oci.image.layer.";
    let docker = "application/vnd.docker.image.rootfs.";
    for (stored, read) in [
        (format!("{docker}diff.tar"), format!("{oci}v1.tar")),
        (
            format!("{docker}diff.tar.gzip"),
            format!("{oci}v1.tar+gzip"),
        ),
        (
            format!("{docker}diff.tar.zstd"),
            format!("{oci}v1.tar+zstd"),
        ),
        (
            format!("{docker}foreign.diff.tar.gzip"),
            format!("{oci}nondistributable.v1.tar+gzip"),
        ),
        // What BuildKit has no other name for stays as it is.
        (format!("{oci}v1.tar+new"), format!("{oci}v1.tar+new")),
    ] {
        let mut stock = Manifest::parse(MANIFEST).unwrap();
        stock.layers[0].media_type = stored;
        let mut manifests = stock.layers.clone();
        manifests.push(stock.config.clone());
        let document = serde_json::json!({
            "schemaVersion": 2, "mediaType": LIST_TYPE, "manifests": manifests,
        });
        stock.layers[0].media_type = read;
        let parsed = Manifest::parse(document.to_string().as_bytes());
        assert_eq!(parsed.unwrap(), stock);
    }
}

#[test]
fn what_cannot_be_used_is_named() {
    let cases = [
        (b"{".to_vec(), "not what BuildKit writes"),
        (
            b"{}".to_vec(),
            "document of the cache manifest has the unknown media type \"\"",
        ),
        (
            format!(r#"{{"mediaType":"{INDEX_TYPE}"}}"#).into_bytes(),
            "names no cache config",
        ),
        (
            spoilt(
                "vnd.buildkit.cacheconfig.v0",
                "vnd.oci.image.config.v1+json",
            ),
            "config of the",
        ),
        (
            spoilt("image.layer.v1.tar+gzip", "image.lair"),
            "layer sha256:025ec",
        ),
    ];
    for (json, words) in cases {
        let error = Manifest::parse(&json).unwrap_err().to_string();
        assert!(error.contains(words), "{words:?} in {error:?}");
    }
    let cases = [
        (
            spoilt("\"containerd.io/uncompressed\"", "\"x\""),
            "no usable containerd.io",
        ),
        (
            spoilt("createdat\":\"2026", "createdat\":\"x"),
            "no usable buildkit/createdat",
        ),
        (
            spoilt(
                "\"digest\":\"sha256:025ec82e",
                "\"digest\":\"sha256:00000000",
            ),
            "names the layer sha256:025ec",
        ),
        (
            spoilt("fda879c4", "00000000"),
            "names the config sha256:00000000",
        ),
    ];
    for (json, words) in cases {
        let manifest = Manifest::parse(&json).unwrap();
        let error = manifest.index(CONFIG).unwrap_err().to_string();
        assert!(error.contains(words), "{words:?} in {error:?}");
    }
    let bare = index_format::parse(CONFIG).unwrap();
    let error = LocalCache::from_index(&bare).unwrap_err().to_string();
    assert!(error.contains("has no usable annotations"), "{error}");
}
