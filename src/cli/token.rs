//! `buildkit-gha token`: a token for the embedded service, on standard output.

use std::{io, path::PathBuf, process::ExitCode, time::Duration};

use clap::Args;
use tokio::runtime::Runtime;

use super::{database::Database, exit::fail, logging::Logging};
use crate::{
    protocol::scope::{Permission, Scope},
    secret::Secret,
    service::{DEFAULT_REPOSITORY, mint_token, mint_token_of_database},
    units::duration,
};

/// Mints a token for the service of a data directory or a database, whether it is running or not.
#[derive(Debug, Args)]
pub struct Token {
    /// The service's data directory; not needed with --database.
    #[arg(
        long,
        env = "BUILDKIT_GHA_DATA_DIR",
        value_name = "DIR",
        required_unless_present = "database"
    )]
    data_dir: Option<PathBuf>,

    #[command(flatten)]
    database: Database,

    /// A scope and what may be done in it (r, w, rw, or rwd to delete through REST, too); the first
    /// writable one takes the writes.
    #[arg(long = "scope", env = "BUILDKIT_GHA_SCOPE", value_delimiter = ' ', value_name = "REF=rw", required = true, value_parser = scope)]
    scopes: Vec<Scope>,

    /// The repository whose entries the token sees; those of others it does not.
    #[arg(long, env = "GITHUB_REPOSITORY", value_name = "OWNER/REPO", default_value = DEFAULT_REPOSITORY)]
    repository: String,

    /// How long the token is good for, e.g. 12h or 90d; GitHub's are good for about six hours.
    #[arg(long, env = "BUILDKIT_GHA_TTL", value_name = "DURATION", default_value = "6h", value_parser = duration::parse_positive)]
    ttl: Duration,

    #[command(flatten)]
    pub(super) logging: Logging,
}

impl Token {
    pub fn run(self) -> ExitCode {
        match self.mint() {
            Ok(token) => {
                println!("{}", token.expose());
                ExitCode::SUCCESS
            }
            Err(error) => fail(&error),
        }
    }

    fn mint(self) -> io::Result<Secret> {
        if let Some(database) = self.database.parse()? {
            let minted =
                mint_token_of_database(&database, &self.repository, &self.scopes, self.ttl);
            return Runtime::new()?.block_on(minted).map_err(io::Error::other);
        }
        let data_dir = self.data_dir.unwrap_or_default();
        // One that is made here would hold a secret that no service knows.
        if !data_dir.is_dir() {
            return Err(io::Error::other(format!(
                "--data-dir {0}: there is no such directory; `buildkit-gha serve --data-dir {0}` \
                 makes it, and a token is good only for the service of its directory",
                data_dir.display()
            )));
        }
        mint_token(&data_dir, &self.repository, &self.scopes, self.ttl).map_err(io::Error::other)
    }
}

/// A `--scope` that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not of the form REF=r, REF=w, REF=rw or REF=rwd")]
struct InvalidScope(String);

fn scope(text: &str) -> Result<Scope, InvalidScope> {
    let wrong = || InvalidScope(text.to_owned());
    let (name, permission) = text.rsplit_once('=').ok_or_else(wrong)?;
    let permission = match permission {
        "r" => Permission::READ,
        "w" => Permission::WRITE,
        "rw" => Permission::READ_WRITE,
        "rwd" => Permission::READ_WRITE_DELETE,
        _ => return Err(wrong()),
    };
    if name.is_empty() {
        return Err(wrong());
    }
    Ok(Scope::new(name, permission))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_name_their_permission() {
        let main = Scope::new("refs/heads/main", Permission::READ_WRITE);
        assert_eq!(scope("refs/heads/main=rw"), Ok(main));
        let odd = Scope::new("refs/heads/a=b", Permission::READ);
        assert_eq!(scope("refs/heads/a=b=r"), Ok(odd));
        let keeper = Scope::new("refs/heads/main", Permission::READ_WRITE_DELETE);
        assert_eq!(scope("refs/heads/main=rwd"), Ok(keeper));
        for wrong in ["refs/heads/main", "=rw", "refs/heads/main=x", "m=d", "m=rd"] {
            assert!(scope(wrong).is_err(), "{wrong}");
        }
    }
}
