//! The author of a Dockerfile is not trusted: a step that listens on the network that it shares with
//! buildkitd learns nothing of other builds, and can do nothing with what it hears.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
};

use crate::{
    attack::step::{layers, listen_to_an_import, listening},
    harness::{Api, Build, Builder, Certificate, Daemon, Eavesdropper, Lab, Site, version},
};

/// With it BuildKit makes its exports itself.
const VERIFY: &str = "[cache.gha.verify]\nrequired = true\n";

#[test]
fn a_step_hears_nothing_of_the_import_of_another_build() {
    let site = Site::new();
    let address = Ipv4Addr::new(127, 77, 1, 1);
    let daemon = listening(&site, address, |_| ());
    listen_to_an_import(&site, &daemon, address).assert_no_secrets(&layers(&site));
}

/// Exports that BuildKit makes itself are relayed, with the bytes of every layer.
#[test]
fn a_step_hears_nothing_of_the_relayed_export_of_another_build_with_signatures() {
    version::must_sign();
    let site = Site::new();
    let address = Ipv4Addr::new(127, 77, 1, 2);
    let config = site.lab.path("buildkitd.toml");
    fs::write(&config, VERIFY).expect("write the configuration");
    let daemon = listening(&site, address, |gateway| {
        gateway.arg("--config").arg(&config);
    });
    let builder = Builder::buildctl(&daemon);
    let mut listening = Eavesdropper::listen(&builder, address);
    let cache = site.gha(Api::V2, ",mode=max");
    builder.build(&Build::new(&site.context).to(cache)).ok();
    listening.replay();
    listening.end().assert_no_secrets(&layers(&site));
}

/// A buildkitd that the gateway did not start trusts nothing of it: imports keep off the network.
#[test]
fn a_step_hears_nothing_of_an_import_of_a_daemon_that_runs_already() {
    let site = Site::new();
    let address = Ipv4Addr::new(127, 77, 1, 3);
    let stock = Daemon::stock(&site.lab, "stock");
    let daemon = Daemon::in_front_of(&stock, "gateway", |gateway| {
        gateway.arg("--import-listen").arg(format!("{address}:0"));
    });
    listen_to_an_import(&site, &daemon, address).assert_empty();
    assert!(
        daemon
            .process
            .log()
            .contains("may listen to the import endpoint"),
        "the operator is told"
    );
}

#[test]
fn a_step_hears_nothing_where_the_operator_has_made_a_daemon_trust_the_endpoint() {
    let site = Site::new();
    let address = Ipv4Addr::new(127, 77, 1, 4);
    let certificate = Certificate::new(&site.lab, &format!("IP:{address}"));
    let stock = Daemon::stock_with(&site.lab, "stock", |stock| certificate.trusted_by(stock));
    let daemon = Daemon::in_front_of(&stock, "gateway", |gateway| {
        gateway.arg("--import-listen").arg(format!("{address}:0"));
        certificate.shown_by(gateway);
    });
    let captured = listen_to_an_import(&site, &daemon, address);
    captured.assert_no_secrets(&layers(&site));
    assert!(
        !daemon.process.log().contains("may listen"),
        "nothing to warn of"
    );
}

/// An export that BuildKit makes itself has no other way than the endpoint.
#[test]
fn what_must_pass_in_clear_is_a_warning_with_signatures() {
    version::must_sign();
    let site = Site::new();
    let config = site.lab.path("buildkitd.toml");
    fs::write(&config, VERIFY).expect("write the configuration");
    let stock = Daemon::stock_with(&site.lab, "stock", |stock| {
        stock.arg("--config").arg(&config);
    });
    let daemon = Daemon::in_front_of(&stock, "gateway", |gateway| {
        gateway.arg("--config").arg(&config);
    });
    let export = Build::new(&site.context).to(site.gha(Api::V2, ",mode=max"));
    let warnings = Builder::buildctl(&daemon).build(&export).ok().warnings;
    let clear = "passes unencrypted where build steps can listen";
    assert!(
        warnings.iter().any(|text| text.contains(clear)),
        "{warnings:?}"
    );
}

/// A service that is started again leaves its port for a moment, and a step may take it.
#[test]
fn a_step_that_takes_the_port_of_a_service_gets_no_token_over_tls() {
    let site = Site::new();
    let daemon = Daemon::gateway(&site.lab, "gateway");
    let builder = Builder::buildctl(&daemon);
    for (scheme, told) in [("https", false), ("http", true)] {
        let address = Ipv4Addr::new(127, 77, 1, if told { 6 } else { 7 });
        let listener = TcpListener::bind((address, 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        drop(listener);
        let mut squatting = Eavesdropper::squat(&builder, address, port);
        let url = format!("{scheme}://{address}:{port}/");
        let (attributes, token) = (Api::V2.attributes(&url), &site.token);
        let cache = format!("type=gha,{attributes},token={token},timeout=1s");
        let build = Build::new(&site.context).to(cache);
        let outcome = builder.build(&build).ok();
        assert_eq!(outcome.output.contains("without TLS"), told, "{scheme}");
        squatting.until_said("accepted");
        assert_eq!(squatting.end().has(token), told, "{scheme}");
    }
}

/// The log tells the operator that steps could read the token.
#[test]
fn a_service_without_tls_is_a_warning_at_the_start() {
    let lab = Lab::new();
    for (scheme, warned) in [("http", true), ("https", false)] {
        let daemon = Daemon::gateway_with(&lab, scheme, |gateway| {
            gateway.env("BUILDKIT_GHA_URL", format!("{scheme}://127.0.0.1:9/"));
            gateway.env("BUILDKIT_GHA_TOKEN", "token");
        });
        let log = daemon.process.log();
        let says = log.contains("BUILDKIT_GHA_URL is plain http");
        assert_eq!(says, warned, "{log}");
    }
}
