//! A gha cache beside other caches: none of them may notice the other.

use std::{fs, path::Path};

use serde_json::Value;

use crate::harness::{Api, Build, Builder, Daemon, Site, mount_tmpfs};

/// What an image with an inline cache has in its configuration.
const INLINE: &[u8] = b"moby.buildkit.cache.v0";

#[test]
fn local_and_inline() {
    let site = Site::new();
    let daemon = Daemon::gateway(&site.lab, "gateway");
    let builder = Builder::buildctl(&daemon);
    let local = site.lab.path("local-cache");
    let image = site.lab.path("image.oci");
    let metadata = site.lab.path("metadata.json");
    let gha = site.gha(Api::V2, ",mode=max");
    let build = Build::new(&site.context);

    let export = build
        .clone()
        .to(format!("type=local,dest={},mode=max", local.display()))
        .to(gha)
        .to("type=inline")
        .arg(format!("--output=type=oci,dest={}", image.display()))
        .arg(format!("--metadata-file={}", metadata.display()));
    builder.build(&export).ok().none_cached().no_warnings();

    let image = fs::read(image).expect("the image");
    let inline = image.windows(INLINE.len()).any(|window| window == INLINE);
    assert!(inline, "the image has its inline cache");
    let user = index_digest(&local);
    // The daemon tells it as JSON inside a string.
    let told = json(&metadata)["cache.manifest"]
        .as_str()
        .map(str::to_owned);
    let told: Value = serde_json::from_str(&told.expect("a cache manifest")).expect("JSON");
    let told = told["digest"].as_str().map(str::to_owned);
    assert_eq!(
        told,
        Some(user),
        "the manifest of the user's cache is told, not of ours"
    );

    for (name, cache) in [
        ("gha", site.gha(Api::V2, "")),
        ("local", format!("type=local,src={}", local.display())),
    ] {
        builder.prune();
        let import = build.clone().from(cache).tar(site.tar(name));
        builder.build(&import).ok().all_cached();
    }
    site.same("gha", "local");
}

/// No export but ours writes a manifest here, and the user asked for none.
#[test]
fn inline_only_and_no_word_of_our_manifest() {
    let site = Site::new();
    let daemon = Daemon::gateway(&site.lab, "gateway");
    let builder = Builder::buildctl(&daemon);
    let metadata = site.lab.path("metadata.json");
    let export = Build::new(&site.context)
        .to(site.gha(Api::V2, ""))
        .to("type=inline")
        .arg(format!(
            "--output=type=oci,dest={}",
            site.lab.path("image.oci").display()
        ))
        .arg(format!("--metadata-file={}", metadata.display()));
    builder.build(&export).ok().no_warnings();
    assert!(!site.keys("index-").is_empty(), "the cache was exported");
    let told = json(&metadata);
    assert!(told.get("containerimage.digest").is_some(), "{told}");
    assert_eq!(told.get("cache.manifest"), None);
}

/// The manifest of ours would be all that BuildKit answers, and clients put it into files.
#[test]
fn a_local_export_that_fails_is_not_told_our_manifest() {
    let site = Site::new();
    let daemon = Daemon::gateway(&site.lab, "gateway");
    let local = site.lab.path("full");
    fs::create_dir(&local).expect("create a directory");
    mount_tmpfs(&local, "1m");
    let metadata = site.lab.path("metadata.json");
    let build = Build::new(&site.context);
    let export = build
        .clone()
        .to(site.gha(Api::V2, ",mode=max"))
        .to(format!(
            "type=local,dest={},mode=max,ignore-error=true",
            local.display()
        ))
        .arg(format!("--metadata-file={}", metadata.display()));
    let builder = Builder::buildctl(&daemon);
    let outcome = builder.build(&export).ok().no_warnings();
    let error = outcome.error_of("exporting to client directory");
    let error = error.or_else(|| outcome.error_of("exporting cache to client directory"));
    assert!(error.is_some(), "it fails: {}", outcome.output);
    let told = fs::read_to_string(&metadata).unwrap_or_default();
    assert!(!told.contains("cache.manifest"), "{told}");
    assert!(!local.join("index.json").exists());
    builder.prune();
    let import = build.from(site.gha(Api::V2, ""));
    builder.build(&import).ok().no_warnings().all_cached();
}

fn index_digest(dir: &Path) -> String {
    let index = json(&dir.join("index.json"));
    index["manifests"][0]["digest"]
        .as_str()
        .expect("a digest")
        .to_owned()
}

fn json(path: &Path) -> Value {
    let text = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).expect("JSON")
}
