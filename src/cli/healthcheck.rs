//! `buildkit-gha healthcheck`: whether a service of `serve` answers, for the health check of its container,
//! which has no other program to ask with.

use std::{error::Error, path::PathBuf, process::ExitCode, time::Duration};

use clap::Args;

use super::{exit::fail, logging::Logging};
use crate::net::Listen;

/// An answer takes milliseconds; a service that needs longer is of no use to builds.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Asks the service of `serve` whether it is well: exit code 0 if it says so, else 1. It reads the
/// variables that `serve` reads.
#[derive(Debug, Args)]
pub struct Healthcheck {
    /// Where the service listens.
    #[arg(long, env = "BUILDKIT_GHA_LISTEN", default_value = "127.0.0.1:3000")]
    listen: Listen,

    /// The certificate of the service, if it speaks TLS. It is not read: whoever answers is told nothing.
    #[arg(long, env = "BUILDKIT_GHA_TLS_CERT", value_name = "FILE")]
    tls_cert: Option<PathBuf>,

    #[command(flatten)]
    pub(super) logging: Logging,
}

impl Healthcheck {
    pub fn run(self) -> ExitCode {
        let scheme = self.tls_cert.map_or("http", |_| "https");
        let url = format!("{scheme}://{}/healthz", self.listen.reached_from_here());
        let answer = tokio::runtime::Runtime::new()
            .map_err(Into::into)
            .and_then(|runtime| runtime.block_on(ask(&url)));
        match answer {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&format!("the service does not answer at {url}: {error}")),
        }
    }
}

async fn ask(url: &str) -> Result<(), Box<dyn Error>> {
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(TIMEOUT)
        // Its certificate is for the name that clients know, which is not that of loopback.
        .tls_danger_accept_invalid_certs(true)
        .build()?;
    let answer = client
        .get(url)
        .send()
        .await
        .and_then(reqwest::Response::error_for_status);
    answer
        .map(drop)
        .map_err(|error| innermost(&error.without_url()).into())
}

/// The cause: what lies above it only says that there was an error.
fn innermost(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(below) = cause.source() {
        cause = below;
    }
    cause.to_string()
}
