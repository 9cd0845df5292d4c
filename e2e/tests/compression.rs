//! `compression`, `compression-level` and `force-compression` of an export, and what they mean for
//! those who read the cache.

use std::{collections::BTreeSet, fs};

use serde_json::Value;

use crate::harness::{Api, Build, Builder, Context, Daemon, Site};

/// What media types of layers begin with.
const TAR: &str = "application/vnd.oci.image.layer.v1.tar";

/// What an image says of a layer in the format of eStargz.
const TOC: &str = "containerd.io/snapshot/stargz/toc.digest";

/// Each `compression`, and what it adds to the media type of a layer.
const KINDS: [(&str, &str); 4] = [
    ("uncompressed", ""),
    ("gzip", "+gzip"),
    ("zstd", "+zstd"),
    ("estargz", "+gzip"),
];

/// The layers of the only index of this scope.
fn layers(site: &Site, scope: &str) -> Vec<Value> {
    let keys = site.keys(&format!("index-{scope}-"));
    let newest = keys.last().expect("an index");
    let index = site.service.read(&site.token, newest);
    let index: Value = serde_json::from_slice(&index).expect("JSON");
    index["layers"].as_array().expect("layers").clone()
}

/// The kinds of layers in the index of this scope.
fn kinds(site: &Site, scope: &str) -> BTreeSet<String> {
    let kind = |layer: &Value| {
        layer["annotations"]["mediaType"]
            .as_str()
            .map(str::to_owned)
    };
    let all: Option<BTreeSet<_>> = layers(site, scope).iter().map(kind).collect();
    all.expect("each layer has a media type")
}

fn only(kind: &str) -> BTreeSet<String> {
    BTreeSet::from([format!("{TAR}{kind}")])
}

#[test]
fn every_kind_is_read_by_both() {
    let site = Site::new();
    let stock = Daemon::stock(&site.lab, "stock");
    let gateway = Daemon::gateway(&site.lab, "gateway");
    let (stock, gateway) = (Builder::buildctl(&stock), Builder::buildctl(&gateway));
    for (kind, suffix) in KINDS {
        gateway.prune();
        let export = site.gha(
            Api::V2,
            &format!(",mode=max,scope={kind},compression={kind}"),
        );
        let export = Build::new(&site.context).to(export).tar(site.tar(kind));
        gateway.build(&export).ok().no_warnings();
        assert_eq!(kinds(&site, kind), only(suffix), "{kind}");
        for (name, reader) in [("stock", &stock), ("ours", &gateway)] {
            reader.prune();
            let read = format!("{kind}-{name}");
            let import = site.gha(Api::V2, &format!(",scope={kind}"));
            let import = Build::new(&site.context).from(import).tar(site.tar(&read));
            reader.build(&import).ok().no_warnings().all_cached();
            site.same(kind, &read);
        }
    }
}

/// What the builder has is stored as it is, unless the user forces it.
#[test]
fn layers_that_are_there_change_by_force_only() {
    let site = Site::new();
    let daemon = Daemon::gateway(&site.lab, "gateway");
    let builder = Builder::buildctl(&daemon);
    for (scope, attributes, kind) in [
        ("first", "", "+gzip"),
        ("asked", ",compression=zstd", "+gzip"),
        (
            "forced",
            ",compression=zstd,force-compression=true",
            "+zstd",
        ),
    ] {
        let export = site.gha(Api::V2, &format!(",mode=max,scope={scope}{attributes}"));
        let build = Build::new(&site.context).to(export);
        builder.build(&build).ok().no_warnings();
        assert_eq!(kinds(&site, scope), only(kind), "{scope}");
    }
}

#[test]
fn the_level_is_passed_on() {
    let site = Site::new();
    let daemon = Daemon::gateway(&site.lab, "gateway");
    let builder = Builder::buildctl(&daemon);
    let context = Context::with_shell(&site.lab, "shell", "");
    let bytes = |kind: &str, level: &str| {
        builder.prune();
        let scope = format!("{kind}{level}");
        let attributes = format!(",compression={kind},compression-level={level}");
        let export = site.gha(Api::V2, &format!(",mode=max,scope={scope}{attributes}"));
        builder
            .build(&Build::new(&context).to(export))
            .ok()
            .no_warnings();
        let sizes = layers(&site, &scope);
        let sizes = sizes
            .iter()
            .map(|layer| layer["annotations"]["size"].as_u64());
        sizes.sum::<Option<u64>>().expect("each layer has a size")
    };
    for kind in ["gzip", "zstd"] {
        let (fast, small) = (bytes(kind, "1"), bytes(kind, "9"));
        assert!(small < fast, "{kind}: {small} < {fast}");
    }
}

/// What docs/ATTRIBUTES.md says: an image that is made of imported layers has them as the cache has them.
#[test]
fn images_made_later() {
    let site = Site::new();
    let daemon = Daemon::gateway(&site.lab, "gateway");
    let builder = Builder::buildctl(&daemon);
    for (kind, output, expected) in [
        ("zstd", "", "+zstd"),
        ("zstd", ",compression=gzip,force-compression=true", "+gzip"),
        ("estargz", "", "+gzip"),
    ] {
        builder.prune();
        let cache = site.gha(Api::V2, &format!(",mode=max,scope={kind}{}", output.len()));
        let compressed = Build::new(&site.context).to(format!("{cache},compression={kind}"));
        builder.build(&compressed).ok();
        builder.prune();
        let image = site.lab.path(format!("{kind}{}.image", output.len()));
        let output = format!(
            "--output=type=oci,tar=false,dest={}{output}",
            image.display()
        );
        let import = Build::new(&site.context).from(cache).arg(output);
        builder.build(&import).ok();

        let read = |digest: &str| -> Value {
            let blob = image
                .join("blobs/sha256")
                .join(digest.trim_start_matches("sha256:"));
            serde_json::from_slice(&fs::read(blob).expect("a blob")).expect("JSON")
        };
        let index = fs::read(image.join("index.json")).expect("an index");
        let index: Value = serde_json::from_slice(&index).expect("JSON");
        let manifest = read(index["manifests"][0]["digest"].as_str().expect("a digest"));
        for layer in manifest["layers"].as_array().expect("layers") {
            assert_eq!(layer["mediaType"], format!("{TAR}{expected}"));
            assert!(layer["annotations"].get(TOC).is_none(), "{layer}");
        }
    }
}
