//! Rewrites the cache options of a build on the wire, and reads what is needed to decide.
//!
//! Exports travel only in `Control.Solve`. Imports travel in four places, and all four must say
//! the same, since BuildKit recognises an import by a hash of its type and attributes:
//! `Cache.Imports` and `FrontendAttrs["cache-imports"]` of `Control.Solve`, `CacheImports` and
//! `FrontendOpt["cache-imports"]` of `LLBBridge.Solve`. Field numbers are those of BuildKit's
//! `control.proto` and `gateway.proto`; the deprecated fields beside them pass untouched.

use bytes::Bytes;

use crate::{
    digest::Digest,
    wire::{self, Field, Fields, MapEntry, WireError},
};

mod add;
mod imports_json;

pub use super::cache_entry::CacheEntry;
pub use add::{add_to_llb_solve, add_to_solve};

/// `Control.SolveRequest`.
mod solve {
    pub const REF: u32 = 1;
    pub const DEFINITION: u32 = 2;
    pub const SESSION: u32 = 5;
    pub const FRONTEND: u32 = 6;
    pub const FRONTEND_ATTRS: u32 = 7;
    pub const CACHE: u32 = 8;
    pub const INTERNAL: u32 = 11;
    pub const CACHE_EXPORTS: u32 = 4;
    pub const CACHE_IMPORTS: u32 = 5;
}

/// `LLBBridge.SolveRequest`.
mod llb {
    pub const FRONTEND: u32 = 2;
    pub const FRONTEND_OPT: u32 = 3;
    pub const CACHE_IMPORTS: u32 = 12;
}

/// `CacheOptionsEntry`, the same in both.
mod entry {
    pub const TYPE: u32 = 1;
    pub const ATTRS: u32 = 2;
}

/// `SolveResponse.ExporterResponse`.
const EXPORTER_RESPONSE: u32 = 1;

/// The key of a frontend's options that holds imports as JSON.
const CACHE_IMPORTS: &str = "cache-imports";

/// The key under which an exporter answers the descriptor of the manifest that it wrote.
const CACHE_MANIFEST: &str = "cache.manifest";

/// What becomes of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryEdit {
    /// Its bytes stay as they are.
    Keep,
    /// Others take its place; none, and it is left out.
    Replace(Vec<CacheEntry>),
}

impl EntryEdit {
    /// The entry is left out.
    pub const REMOVE: Self = Self::Replace(Vec::new());
}

/// What a `Control.Solve` request says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SolveRequest {
    /// Names the build.
    pub build_ref: String,
    /// The session that the build uses.
    pub session: String,
    /// False where the client drives the frontend through `LLBBridge`.
    pub has_frontend: bool,
    /// What is to be built, where the request brings it as LLB.
    pub definition: Option<Bytes>,
    /// The client's own work, such as reading a file of a remote repository: no build of the user's.
    pub is_internal: bool,
    /// `Cache.Exports`, in order.
    pub exports: Vec<CacheEntry>,
    /// `Cache.Imports`, in order.
    pub imports: Vec<CacheEntry>,
}

impl SolveRequest {
    /// True if the request names a cache of type gha.
    pub fn names_gha(&self) -> bool {
        self.exports
            .iter()
            .chain(&self.imports)
            .any(CacheEntry::is_gha)
    }

    /// True if buildkitd begins to solve with this very call, and imports what it names. Otherwise
    /// the client asks for that with `LLBBridge.Solve`.
    pub fn begins_to_solve(&self) -> bool {
        self.definition.is_some() || self.has_frontend
    }
}

