//! Definitions (LLB), as far as they tell steps from one another.
//!
//! A vertex is named by the digest of its operation, and that digest holds for one build only: the
//! operation of a build context names the client's session. [`read`] gives each operation a key that is
//! the same in all builds, from the operation without what differs, and from the keys of what it stands
//! upon. Field numbers are those of BuildKit's `solver/pb/ops.proto` and `gateway.proto`.

use std::collections::{HashMap, HashSet};

use crate::{
    cache::{
        index_format::{MAX_STEPS, StepKey},
        steps::{StepDefinition, StepKind},
    },
    digest::Digest,
    wire::{self, Edit, Field, Fields, MapEntry, WireError},
};

/// `LLBBridge.SolveResponse` and what it holds.
mod response {
    pub const RESULT: u32 = 3;
    pub const REF: u32 = 3;
    pub const REFS: u32 = 4;
    pub const REFS_ENTRY: u32 = 1;
    pub const REF_DEFINITION: u32 = 2;
    pub const MAP_VALUE: u32 = 2;
}

/// `pb.Definition` and `pb.OpMetadata`.
mod llb {
    pub const OPERATION: u32 = 1;
    pub const METADATA: u32 = 2;
    pub const MAP_KEY: u32 = 1;
    pub const MAP_VALUE: u32 = 2;
    pub const IGNORE_CACHE: u32 = 1;
}

/// `pb.Op` and what of it is read.
mod operation {
    pub const INPUT: u32 = 1;
    pub const EXEC: u32 = 2;
    pub const SOURCE: u32 = 3;
    pub const INPUT_DIGEST: u32 = 1;
    pub const EXEC_META: u32 = 1;
    pub const META_PROXY: u32 = 5;
    pub const SOURCE_IDENTIFIER: u32 = 1;
    pub const SOURCE_ATTRS: u32 = 2;
}

/// What the identifier of a build context begins with. BuildKit keys its files by their content alone,
/// so which files the client is asked for says nothing of a step.
const LOCAL: &str = "local://";

/// What the identifiers of images begin with, and what stands before their digest: Dockerfiles name them
/// by it.
const IMAGES: [&str; 2] = ["docker-image://", "oci-layout://"];
const IMAGE_DIGEST: &str = "@sha256:";

/// Attributes of sources that name this client, or say how to fetch and not what.
const NOT_OF_CONTENT: [&str; 4] = [
    "image.resolvemode",
    "image.recordtype",
    "oci.session",
    "oci.store",
];

/// The definitions of the results that an `LLBBridge.Solve` answers.
pub(super) fn read_response(message: &[u8]) -> Result<Vec<StepDefinition>, WireError> {
    let Some(result) = wire::last(message, response::RESULT)? else {
        return Ok(Vec::new());
    };
    let mut all = Vec::new();
    for field in Fields::new(result.payload()?) {
        let field = field?;
        match field.number {
            response::REF => all.extend(read_ref(field.payload()?)?),
            response::REFS => {
                for entry in Fields::new(field.payload()?) {
                    let entry = entry?;
                    if entry.number != response::REFS_ENTRY {
                        continue;
                    }
                    if let Some(value) = wire::last(entry.payload()?, response::MAP_VALUE)? {
                        all.extend(read_ref(value.payload()?)?);
                    }
                }
            }
            _ => {}
        }
    }
    Ok(all)
}

fn read_ref(reference: &[u8]) -> Result<Vec<StepDefinition>, WireError> {
    match wire::last(reference, response::REF_DEFINITION)? {
        Some(definition) => read(definition.payload()?),
        None => Ok(Vec::new()),
    }
}

/// The operations of a definition, in its order: each behind those that it stands upon. The last one only
/// names the result and is left out.
pub(super) fn read(message: &[u8]) -> Result<Vec<StepDefinition>, WireError> {
    let mut operations = Vec::new();
    let mut ignoring = HashSet::new();
    for field in Fields::new(message) {
        let field = field?;
        match field.number {
            llb::OPERATION if operations.len() <= MAX_STEPS => {
                operations.push(field.payload()?);
            }
            llb::METADATA => ignoring.extend(ignores_cache(field.payload()?)?),
            _ => {}
        }
    }
    operations.pop();
    let mut keys = HashMap::new();
    let mut all = Vec::with_capacity(operations.len());
    for operation in operations {
        let vertex = Digest::sha256(operation);
        let (inputs, kind) = describe(operation)?;
        // What stands upon something that is not there before it is none of BuildKit's.
        let Some(normal) = normalize(operation, &keys)? else {
            continue;
        };
        let key = StepKey::from_definition(&Digest::sha256(normal));
        keys.insert(vertex, key);
        all.push(StepDefinition {
            vertex,
            key,
            inputs,
            kind,
            ignores_cache: ignoring.contains(&vertex),
        });
    }
    Ok(all)
}

