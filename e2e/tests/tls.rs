//! A cache service behind TLS whose certificate no system knows.

use std::path::PathBuf;

use crate::harness::{
    Api, Build, Builder, Container, Context, Daemon, Engine, Lab, Site, TlsFront,
};

/// A site whose service is reached over TLS, the URL of that, and the certificate.
fn behind_tls() -> (Site, String, PathBuf) {
    let lab = Lab::new();
    let front = TlsFront::new(&lab);
    let (url, certificate) = (front.url(), front.certificate.clone());
    let site = Site::in_lab(lab, |serve| {
        serve.env("BUILDKIT_GHA_BASE_URL", &url);
    });
    front.serve(site.service.address());
    (site, url, certificate)
}

/// Exports a build and imports it again.
fn round_trip(site: &Site, url: &str, scope: &str, builder: &Builder, again: &Builder) {
    for api in [Api::V1, Api::V2] {
        let attributes = api.attributes(url);
        let token = &site.token;
        let cache = format!("type=gha,{attributes},token={token},scope={scope}-{api:?}");
        let export = Build::new(&site.context).to(format!("{cache},mode=max"));
        builder.build(&export).ok().no_warnings();
        builder.prune();
        let import = Build::new(&site.context).from(cache);
        again.build(&import).ok().no_warnings().all_cached();
        again.prune();
    }
}

#[test]
fn a_self_signed_certificate_in_ssl_cert_file_is_trusted() {
    let (site, url, certificate) = behind_tls();
    let daemon = Daemon::gateway_with(&site.lab, "gateway", |gateway| {
        gateway.env("SSL_CERT_FILE", &certificate);
    });
    let builder = Builder::buildctl(&daemon);
    round_trip(&site, &url, "file", &builder, &builder);
}

/// The gateway adds the certificate of its endpoint to what buildkitd trusts, and takes nothing away.
/// Steps learn nothing of it.
#[test]
fn buildkitd_trusts_what_its_user_says_beside_the_gateways_endpoint() {
    let (site, url, certificate) = behind_tls();
    let folder = certificate.parent().expect("a file");
    let dockerfile =
        format!("ADD {url}healthz /healthz\nRUN test -z \"$SSL_CERT_DIR$SSL_CERT_FILE\"\n");
    let context = Context::with_shell(&site.lab, "adding", &dockerfile);
    for (variable, value) in [
        ("SSL_CERT_FILE", certificate.as_path()),
        ("SSL_CERT_DIR", folder),
    ] {
        let daemon = Daemon::gateway_with(&site.lab, variable, |gateway| {
            gateway.env(variable, value);
        });
        let builder = Builder::buildctl(&daemon);
        builder.build(&Build::new(&context)).ok();
        round_trip(&site, &url, variable, &builder, &builder);
    }
}

/// What a proxy says is believed where it is named.
#[test]
fn a_proxy_with_tls_that_is_named() {
    let lab = Lab::new();
    let front = TlsFront::new(&lab);
    let (url, certificate) = (front.url(), front.certificate.clone());
    let site = Site::in_lab(lab, |serve| {
        serve.env("BUILDKIT_GHA_TRUSTED_PROXY", "127.0.0.1");
    });
    front.serve_as_proxy(site.service.address());
    let daemon = Daemon::gateway_with(&site.lab, "gateway", |gateway| {
        gateway.env("SSL_CERT_FILE", &certificate);
    });
    let builder = Builder::buildctl(&daemon);
    round_trip(&site, &url, "proxy", &builder, &builder);
    let log = site.service.process.log();
    assert!(!log.contains("--trusted-proxy"), "{log}");
}

/// Where it is not, both sides say what is wrong: the service in its log, and the build, whose
/// signed URLs begin with `http://` and lead nowhere.
#[test]
fn a_proxy_with_tls_that_nobody_has_named_is_told_of() {
    let lab = Lab::new();
    let front = TlsFront::new(&lab);
    let (url, certificate) = (front.url(), front.certificate.clone());
    let site = Site::in_lab(lab, |_| ());
    front.serve_as_proxy(site.service.address());
    let daemon = Daemon::gateway_with(&site.lab, "gateway", |gateway| {
        gateway.env("SSL_CERT_FILE", &certificate);
    });
    let (attributes, token) = (Api::V2.attributes(&url), &site.token);
    let cache = format!("type=gha,{attributes},token={token},timeout=5s");
    let build = Build::new(&site.context).to(cache);
    let outcome = Builder::buildctl(&daemon).build(&build).ok();
    for words in [
        "its signed URLs begin with http://",
        "--base-url",
        "--trusted-proxy",
    ] {
        let says = |warning: &String| warning.contains(words);
        assert!(outcome.warnings.iter().any(says), "{words}: {outcome:?}");
    }
    let log = site.service.process.log();
    assert!(log.contains("say --trusted-proxy 127.0.0.1"), "{log}");
}

/// Nothing of it can be read by a build step that shares the network.
#[test]
fn the_service_speaks_tls_itself() {
    let lab = Lab::new();
    let own = TlsFront::new(&lab);
    let site = Site::in_lab(lab, |serve| {
        serve.env("BUILDKIT_GHA_TLS_CERT", &own.certificate);
        serve.env("BUILDKIT_GHA_TLS_KEY", &own.key);
    });
    let url = format!("https://localhost:{}/", site.service.address().port());
    let daemon = Daemon::gateway_with(&site.lab, "gateway", |gateway| {
        gateway.env("SSL_CERT_FILE", &own.certificate);
    });
    let builder = Builder::buildctl(&daemon);
    round_trip(&site, &url, "service", &builder, &builder);
}

/// As docs/SERVE.md says it.
#[test]
fn buildx_brings_a_private_certificate_into_its_container() {
    let (site, url, certificate) = behind_tls();
    let config = site.lab.path("buildkitd.toml");
    let text = format!("[registry.\"localhost\"]\n  ca = [{certificate:?}]\n");
    std::fs::write(&config, text).expect("write a file");
    let engine = Engine::shared();
    let container = Container::create_with(&site.lab, &engine, "private-ca", |create| {
        create.arg("--buildkitd-config").arg(&config);
        create.args(["--driver-opt", "network=host"]);
        for variable in [
            "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt",
            "SSL_CERT_DIR=/etc/buildkit/certs/localhost",
        ] {
            create.args(["--driver-opt", &format!("env.{variable}")]);
        }
    });
    round_trip(
        &site,
        &url,
        "container",
        container.builder(),
        container.builder(),
    );
}