/// Reads a `Control.Solve` request.
pub fn read_solve(request: &[u8]) -> Result<SolveRequest, WireError> {
    let mut read = SolveRequest::default();
    for field in Fields::new(request) {
        let field = field?;
        match field.number {
            solve::REF => field.text()?.clone_into(&mut read.build_ref),
            solve::DEFINITION => {
                read.definition = Some(Bytes::copy_from_slice(field.payload()?));
            }
            solve::SESSION => field.text()?.clone_into(&mut read.session),
            solve::FRONTEND => read.has_frontend = !field.text()?.is_empty(),
            solve::INTERNAL => read.is_internal = field.is_true(),
            solve::CACHE => {
                for option in Fields::new(field.payload()?) {
                    let option = option?;
                    match option.number {
                        solve::CACHE_EXPORTS => read.exports.push(read_entry(&option)?),
                        solve::CACHE_IMPORTS => read.imports.push(read_entry(&option)?),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    Ok(read)
}

/// Rewrites a `Control.Solve` request.
///
/// Replaced exports stand first among the exports: BuildKit merges what exporters answer, the last
/// one wins, and that must be the user's own.
pub fn rewrite_solve(
    request: &[u8],
    mut export: impl FnMut(&CacheEntry) -> EntryEdit,
    mut import: impl FnMut(&CacheEntry) -> EntryEdit,
) -> Result<Vec<u8>, WireError> {
    // First the decisions, since the first Cache field takes the replacements of all of them.
    let mut ours = Vec::new();
    let mut others = Vec::new();
    for entry in read_solve(request)?.exports {
        match export(&entry) {
            EntryEdit::Replace(entries) => {
                for entry in &entries {
                    wire::append(&mut ours, solve::CACHE_EXPORTS, &write_entry(entry));
                }
                others.push(wire::Edit::Remove);
            }
            EntryEdit::Keep => others.push(wire::Edit::Keep),
        }
    }
    let mut others = others.into_iter();
    wire::edit(request, |field| match field.number {
        solve::CACHE => {
            let mut cache = std::mem::take(&mut ours);
            cache.extend(wire::edit(field.payload()?, |option| {
                match option.number {
                    // Both passes see the same exports.
                    solve::CACHE_EXPORTS => Ok(others.next().unwrap_or(wire::Edit::Keep)),
                    solve::CACHE_IMPORTS => edit_import(option, &mut import),
                    _ => Ok(wire::Edit::Keep),
                }
            })?);
            Ok(replace_if_changed(field, cache))
        }
        solve::FRONTEND_ATTRS => edit_frontend_option(field, &mut import),
        _ => Ok(wire::Edit::Keep),
    })
}

/// Rewrites an `LLBBridge.Solve` request.
pub fn rewrite_llb_solve(
    request: &[u8],
    mut import: impl FnMut(&CacheEntry) -> EntryEdit,
) -> Result<Vec<u8>, WireError> {
    wire::edit(request, |field| match field.number {
        llb::FRONTEND_OPT => edit_frontend_option(field, &mut import),
        llb::CACHE_IMPORTS => edit_import(field, &mut import),
        _ => Ok(wire::Edit::Keep),
    })
}

/// All imports of an `LLBBridge.Solve` request: first those of `FrontendOpt`, then `CacheImports`.
pub fn read_llb_imports(request: &[u8]) -> Result<Vec<CacheEntry>, WireError> {
    let mut in_options = Vec::new();
    let mut in_imports = Vec::new();
    for field in Fields::new(request) {
        let field = field?;
        match field.number {
            llb::FRONTEND_OPT => {
                let option = MapEntry::read(field.payload()?)?;
                if option.key == CACHE_IMPORTS {
                    in_options = imports_json::read(option.value);
                }
            }
            llb::CACHE_IMPORTS => in_imports.push(read_entry(&field)?),
            _ => {}
        }
    }
    in_options.append(&mut in_imports);
    Ok(in_options)
}

/// Takes the manifest that our export wrote out of a `SolveResponse`.
///
/// The caller decides by the manifest's digest: a user's own `local` export of the same build may
/// have written the very same manifest, and clients put its digest into files.
pub fn strip_cache_manifest(
    response: &[u8],
    ours: impl Fn(Digest) -> bool,
) -> Result<Vec<u8>, WireError> {
    wire::edit(response, |field| {
        if field.number != EXPORTER_RESPONSE {
            return Ok(wire::Edit::Keep);
        }
        let answer = MapEntry::read(field.payload()?)?;
        let strip =
            answer.key == CACHE_MANIFEST && descriptor_digest(answer.value).is_some_and(&ours);
        Ok(if strip {
            wire::Edit::Remove
        } else {
            wire::Edit::Keep
        })
    })
}

fn descriptor_digest(json: &str) -> Option<Digest> {
    #[derive(serde::Deserialize)]
    struct Descriptor {
        digest: Digest,
    }
    let descriptor: Descriptor = serde_json::from_str(json).ok()?;
    Some(descriptor.digest)
}

fn edit_import(
    field: &Field<'_>,
    import: &mut impl FnMut(&CacheEntry) -> EntryEdit,
) -> Result<wire::Edit, WireError> {
    Ok(match import(&read_entry(field)?) {
        EntryEdit::Keep => wire::Edit::Keep,
        EntryEdit::Replace(entries) => {
            wire::Edit::Spread(entries.iter().map(write_entry).collect())
        }
    })
}

/// Edits the imports inside one entry of a frontend's options; other options stay.
fn edit_frontend_option(
    field: &Field<'_>,
    import: &mut impl FnMut(&CacheEntry) -> EntryEdit,
) -> Result<wire::Edit, WireError> {
    const VALUE: u32 = 2;
    let option = MapEntry::read(field.payload()?)?;
    if option.key != CACHE_IMPORTS {
        return Ok(wire::Edit::Keep);
    }
    let Some(json) = imports_json::edit(option.value, import) else {
        return Ok(wire::Edit::Keep);
    };
    let payload = wire::edit::<WireError>(field.payload()?, |part| {
        Ok(match part.number {
            VALUE => wire::Edit::Replace(json.clone().into_bytes()),
            _ => wire::Edit::Keep,
        })
    })?;
    Ok(wire::Edit::Replace(payload))
}

/// Keeps the field's own encoding of tag and length where its payload is the same.
fn replace_if_changed(field: &Field<'_>, payload: Vec<u8>) -> wire::Edit {
    if payload == field.value {
        wire::Edit::Keep
    } else {
        wire::Edit::Replace(payload)
    }
}

fn read_entry(field: &Field<'_>) -> Result<CacheEntry, WireError> {
    let mut read = CacheEntry::default();
    for part in Fields::new(field.payload()?) {
        let part = part?;
        match part.number {
            entry::TYPE => part.text()?.clone_into(&mut read.kind),
            entry::ATTRS => {
                let attr = MapEntry::read(part.payload()?)?;
                read.attrs
                    .insert(attr.key.to_owned(), attr.value.to_owned());
            }
            _ => {}
        }
    }
    Ok(read)
}

fn write_entry(entry: &CacheEntry) -> Vec<u8> {
    let mut payload = Vec::new();
    wire::append(&mut payload, entry::TYPE, entry.kind.as_bytes());
    for (name, value) in &entry.attrs {
        wire::append(&mut payload, entry::ATTRS, &wire::map_entry(name, value));
    }
    payload
}

#[cfg(test)]
mod tests;
