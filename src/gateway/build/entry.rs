//! Reading one `gha` entry, and what people are told where it cannot be used.

use super::{builds::Build, rewrite::Entry};
use crate::{
    cache::attributes::{self, Attributes, Overrides},
    gateway::interceptor::{Code, GrpcStatus},
};

/// The type of the entries that the gateway takes over.
pub const GHA: &str = "gha";

/// A Solve that is refused, because the user wrote `ignore-error=false`.
pub type Refusal = GrpcStatus;

impl Entry {
    /// True if the gateway takes this entry over.
    pub fn is_gha(&self) -> bool {
        self.kind == GHA
    }
}

/// Reads an entry. None: it cannot be used, which the build's log says.
pub async fn read(
    build: &Build,
    entry: &Entry,
    overrides: &Overrides,
    what: &str,
) -> Result<Option<Attributes>, Refusal> {
    let overrides = match overrides.with_current_token().await {
        Ok(overrides) => overrides,
        Err(error) => {
            let ignore_error = attributes::parse(&entry.attrs, overrides).ignore_error;
            return skip(build, what, &error.to_string(), ignore_error).map(|()| None);
        }
    };
    if let Some(warning) = overrides.service.warning()
        && build.first_sight(&warning)
    {
        build.board.warn(warning, Vec::new());
    }
    let parsed = attributes::parse(&entry.attrs, &overrides);
    let unknown = parsed.unknown.iter();
    let unknown = unknown.map(|name| format!("unknown attribute {name:?} is ignored"));
    let ignored = parsed.ignored.iter().map(ToString::to_string);
    for odd in unknown.chain(ignored) {
        if build.first_sight(&odd) {
            build.board.warn(format!("type=gha: {odd}"), Vec::new());
        }
    }
    match parsed.attributes {
        Ok(attributes) => Ok(Some(attributes)),
        Err(error) => skip(build, what, &error.to_string(), parsed.ignore_error).map(|()| None),
    }
}

/// Leaves an entry out with a warning, or refuses the Solve where the user wants that.
pub fn skip(build: &Build, what: &str, reason: &str, ignore_error: bool) -> Result<(), Refusal> {
    if !ignore_error {
        let message = format!("cache {what}: {reason}");
        return Err(GrpcStatus::new(Code::InvalidArgument, message));
    }
    build
        .board
        .warn(format!("cache {what} skipped: {reason}"), Vec::new());
    Ok(())
}
