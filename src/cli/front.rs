//! The flags of `serve` that say what stands in front of it and behind it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use clap::Args;

use crate::{
    secret::Secret,
    service::config::{Network, UpstreamUrl},
};

/// Shortest secret of runners: whoever overhears one request could find a shorter one by trying.
const MIN_SECRET_BYTES: usize = 16;

/// Proxies in front of the service, and the results service behind it.
#[derive(Debug, Args)]
pub(super) struct FrontFlags {
    /// A proxy whose X-Forwarded-Proto, -Host and -For are believed: an address or a network
    /// (10.0.0.0/8); may be repeated, or be a list with commas.
    #[arg(
        long,
        env = "BUILDKIT_GHA_TRUSTED_PROXY",
        value_name = "NETWORK",
        value_delimiter = ','
    )]
    pub(super) trusted_proxy: Vec<Network>,

    /// A proxy whose connections begin with a header of the PROXY protocol, version 1 or 2, which names the client: an
    /// address or a network; may be repeated, or be a list with commas. Without the header it is refused.
    #[arg(
        long,
        env = "BUILDKIT_GHA_PROXY_PROTOCOL",
        value_name = "NETWORK",
        value_delimiter = ','
    )]
    pub(super) proxy_protocol: Vec<Network>,

    /// The results service to which everything goes that is not the cache, such as artifacts, for runners whose
    /// `ACTIONS_RESULTS_URL` leads here: `https://results-receiver.actions.githubusercontent.com` (default: that is
    /// answered with 404).
    #[arg(
        long,
        env = "BUILDKIT_GHA_UPSTREAM_RESULTS_URL",
        value_name = "URL",
        value_parser = UpstreamUrl::parse
    )]
    pub(super) upstream_results_url: Option<UpstreamUrl>,

    /// A file with the `cache.secret` of Forgejo's runners, of 16 characters or more: jobs are taken for which their
    /// proxies speak.
    #[arg(long, env = "BUILDKIT_GHA_FORGEJO_SECRET_FILE", value_name = "FILE")]
    forgejo_secret_file: Option<PathBuf>,

    /// A file with the `cache.external_secret` of Gitea's runners, of 16 characters or more: jobs are taken of which
    /// they tell.
    #[arg(long, env = "BUILDKIT_GHA_GITEA_SECRET_FILE", value_name = "FILE")]
    gitea_secret_file: Option<PathBuf>,
}

impl FrontFlags {
    /// The secret of Forgejo's runners, if there is one. Blocks.
    pub(super) fn forgejo_secret(&self) -> io::Result<Option<Secret>> {
        let path = self.forgejo_secret_file.as_deref();
        path.map(|path| secret("--forgejo-secret-file", path))
            .transpose()
    }

    /// The secret of Gitea's runners, if there is one. Blocks.
    pub(super) fn gitea_secret(&self) -> io::Result<Option<Secret>> {
        let path = self.gitea_secret_file.as_deref();
        path.map(|path| secret("--gitea-secret-file", path))
            .transpose()
    }
}

fn secret(flag: &str, path: &Path) -> io::Result<Secret> {
    let failed = |message: String| {
        let path = path.display();
        io::Error::other(format!("{flag} {path}: {message}"))
    };
    let text = fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    let text = Secret::new(text);
    let secret = text.expose().trim();
    if secret.len() < MIN_SECRET_BYTES {
        return Err(failed(format!(
            "the secret has less than {MIN_SECRET_BYTES} characters"
        )));
    }
    Ok(Secret::new(secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_a_line_of_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        let read = |text: &str| {
            fs::write(&path, text).unwrap();
            secret("--gitea-secret-file", &path)
        };
        let secret = read("0123456789abcdef\n").unwrap();
        assert_eq!(secret.expose(), "0123456789abcdef");
        let error = read("0123456789abcde\n").unwrap_err().to_string();
        assert!(error.contains("less than 16"), "{error}");
        assert!(!error.contains("0123"), "{error}");
    }
}
