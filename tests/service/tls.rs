//! TLS of the service itself, as the real program speaks it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use futures_util::future::join_all;
use reqwest::{Certificate, Client, StatusCode, Version};

use crate::{
    program::Program,
    replicas::{MIB, block},
};

/// How many entries come and go at once.
const ENTRIES: usize = 20;

/// A certificate and its key.
pub struct Pair {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// What openssl makes for the address that the tests use. It says that it is no authority, so that any
/// client may trust it for itself.
pub fn self_signed(dir: &Path, name: &str) -> Pair {
    let pair = Pair {
        certificate: dir.join(format!("{name}.pem")),
        key: dir.join(format!("{name}.key")),
    };
    let made = Command::new("openssl")
        .args("req -x509 -days 1 -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256".split(' '))
        .args(["-subj", &format!("/CN={name}")])
        .args(["-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-out")
        .arg(&pair.certificate)
        .arg("-keyout")
        .arg(&pair.key)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    pair
}

/// A client that trusts one certificate.
pub fn trusting(certificate: &Path) -> Client {
    trusting_bytes(&fs::read(certificate).unwrap())
}

fn trusting_bytes(certificate: &[u8]) -> Client {
    let certificate = Certificate::from_pem(certificate).unwrap();
    let client = Client::builder().no_proxy();
    client.tls_certs_only([certificate]).build().unwrap()
}

fn start(dir: &Path, pair: &Pair) -> Program {
    let (certificate, key) = (pair.certificate.to_str(), pair.key.to_str());
    let arguments = [
        "--tls-cert",
        certificate.unwrap(),
        "--tls-key",
        key.unwrap(),
    ];
    Program::start_with(&dir.join("data"), &dir.join("log"), &arguments)
}

/// A client that speaks HTTP/2 only, as a load balancer may.
fn of_http2(certificate: &Path) -> Client {
    let certificate = Certificate::from_pem(&fs::read(certificate).unwrap()).unwrap();
    let client = Client::builder().no_proxy().http2_prior_knowledge();
    client.tls_certs_only([certificate]).build().unwrap()
}

#[tokio::test]
async fn entries_come_and_go_over_tls() {
    let dir = tempfile::tempdir().unwrap();
    let pair = self_signed(dir.path(), "own");
    let mut program = start(dir.path(), &pair);
    assert!(program.url.starts_with("https://"), "{}", program.url);
    for (http, version) in [
        // It offers both.
        (trusting(&pair.certificate), Version::HTTP_11),
        (of_http2(&pair.certificate), Version::HTTP_2),
    ] {
        let health = http.get(format!("{}/healthz", program.url)).send();
        assert_eq!(health.await.unwrap().version(), version);
        let remote = program.client(&dir.path().join("data")).over(http);
        // HTTP/2 has them all on one connection.
        let entries = (0..ENTRIES).map(|number| {
            let remote = &remote;
            async move {
                let key = format!("{version:?}-{number}");
                let url = remote.upload_url(&key).await;
                let blocks = [block(number, MIB), block(number + 1, MIB)];
                remote.put_blocks(&url, &blocks).await;
                remote.finalize(&key, 2 * MIB).await.unwrap();
                let read = remote.read(&key).await.unwrap().unwrap();
                assert!(read == blocks.concat(), "{key}");
                url
            }
        });
        for url in join_all(entries).await {
            assert!(url.starts_with(&program.url), "URLs lead back: {url}");
        }
    }
    // Who speaks plain HTTP hears nothing.
    let plain = program.url.replace("https", "http");
    let plain = Client::new().get(format!("{plain}/healthz")).send().await;
    assert!(plain.is_err());
    program.is_sound();
}

#[tokio::test]
async fn a_certificate_that_is_replaced_is_shown_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let shown = self_signed(dir.path(), "first");
    let second = self_signed(dir.path(), "second");
    let program = start(dir.path(), &shown);
    let health = format!("{}/healthz", program.url);
    let kept = fs::read(&shown.certificate).unwrap();
    let (first, new) = (trusting(&shown.certificate), trusting(&second.certificate));
    assert_eq!(
        first.get(&health).send().await.unwrap().status(),
        StatusCode::OK
    );
    assert!(new.get(&health).send().await.is_err());
    // One file comes before the other. Half a pair changes nothing.
    let replace = |from: &Path, to: &Path| fs::rename(from, to).unwrap();
    replace(&second.certificate, &shown.certificate);
    let first = trusting_bytes(&kept);
    assert_eq!(
        first.get(&health).send().await.unwrap().status(),
        StatusCode::OK
    );
    replace(&second.key, &shown.key);
    assert_eq!(
        new.get(&health).send().await.unwrap().status(),
        StatusCode::OK
    );
}

#[test]
fn files_that_are_no_identity_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let (own, other) = (
        self_signed(dir.path(), "own"),
        self_signed(dir.path(), "other"),
    );
    let missing = dir.path().join("missing.pem");
    for (certificate, key, named) in [
        (&missing, &own.key, "missing.pem"),
        (&own.certificate, &own.certificate, "own.pem"),
        (&own.key, &own.key, "it holds no certificate"),
        (&own.certificate, &other.key, "cannot be used with the key"),
    ] {
        let serve = Command::new(env!("CARGO_BIN_EXE_buildkit-gha"))
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(dir.path().join("data"))
            .arg("--tls-cert")
            .arg(certificate)
            .arg("--tls-key")
            .arg(key)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&serve.stderr);
        assert_eq!(serve.status.code(), Some(1), "{said}");
        assert!(said.contains(named), "{named}: {said}");
    }
    let half = Command::new(env!("CARGO_BIN_EXE_buildkit-gha"))
        .args(["serve", "--data-dir", "x", "--tls-cert", "x"])
        .output()
        .unwrap();
    assert_eq!(half.status.code(), Some(2), "{half:?}");
}

/// Whoever listens on more than this machine is told what that means, once it is so.
#[test]
fn tokens_in_clear_are_warned_of() {
    let dir = tempfile::tempdir().unwrap();
    let pair = self_signed(dir.path(), "own");
    let pair = [
        pair.certificate.to_str().unwrap(),
        pair.key.to_str().unwrap(),
    ];
    let tls = ["--tls-cert", pair[0], "--tls-key", pair[1]];
    for (more, warned) in [
        (&[][..], true),
        (&tls[..], false),
        (&["--trusted-proxy", "10.0.0.1"][..], false),
        (&["--base-url", "https://cache.example/"][..], false),
        (&["--listen", "127.0.0.1:0"][..], false),
    ] {
        let log = dir.path().join("log");
        let _ = fs::remove_file(&log);
        let mut arguments = vec!["--listen", "0.0.0.0:0"];
        if more.contains(&"--listen") {
            arguments.clear();
        }
        arguments.extend(more);
        let program = Program::listening(&dir.path().join("data"), &log, &arguments);
        program.end();
        let log = fs::read_to_string(&log).unwrap();
        assert_eq!(log.contains("travel in clear"), warned, "{more:?}: {log}");
    }
}
