//! The PROXY protocol: what the service makes of connections with a header and without.

use std::{fs, net::SocketAddr, path::Path};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::program::Program;

const REQUEST: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
const HEADER: &[u8] = b"PROXY TCP4 192.0.2.7 127.0.0.1 4711 3000\r\n";

fn start(dir: &Path, flags: &[&str]) -> Program {
    Program::start_with(&dir.join("data"), &dir.join("log"), flags)
}

fn address(program: &Program) -> SocketAddr {
    let (_, address) = program.url.split_once("://").unwrap();
    address.parse().unwrap()
}

/// All that the service answers to these bytes.
async fn answer(program: &Program, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address(program)).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    // Whoever is refused before all was read is reset.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn a_header_is_read_from_those_that_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let program = start(dir.path(), &["--proxy-protocol", "127.0.0.0/8"]);
    let said = answer(&program, &[HEADER, REQUEST].concat()).await;
    assert!(said.starts_with("HTTP/1.1 200"), "{said}");
    for _ in 0..3 {
        assert_eq!(
            answer(&program, REQUEST).await,
            "",
            "without one it is refused"
        );
    }
    program.end();
    let log = fs::read_to_string(dir.path().join("log")).unwrap();
    let lines: Vec<_> = log
        .lines()
        .filter(|line| line.contains("--proxy-protocol"))
        .collect();
    assert_eq!(lines.len(), 1, "one line says so: {log}");
    assert!(
        lines[0].contains("127.0.0.1") && lines[0].contains("send-proxy"),
        "{log}"
    );
}

#[tokio::test]
async fn a_header_of_others_is_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let program = start(dir.path(), &["--proxy-protocol", "192.0.2.0/24"]);
    let said = answer(&program, &[HEADER, REQUEST].concat()).await;
    assert!(said.starts_with("HTTP/1.1 400"), "it is no request: {said}");
    let said = answer(&program, REQUEST).await;
    assert!(said.starts_with("HTTP/1.1 200"), "{said}");
    program.end();
}

#[cfg(feature = "e2e")] // They run haproxy.
mod haproxy {
    use super::*;
    use crate::{
        balancer::Balancer,
        program::Remote,
        tls::{self_signed, trusting},
    };

    /// An address of this machine that nobody else connects from.
    const CLIENT: &str = "127.0.0.7";

    async fn save_and_read(remote: &Remote) {
        let id = remote.reserve("key").await.unwrap().json()["cacheId"].as_i64();
        let patched = remote.patch(id.unwrap(), 0, b"content").await.unwrap();
        assert!(patched.status.is_success(), "{}", patched.text());
        let committed = remote.commit(id.unwrap(), 7).await.unwrap();
        assert!(committed.status.is_success(), "{}", committed.text());
        assert_eq!(remote.read("key").await.unwrap().unwrap(), b"content");
    }

    /// Each request of the log is from the client.
    fn assert_client_is_known(dir: &Path) {
        let log = fs::read_to_string(dir.join("log")).unwrap();
        let lines: Vec<_> = log
            .lines()
            .filter(|line| line.contains("client="))
            .collect();
        assert!(lines.len() >= 5, "{log}");
        let known = format!("client={CLIENT}");
        assert!(lines.iter().all(|line| line.contains(&known)), "{log}");
    }

    async fn names_the_client(option: &str) {
        let dir = tempfile::tempdir().unwrap();
        let program = start(dir.path(), &["--proxy-protocol", "127.0.0.1"]);
        let balancer = Balancer::of_connections(option, dir.path(), &[address(&program)]);
        let http = reqwest::Client::builder().no_proxy();
        let http = http.local_address(Some(CLIENT.parse().unwrap()));
        let remote = program.client(&dir.path().join("data"));
        save_and_read(&remote.over(http.build().unwrap()).to(&balancer.url)).await;
        program.end();
        assert_client_is_known(dir.path());
    }

    #[tokio::test]
    async fn haproxy_names_the_client_in_a_line() {
        names_the_client("send-proxy").await;
    }

    #[tokio::test]
    async fn haproxy_names_the_client_in_bytes() {
        names_the_client("send-proxy-v2").await;
    }

    #[tokio::test]
    async fn the_header_comes_before_tls() {
        let dir = tempfile::tempdir().unwrap();
        let pair = self_signed(dir.path(), "own");
        let (certificate, key) = (pair.certificate.to_str(), pair.key.to_str());
        let flags = [
            "--tls-cert",
            certificate.unwrap(),
            "--tls-key",
            key.unwrap(),
        ];
        let named = ["--proxy-protocol", "127.0.0.1"];
        let program = start(dir.path(), &[&flags[..], &named].concat());
        let option = "send-proxy-v2";
        let balancer = Balancer::of_connections(option, dir.path(), &[address(&program)]);
        let remote = program.client(&dir.path().join("data"));
        let remote = remote.over(trusting(&pair.certificate));
        save_and_read(&remote.to(&balancer.url.replace("http:", "https:"))).await;
        program.end();
    }
}
