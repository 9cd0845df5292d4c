//! `--database`: a URL with a password in it.

use std::{convert::Infallible, io};

use clap::Args;

use crate::{secret::Secret, service::config::DatabaseUrl};

/// The database of a service.
#[derive(Debug, Args)]
pub(super) struct Database {
    /// A PostgreSQL database for the entries and the secret: `postgres://USER:PASSWORD@HOST/NAME?sslmode=verify-full`.
    /// Other users of this machine can read flags: a password belongs in the variable (default: SQLite in the data
    /// directory).
    #[arg(
        long,
        env = "BUILDKIT_GHA_DATABASE",
        value_name = "URL",
        hide_env_values = true,
        value_parser = secret
    )]
    database: Option<Secret>,
}

impl Database {
    /// Where it is; an empty flag or variable names none.
    pub(super) fn parse(&self) -> io::Result<Option<DatabaseUrl>> {
        parse("--database", self.database.as_ref())
    }
}

/// The database that `flag` names; an empty one names none.
pub(super) fn parse(flag: &str, url: Option<&Secret>) -> io::Result<Option<DatabaseUrl>> {
    let url = url.filter(|url| !url.is_empty());
    let parsed = url.map(DatabaseUrl::parse).transpose();
    parsed.map_err(|error| io::Error::other(format!("{flag}: {error}")))
}

/// A value that no message of the parser may show.
#[expect(clippy::unnecessary_wraps, reason = "clap's parsers may fail")]
pub(super) fn secret(text: &str) -> Result<Secret, Infallible> {
    Ok(Secret::new(text))
}
