//! `buildkit-gha token revoke`: ends tokens before their time.

use std::{fmt::Write as _, io};

use clap::Args;

use super::service_location::ServiceLocation;

/// Revokes tokens: within ten seconds no replica of the service takes them any more.
#[derive(Debug, Args)]
pub(super) struct Revoke {
    #[command(flatten)]
    service: ServiceLocation,

    /// The name of tokens, all of which are revoked, or the id of one: `token list` shows both.
    #[arg(value_name = "NAME|ID")]
    token: String,
}

impl Revoke {
    pub(super) async fn run(self) -> io::Result<String> {
        let registry = self.service.open().await?;
        let revoked = registry
            .revoke(&self.token)
            .await
            .map_err(io::Error::other)?;
        let mut said = String::new();
        for token in revoked {
            // Writing to a String cannot fail.
            let _ = writeln!(said, "revoked: {} ({})", token.name, token.id);
        }
        Ok(said)
    }
}
