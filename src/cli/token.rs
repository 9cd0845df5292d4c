//! `buildkit-gha token`: a token for the embedded service, on standard output.

mod list;
mod revoke;
mod service_location;

use std::{io, process::ExitCode, time::Duration};

use clap::{Args, Subcommand};

use self::{list::List, revoke::Revoke, service_location::ServiceLocation};
use super::{
    exit::fail,
    logging::Logging,
    remote::{block_on, print},
};
use crate::{
    protocol::scope::{Permission, Scope},
    service::{DEFAULT_REPOSITORY, Grant, NewToken, Role},
    units::duration,
};

/// Mints a token for the service of a data directory or a database, whether it is running or not; lists and revokes
/// those that were minted.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Token {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    service: ServiceLocation,

    /// A scope and what may be done in it (r, w, rw, or rwd to delete through REST, too); the first
    /// writable one takes the writes.
    #[arg(
        long = "scope",
        env = "BUILDKIT_GHA_SCOPE",
        value_delimiter = ' ',
        value_name = "REF=rw",
        required_unless_present = "role",
        value_parser = scope
    )]
    scopes: Vec<Scope>,

    /// In place of scopes, for an administrator: read lists entries and what they take, prune deletes them, too, and
    /// admin may do all. Such a token opens no entry, and no build can use it.
    #[arg(long, value_enum, value_name = "ROLE", conflicts_with = "scopes")]
    role: Option<Role>,

    /// The repository whose entries the token sees; those of others it does not (default: local/cache; with --role
    /// all repositories).
    #[arg(long, env = "GITHUB_REPOSITORY", value_name = "OWNER/REPO")]
    repository: Option<String>,

    /// What the token is called in lists and logs (default: what it is for, and since when).
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// How long the token is good for, e.g. 12h or 90d; GitHub's are good for about six hours.
    #[arg(long, env = "BUILDKIT_GHA_TTL", value_name = "DURATION", default_value = "6h", value_parser = duration::parse_positive)]
    ttl: Duration,

    #[command(flatten)]
    pub(super) logging: Logging,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(List),
    Revoke(Revoke),
}

impl Token {
    pub fn run(self) -> ExitCode {
        block_on(async {
            let said = match self.command {
                Some(Command::List(list)) => list.run().await,
                Some(Command::Revoke(revoke)) => revoke.run().await,
                None => self.mint().await,
            };
            match said {
                Ok(said) => {
                    print(&said);
                    ExitCode::SUCCESS
                }
                Err(error) => fail(&error),
            }
        })
    }

    async fn mint(self) -> io::Result<String> {
        let grant = match self.role {
            Some(role) => Grant::Administration {
                role,
                repository: self.repository,
            },
            None => Grant::Cache {
                repository: (self.repository).unwrap_or_else(|| DEFAULT_REPOSITORY.to_owned()),
                scopes: self.scopes,
            },
        };
        let new = NewToken {
            grant,
            ttl: self.ttl,
            name: self.name,
        };
        let registry = self.service.open().await?;
        let minted = registry.mint(new).await.map_err(io::Error::other)?;
        Ok(format!("{}\n", minted.secret.expose()))
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
