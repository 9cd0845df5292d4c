//! The cache that a build gets which names none of type gha.

use bytes::Bytes;

use super::{
    builds::Build,
    cache_entry::{CacheEntry, GHA},
    rewrite::{self, SolveRequest},
};
use crate::{cache::Event, gateway::config::InterceptorConfig, wire::WireError};

/// The request and what it says, with the default cache in both if it is a build that names no
/// `gha` cache.
pub(super) fn add_to_solve(
    config: &InterceptorConfig,
    build: &Build,
    request: Bytes,
    read: SolveRequest,
) -> Result<(Bytes, SolveRequest), WireError> {
    if read.is_internal || read.names_gha() {
        return Ok((request, read));
    }
    let Some(attrs) = &config.default_cache else {
        note_missing_cache(config, build);
        return Ok((request, read));
    };
    let entry = CacheEntry {
        kind: GHA.into(),
        attrs: attrs.clone(),
    };
    let request = rewrite::add_to_solve(&request, &entry)?;
    let named: Vec<_> = attrs.iter().map(|(n, v)| format!("{n}={v}")).collect();
    let note = format!(
        "this build names no cache of type=gha: BUILDKIT_GHA_DEFAULT_CACHE is used ({})",
        named.join(",")
    );
    build.progress.reporter().report(Event::Note(note));
    build.set_default_cache(entry);
    let read = rewrite::read_solve(&request)?;
    Ok((request.into(), read))
}

/// The operator has set a cache up and the build names none: buildx may have left its entry out.
fn note_missing_cache(config: &InterceptorConfig, build: &Build) {
    if config.overrides.service.url().is_none() {
        return;
    }
    let note = "no cache entry of type=gha came with this build, though BUILDKIT_GHA_URL and \
                    BUILDKIT_GHA_TOKEN are set; buildx leaves one out that has no url and no token: \
                    any will do, as in type=gha,url=http://cache/,token=any; \
                    BUILDKIT_GHA_DEFAULT_CACHE on the builder gives such builds a cache";
    build
        .progress
        .reporter()
        .report(Event::Note(note.to_owned()));
}

/// An `LLBBridge.Solve` of a build that has the default cache, and its imports, with that one among
/// them. Others stay as they are.
pub(super) fn add_to_llb_solve(
    build: &Build,
    request: Bytes,
    mut imports: Vec<CacheEntry>,
) -> Result<(Bytes, Vec<CacheEntry>), WireError> {
    let Some(entry) = build.default_cache() else {
        return Ok((request, imports));
    };
    if imports.iter().any(CacheEntry::is_gha) {
        return Ok((request, imports));
    }
    let request = rewrite::add_to_llb_solve(&request, entry)?;
    imports.push(entry.clone());
    Ok((request.into(), imports))
}
