//! `buildkit-gha serve`: the Actions cache of the tests, and what it counts.

use std::{net::SocketAddr, sync::Arc};

use super::{
    Http, Lab, SOON,
    process::{Process, command, run},
};

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_buildkit-gha");

/// What tokens of the service are for unless another repository is asked for.
const REPOSITORY: &str = "local/cache";

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
        let mut serve = command(lab, PROGRAM);
        serve.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]);
        serve.arg(lab.path("cache"));
        let mut process = Process::start(lab, "serve", serve);
        let address = process.until("it says where it listens", SOON, |log| {
            let mut lines = log.lines();
            lines.find_map(|line| line.strip_prefix("listening on http://")?.parse().ok())
        });
        process.until("/healthz answers", SOON, |_| {
            Http::new(address).text("/healthz")
        });
        Self { process, address }
    }

    /// Where it listens, as a URL that ends with a slash, as the runner's variables do.
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    fn http(&self) -> Http {
        Http::new(self.address)
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

    /// The keys of all entries that begin with this, at most a hundred.
    pub fn keys(&self, token: &str, prefix: &str) -> Vec<String> {
        #[derive(serde::Deserialize)]
        struct List {
            actions_caches: Vec<Entry>,
        }
        #[derive(serde::Deserialize)]
        struct Entry {
            key: String,
        }
        let path = format!("/repos/{REPOSITORY}/actions/caches?key={prefix}&per_page=100");
        let list = self
            .http()
            .token(token)
            .text(&path)
            .expect("the service lists");
        let list: List = serde_json::from_str(&list).expect("a list in JSON");
        list.actions_caches
            .into_iter()
            .map(|entry| entry.key)
            .collect()
    }

    /// How much content it has sent so far.
    pub fn sent_bytes(&self) -> u64 {
        let text = self.http().text("/metrics").expect("the service answers");
        let mut lines = text.lines();
        lines
            .find_map(|line| line.strip_prefix("buildkit_gha_service_sent_bytes_total "))
            .and_then(|value| value.parse().ok())
            .expect("the counter is there")
    }
}
