//! Adds a cache to a request that names none, as if the client had written it there.

use super::{CACHE_IMPORTS, Entry, imports_json, llb, solve, write_entry};
use crate::wire::{self, MapEntry, WireError};

/// Adds `entry` as an export and as an import to a `Control.Solve` request.
pub fn add_to_solve(request: &[u8], entry: &Entry) -> Result<Vec<u8>, WireError> {
    let mut added = add_for_frontend(request, solve::FRONTEND, solve::FRONTEND_ATTRS, entry)?;
    let entry = write_entry(entry);
    let mut cache = Vec::new();
    wire::append(&mut cache, solve::CACHE_EXPORTS, &entry);
    wire::append(&mut cache, solve::CACHE_IMPORTS, &entry);
    // A message that stands there twice is merged by its readers.
    wire::append(&mut added, solve::CACHE, &cache);
    Ok(added)
}

/// Adds `entry` as an import to an `LLBBridge.Solve` request.
pub fn add_to_llb_solve(request: &[u8], entry: &Entry) -> Result<Vec<u8>, WireError> {
    let mut added = add_for_frontend(request, llb::FRONTEND, llb::FRONTEND_OPT, entry)?;
    wire::append(&mut added, llb::CACHE_IMPORTS, &write_entry(entry));
    Ok(added)
}

/// A frontend reads its imports from an option, and only from there.
fn add_for_frontend(
    request: &[u8],
    frontend: u32,
    options: u32,
    entry: &Entry,
) -> Result<Vec<u8>, WireError> {
    if wire::last(request, frontend)?.is_none_or(|name| name.value.is_empty()) {
        return Ok(request.to_vec());
    }
    let mut found = false;
    let mut added = wire::edit(request, |field| {
        if field.number != options {
            return Ok(wire::Edit::Keep);
        }
        let option = MapEntry::read(field.payload()?)?;
        if option.key != CACHE_IMPORTS {
            return Ok(wire::Edit::Keep);
        }
        found = true;
        Ok::<_, WireError>(match imports_json::add(option.value, entry.clone()) {
            Some(json) => wire::Edit::Replace(wire::map_entry(CACHE_IMPORTS, &json)),
            // No frontend can read it: it says so.
            None => wire::Edit::Keep,
        })
    })?;
    if !found && let Some(json) = imports_json::add("[]", entry.clone()) {
        let option = wire::map_entry(CACHE_IMPORTS, &json);
        wire::append(&mut added, options, &option);
    }
    Ok(added)
}