/// The vertex of an entry of the metadata, if it is not to be taken from a cache.
fn ignores_cache(entry: &[u8]) -> Result<Option<Digest>, WireError> {
    let metadata = wire::last(entry, llb::MAP_VALUE)?;
    let Some(metadata) = metadata else {
        return Ok(None);
    };
    let flag = wire::last(metadata.payload()?, llb::IGNORE_CACHE)?;
    if !flag.is_some_and(|flag| flag.is_true()) {
        return Ok(None);
    }
    let key = wire::last(entry, llb::MAP_KEY)?;
    Ok(key.and_then(|key| key.text().ok()?.parse().ok()))
}

/// What an operation stands upon, and what it is.
fn describe(operation: &[u8]) -> Result<(Vec<Digest>, StepKind), WireError> {
    let (mut inputs, mut kind) = (Vec::new(), StepKind::Step);
    for field in Fields::new(operation) {
        let field = field?;
        match field.number {
            operation::INPUT => inputs.extend(input(field.payload()?)?),
            operation::SOURCE => {
                kind = if is_image(identifier(field.payload()?)?) {
                    StepKind::Image
                } else {
                    StepKind::Content
                };
            }
            _ => {}
        }
    }
    Ok((inputs, kind))
}

fn input(input: &[u8]) -> Result<Option<Digest>, WireError> {
    let digest = wire::last(input, operation::INPUT_DIGEST)?;
    Ok(digest.and_then(|digest| digest.text().ok()?.parse().ok()))
}

fn identifier(source: &[u8]) -> Result<&str, WireError> {
    wire::last(source, operation::SOURCE_IDENTIFIER)?.map_or(Ok(""), |field| field.text())
}

fn is_image(identifier: &str) -> bool {
    let has_scheme = IMAGES.iter().any(|image| identifier.starts_with(image));
    has_scheme && identifier.contains(IMAGE_DIGEST)
}

/// The operation without what differs between builds, its inputs named by their keys. `None`: the key of
/// one is not known.
fn normalize(
    operation: &[u8],
    keys: &HashMap<Digest, StepKey>,
) -> Result<Option<Vec<u8>>, WireError> {
    let mut known = true;
    let normal = wire::edit(operation, |field| match field.number {
        operation::INPUT => {
            let key = input(field.payload()?)?.and_then(|vertex| keys.get(&vertex));
            known &= key.is_some();
            let Some(key) = key else {
                return Ok(Edit::Keep);
            };
            edit_part(field, operation::INPUT_DIGEST, |_| {
                Ok(Edit::Replace(key.as_bytes().to_vec()))
            })
        }
        // BuildKit has no proxy in its keys either.
        operation::EXEC => edit_part(field, operation::EXEC_META, |meta| {
            edit_part(meta, operation::META_PROXY, |_| Ok(Edit::Remove))
        }),
        operation::SOURCE => normalize_source(field),
        _ => Ok(Edit::Keep),
    })?;
    Ok(known.then_some(normal))
}

fn normalize_source(source: &Field<'_>) -> Result<Edit, WireError> {
    let is_local = identifier(source.payload()?)?.starts_with(LOCAL);
    edit_part(source, operation::SOURCE_ATTRS, |attr| {
        let attr = MapEntry::read(attr.payload()?)?;
        let is_dropped = is_local || NOT_OF_CONTENT.contains(&attr.key);
        Ok(if is_dropped { Edit::Remove } else { Edit::Keep })
    })
}

