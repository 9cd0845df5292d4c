//! `buildkit-gha healthcheck`: what the health check of the image of `serve` runs.

use std::{
    io::{BufRead as _, BufReader},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
};

use crate::program::{Said, program, run_with};

/// A service, which ends with the value, and its port.
struct Serve {
    child: Child,
    port: u16,
}

impl Serve {
    fn start(dir: &Path, args: &[&str]) -> Self {
        let mut serve = program(&["serve", "--listen", ":0", "--data-dir"]);
        serve.arg(dir.join("cache")).args(args);
        let mut child = serve.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let port = line.trim().rsplit_once(':').unwrap().1.parse().unwrap();
        Self { child, port }
    }

    fn check(&self, more: &[(&str, &str)]) -> Said {
        let listen = format!(":{}", self.port);
        let listen = ("BUILDKIT_GHA_LISTEN", listen.as_str());
        // A proxy that nobody has is not asked.
        let proxy = ("HTTP_PROXY", "http://127.0.0.1:1");
        run_with(&["healthcheck"], &[&[listen, proxy], more].concat())
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn a_service_that_answers_is_well() {
    let dir = tempfile::tempdir().unwrap();
    let serve = Serve::start(dir.path(), &[]);
    let said = serve.check(&[]);
    assert_eq!(said.code, Some(0), "{said:?}");
    // It speaks no TLS.
    let said = serve.check(&[("BUILDKIT_GHA_TLS_CERT", "/any.pem")]);
    assert_eq!(said.code, Some(1), "{said:?}");
}

/// The certificate is for the name that builders know.
#[test]
fn a_service_with_tls_is_asked_over_tls() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (certificate, key) = (path("own.pem"), path("own.key"));
    let made = Command::new("openssl")
        .args("req -x509 -days 1 -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256".split(' '))
        .args([
            "-subj",
            "/CN=cache",
            "-addext",
            "subjectAltName=DNS:cache.example",
        ])
        .args(["-out", &certificate, "-keyout", &key])
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let serve = Serve::start(dir.path(), &["--tls-cert", &certificate, "--tls-key", &key]);
    let said = serve.check(&[("BUILDKIT_GHA_TLS_CERT", &certificate)]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(serve.check(&[]).code, Some(1), "it speaks TLS alone");
}

#[test]
fn a_service_that_is_not_there_is_named() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = closed.local_addr().unwrap().to_string();
    drop(closed);
    let said = run_with(&["healthcheck"], &[("BUILDKIT_GHA_LISTEN", &address)]);
    assert_eq!(said.code, Some(1), "{said:?}");
    for words in [address.as_str(), "Connection refused"] {
        assert!(said.stderr.contains(words), "{said:?}");
    }
}
