//! Reads the attributes of one `gha` entry. What cannot be used is left out with a warning, or refused
//! with an error where the user wrote `ignore-error=false`.

use super::{builds::Build, cache_entry::CacheEntry};
use crate::{
    cache::{
        Event,
        attributes::{self, Attributes, OperatorService},
    },
    gateway::{
        config::InterceptorConfig,
        interceptor::{Code, GrpcStatus},
    },
};

/// A service that the build names, so that the operator may know nothing of it.
const OVERHEARD: &str = "type=gha: the cache service is reached without TLS and build steps share \
                         buildkitd's network: where that is also the gateway's, they may read the token of the \
                         cache and use it; give the service TLS, or steps a network of their own";

/// Reads an entry. None: it cannot be used, which the build's log says.
pub(crate) async fn read(
    build: &Build,
    entry: &CacheEntry,
    config: &InterceptorConfig,
    what: &str,
) -> Result<Option<Attributes>, GrpcStatus> {
    let overrides = &config.overrides;
    let overrides = match overrides.with_current_token().await {
        Ok(overrides) => overrides,
        Err(error) => {
            let ignore_error = attributes::parse(&entry.attrs, overrides).ignore_error;
            return skip(build, what, &error.to_string(), ignore_error).map(|()| None);
        }
    };
    if let Some(warning) = overrides.service.warning()
        && build.is_first_report(&warning)
    {
        build.progress.warn(warning, Vec::new());
    }
    let parsed = attributes::parse(&entry.attrs, &overrides);
    let unknown = parsed.unknown.iter();
    let unknown = unknown.map(|name| format!("unknown attribute {name:?} is ignored"));
    let ignored = parsed.ignored.iter().map(ToString::to_string);
    for text in unknown.chain(ignored) {
        if build.is_first_report(&text) {
            build.progress.warn(format!("type=gha: {text}"), Vec::new());
        }
    }
    match parsed.attributes {
        Ok(attributes) => {
            // Of a service of the operator's the gateway warns at its start.
            let named_here = !matches!(overrides.service, OperatorService::Set { .. });
            let plain = attributes.api.url().scheme() != "https";
            if config.steps_share_network && named_here && plain && build.is_first_report(OVERHEARD)
            {
                let reporter = build.progress.reporter();
                reporter.report(Event::Note(OVERHEARD.to_owned()));
            }
            Ok(Some(attributes))
        }
        Err(error) => skip(build, what, &error.to_string(), parsed.ignore_error).map(|()| None),
    }
}

/// Leaves an entry out with a warning, or refuses the Solve where the user wants that.
pub(crate) fn skip(
    build: &Build,
    what: &str,
    reason: &str,
    ignore_error: bool,
) -> Result<(), GrpcStatus> {
    if !ignore_error {
        let message = format!("cache {what}: {reason}");
        return Err(GrpcStatus::new(Code::InvalidArgument, message));
    }
    build
        .progress
        .warn(format!("cache {what} skipped: {reason}"), Vec::new());
    Ok(())
}