/// Edits the parts of a message with this number.
fn edit_part(
    message: &Field<'_>,
    number: u32,
    mut edit: impl FnMut(&Field<'_>) -> Result<Edit, WireError>,
) -> Result<Edit, WireError> {
    wire::edit(message.payload()?, |part| {
        if part.number == number {
            edit(part)
        } else {
            Ok(Edit::Keep)
        }
    })
    .map(Edit::Replace)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(fields: &[(u32, &[u8])]) -> Vec<u8> {
        let mut message = Vec::new();
        for (number, payload) in fields {
            wire::append(&mut message, *number, payload);
        }
        message
    }

    fn source(identifier: &str, attrs: &[(&str, &str)]) -> Vec<u8> {
        let mut source = message(&[(operation::SOURCE_IDENTIFIER, identifier.as_bytes())]);
        for (name, value) in attrs {
            wire::append(
                &mut source,
                operation::SOURCE_ATTRS,
                &wire::map_entry(name, value),
            );
        }
        message(&[(operation::SOURCE, &source)])
    }

    fn upon(inputs: &[&[u8]], number: u32, what: &[u8]) -> Vec<u8> {
        let mut operation = Vec::new();
        for input in inputs {
            let digest = Digest::sha256(input).to_string();
            let input = message(&[(operation::INPUT_DIGEST, digest.as_bytes())]);
            wire::append(&mut operation, operation::INPUT, &input);
        }
        wire::append(&mut operation, number, what);
        operation
    }

    /// A build in this session, of an image, a context with these files, and two steps.
    fn build(session: &str, files: &str, image: &str, command: &str) -> Vec<StepDefinition> {
        const FILE: u32 = 4;
        let image = source(image, &[("image.resolvemode", session)]);
        let attrs = [("local.session", session), ("local.followpaths", files)];
        let context = source("local://context", &attrs);
        let copy = upon(&[&image, &context], FILE, b"copy");
        let meta = message(&[
            (1, command.as_bytes()),
            (operation::META_PROXY, session.as_bytes()),
        ]);
        let run = upon(&[&copy], operation::EXEC, &message(&[(1, &meta)]));
        let last = upon(&[&run], 99, b"");
        let run_digest = Digest::sha256(&run).to_string();
        let metadata = message(&[
            (1, run_digest.as_bytes()),
            (2, &[0x08, u8::from(session == "x")]),
        ]);
        let mut definition = message(&[(llb::METADATA, &metadata)]);
        for operation in [image, context, copy, run, last] {
            wire::append(&mut definition, llb::OPERATION, &operation);
        }
        let reference = message(&[(1, b"id"), (response::REF_DEFINITION, &definition)]);
        let single = message(&[(response::REF, &reference)]);
        let entry = message(&[(1, b"linux/amd64"), (response::MAP_VALUE, &reference)]);
        let map = message(&[(response::REFS, &message(&[(response::REFS_ENTRY, &entry)]))]);
        let read = |result: &[u8]| read_response(&message(&[(response::RESULT, result)])).unwrap();
        assert_eq!(read(&single), read(&map));
        read(&single)
    }

    #[test]
    fn steps_of_two_builds_have_one_key_and_other_steps_another() {
        let keys = |steps: &[StepDefinition]| steps.iter().map(|step| step.key).collect::<Vec<_>>();
        let first = build("a", "main.go", "docker-image://base@sha256:1", "make");
        let kinds: Vec<_> = first.iter().map(|step| step.kind).collect();
        assert_eq!(
            kinds,
            [
                StepKind::Image,
                StepKind::Content,
                StepKind::Step,
                StepKind::Step
            ]
        );
        assert_eq!(first[2].inputs, [first[0].vertex, first[1].vertex]);
        assert!(!first[3].ignores_cache);

        let again = build(
            "x",
            "main.go,go.mod",
            "docker-image://base@sha256:1",
            "make",
        );
        assert_eq!(keys(&first), keys(&again));
        assert_ne!(
            first[2].vertex, again[2].vertex,
            "vertices differ, as in BuildKit"
        );
        assert!(again[3].ignores_cache && !again[2].ignores_cache);

        let changed = build("a", "main.go", "docker-image://base@sha256:1", "make all");
        assert_eq!(keys(&first)[..3], keys(&changed)[..3]);
        assert_ne!(first[3].key, changed[3].key);

        let rebased = build("a", "main.go", "docker-image://base@sha256:2", "make");
        assert_eq!(first[1].key, rebased[1].key);
        for at in [0, 2, 3] {
            assert_ne!(first[at].key, rebased[at].key);
        }
    }

    #[test]
    fn what_is_no_definition_has_no_steps() {
        assert_eq!(read_response(&[]), Ok(Vec::new()));
        assert_eq!(
            read_response(&message(&[(response::RESULT, b"")])),
            Ok(Vec::new())
        );
        assert!(read_response(&[0x1a, 0xff]).is_err());
        // An operation upon one that is not there.
        let orphan = upon(&[b"nothing"], operation::EXEC, b"");
        let definition = message(&[(1, &orphan), (1, &orphan)]);
        assert_eq!(read(&definition), Ok(Vec::new()));
    }
}
