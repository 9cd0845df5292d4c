//! The gateway in front of a buildkitd that it did not start.

use std::{fs, os::unix::fs::PermissionsExt as _};

use crate::harness::{Api, Build, Builder, Certificate, Daemon, Site};

#[test]
fn a_daemon_that_runs_already() {
    let site = Site::new();
    let stock = Daemon::stock(&site.lab, "stock");
    let gateway = Daemon::in_front_of(&stock, "gateway", |_| ());
    main_job(&site, &Builder::buildctl(&gateway));
}

/// As docs/GATEWAY.md says it.
#[test]
fn a_daemon_that_runs_already_and_trusts_the_endpoint() {
    let site = Site::new();
    let certificate = Certificate::for_endpoint(&site.lab);
    let stock = Daemon::stock_with(&site.lab, "stock", |stock| certificate.trusted_by(stock));
    let gateway = Daemon::in_front_of(&stock, "gateway", |gateway| certificate.shown_by(gateway));
    main_job(&site, &Builder::buildctl(&gateway));
}

/// The endpoint is where the flags say, and buildkitd is told of it as they say.
#[test]
fn a_daemon_that_reaches_imports_elsewhere() {
    let site = Site::new();
    let stock = Daemon::stock(&site.lab, "stock");
    let gateway = Daemon::in_front_of(&stock, "gateway", |gateway| {
        // All of 127.0.0.0/8 is this machine: an address of our own needs no free port.
        gateway.args(["--import-listen", "127.77.0.2:4077"]);
        gateway.args(["--import-url", "http://127.77.0.2:4077/"]);
        gateway.args(["--import", "loopback"]);
    });
    main_job(&site, &Builder::buildctl(&gateway));
}

/// It cannot reach the endpoint on our loopback. Its imports come over the session, as those of every
/// daemon that the gateway did not start and whose steps may listen.
#[test]
fn a_daemon_in_another_network_namespace() {
    let site = Site::new();
    let stock = Daemon::stock_apart(&site.lab, "stock");
    let gateway = Daemon::in_front_of(&stock, "gateway", |_| ());
    main_job(&site, &Builder::buildctl(&gateway));
}

/// Nothing tells the gateway that it cannot be reached but the calls that do not come.
#[test]
fn a_daemon_that_never_calls_is_a_warning() {
    let site = Site::new();
    let stock = Daemon::stock_apart(&site.lab, "stock");
    let gateway = Daemon::in_front_of(&stock, "gateway", |gateway| {
        gateway.args(["--import", "loopback"]);
    });
    let builder = Builder::buildctl(&gateway);
    let build = Build::new(&site.context).to(site.gha(Api::V2, ",mode=max"));
    builder.build(&build).ok().no_warnings();
    builder.prune();
    let warnings = builder
        .build(&build.from(site.gha(Api::V2, "")))
        .ok()
        .warnings;
    assert!(
        warnings
            .iter()
            .any(|text| text.contains("has never called the gateway")),
        "{warnings:?}"
    );
}

/// A program that starts buildkitd and clears its environment.
#[test]
fn a_buildkitd_that_does_not_trust_the_endpoint_is_a_warning() {
    let site = Site::new();
    let wrapper = site.lab.path("wrapper");
    fs::write(
        &wrapper,
        "#!/bin/sh\nunset SSL_CERT_DIR\nexec buildkitd \"$@\"\n",
    )
    .expect("write");
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).expect("a file of ours");
    let gateway = Daemon::gateway_with(&site.lab, "gateway", |gateway| {
        gateway.arg("--buildkitd").arg(&wrapper);
    });
    let builder = Builder::buildctl(&gateway);
    let build = Build::new(&site.context).to(site.gha(Api::V2, ",mode=max"));
    builder.build(&build).ok().no_warnings();
    builder.prune();
    let told = builder
        .build(&build.from(site.gha(Api::V2, "")))
        .ok()
        .warnings;
    let unreached = "has never called the gateway";
    assert!(told.iter().any(|text| text.contains(unreached)), "{told:?}");
}

fn main_job(site: &Site, builder: &Builder) {
    site.main_job(builder, &Build::new(&site.context));
    site.same("exported", "imported");
}
