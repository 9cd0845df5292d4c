//! `--database`: a URL with a password in it.

use std::{convert::Infallible, io};

use crate::{secret::Secret, service::config::DatabaseUrl};

/// A value that no message of the parser may show.
#[expect(clippy::unnecessary_wraps, reason = "clap's parsers may fail")]
pub(super) fn secret(text: &str) -> Result<Secret, Infallible> {
    Ok(Secret::new(text))
}

/// The database that a flag or its variable names; an empty one names none.
pub(super) fn parse(url: Option<Secret>) -> io::Result<Option<DatabaseUrl>> {
    let url = url.filter(|url| !url.is_empty());
    let parsed = url.as_ref().map(DatabaseUrl::parse).transpose();
    parsed.map_err(|error| io::Error::other(format!("--database: {error}")))
}
