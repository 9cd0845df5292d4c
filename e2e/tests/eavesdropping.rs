//! The author of a Dockerfile is not trusted: a step that listens on the network that it shares with
//! buildkitd learns nothing of other builds, and can do nothing with what it hears.

use std::{fs, net::Ipv4Addr};

use crate::harness::{Api, Build, Builder, Daemon, Eavesdropper, Site, version};

/// The smallest layer that is looked for: smaller ones have too little content to be known by.
const KNOWABLE: u64 = 1 << 10;

#[test]
fn a_step_hears_nothing_of_the_import_of_another_build() {
    let site = Site::new();
    let address = Ipv4Addr::new(127, 77, 1, 1);
    let daemon = listening(&site, address, |_| ());
    hears_nothing_of_an_import(&site, &daemon, address);
}

/// Exports that BuildKit makes itself are relayed, with the bytes of every layer.
#[test]
fn a_step_hears_nothing_of_the_relayed_export_of_another_build_with_signatures() {
    version::must_sign();
    let site = Site::new();
    let address = Ipv4Addr::new(127, 77, 1, 2);
    let config = site.lab.path("buildkitd.toml");
    fs::write(&config, "[cache.gha.verify]\nrequired = true\n").expect("write the configuration");
    let daemon = listening(&site, address, |gateway| {
        gateway.arg("--config").arg(&config);
    });
    let builder = Builder::buildctl(&daemon);
    let mut listening = Eavesdropper::listen(&builder, address);
    let cache = site.gha(Api::V2, ",mode=max");
    builder.build(&Build::of(&site.context).to(cache)).ok();
    listening.steal();
    listening.end().is_worth_nothing(&layers(&site));
}

/// The gateway, with its endpoint on an address of the test's own.
fn listening(
    site: &Site,
    address: Ipv4Addr,
    edit: impl FnOnce(&mut std::process::Command),
) -> Daemon {
    Daemon::gateway_with(&site.lab, "gateway", |gateway| {
        gateway.arg("--import-listen").arg(format!("{address}:0"));
        edit(gateway);
    })
}

fn hears_nothing_of_an_import(site: &Site, daemon: &Daemon, address: Ipv4Addr) {
    let builder = Builder::buildctl(daemon);
    let cache = site.gha(Api::V2, ",mode=max");
    builder.build(&Build::of(&site.context).to(cache)).ok();
    builder.prune();
    let mut listening = Eavesdropper::listen(&builder, address);
    let import = Build::of(&site.context).from(site.gha(Api::V2, ""));
    let import = import.tar(site.tar("imported"));
    builder.build(&import).ok().no_warnings().all_cached();
    listening.steal();
    listening.end().is_worth_nothing(&layers(site));
}

/// The layers of the cache, as they are stored.
fn layers(site: &Site) -> Vec<Vec<u8>> {
    let entries = site.service.entries(&site.token, "buildkit-blob-");
    let large = entries
        .iter()
        .filter(|entry| entry.size_in_bytes > KNOWABLE);
    let layers: Vec<_> = large
        .map(|entry| site.service.read(&site.token, &entry.key))
        .collect();
    assert!(!layers.is_empty());
    layers
}
