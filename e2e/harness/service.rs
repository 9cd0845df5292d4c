//! `buildkit-gha serve`: the Actions cache of the tests, and what it counts.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    time::Duration,
};

use super::{
    Lab, SOON,
    process::{Process, command, run},
};

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_buildkit-gha");

/// Which protocol of the Actions cache a build is told to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// GitHub Enterprise Server, act.
    V1,
    /// github.com.
    V2,
}

/// A running Actions cache service.
pub struct Service {
    process: Process,
    address: SocketAddr,
}

impl Service {
    /// Starts the service and waits until it answers.
    pub fn start(lab: &Arc<Lab>) -> Self {
        let address = free_address();
        let mut serve = command(lab, PROGRAM);
        serve.arg("serve").arg("--listen").arg(address.to_string());
        serve.arg("--data-dir").arg(lab.path("cache"));
        let mut process = Process::start(lab, "serve", serve);
        process.until("/healthz answers", SOON, || get(address, "/healthz"));
        Self { process, address }
    }

    /// Where it listens, as a URL that ends with a slash, as the runner's variables do.
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Mints a token for scopes like `refs/heads/main=rw`.
    pub fn token(&self, scopes: &[&str]) -> String {
        let lab = self.process.lab();
        let mut mint = command(lab, PROGRAM);
        mint.arg("token").arg("--data-dir").arg(lab.path("cache"));
        for scope in scopes {
            mint.args(["--scope", scope]);
        }
        run(lab, "token", mint, SOON).ok("token").trim().to_owned()
    }

    /// The sum of a counter over all its labels, or over those that contain `label`.
    pub fn count(&self, name: &str, label: &str) -> u64 {
        let text = get(self.address, "/metrics").expect("the service answers");
        text.lines()
            .filter(|line| line.starts_with(name) && line.contains(label))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
            .sum()
    }
}

/// A port of loopback that was free a moment ago.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
}

/// A GET without any library, so that the tests share no code with what they test.
fn get(address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()?;
    stream.set_read_timeout(Some(SOON)).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.lines()
        .next()?
        .contains(" 200 ")
        .then(|| body.to_owned())
}
