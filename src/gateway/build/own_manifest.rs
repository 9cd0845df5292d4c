//! How our export's manifest differs from those of the user's own cache exports.
//!
//! BuildKit answers one manifest, of the last export that has written one: ours, where the user's
//! own have failed and their errors are ignored. By its digest ours is known, unless the user's is
//! the very same document. So ours gets another form than theirs have (ADR 25).

use super::cache_entry::CacheEntry;
use crate::cache::attributes::{self, ManifestForm};

/// The cache exports of BuildKit that write a manifest and answer it. `inline` is no export of its
/// own, and the others write none.
const EXPORTERS: [&str; 2] = ["registry", "local"];

/// What our manifest is beside the user's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OwnManifest {
    /// The form that BuildKit is asked for.
    pub form: ManifestForm,
    /// No manifest of the user's can be the same document.
    pub is_distinct: bool,
}

impl OwnManifest {
    /// For an export beside these. What a user does not say is an image manifest or an OCI index,
    /// by BuildKit's version; only one who says `oci-mediatypes=false` has a list of Docker's.
    pub fn from_exports(exports: &[CacheEntry]) -> Self {
        let theirs = || exports.iter().filter(|entry| is_manifest_export(entry));
        let lists = theirs().filter(|entry| is_docker_list(entry)).count();
        let all = theirs().count();
        Self {
            form: if all > 0 && lists == 0 {
                ManifestForm::DockerList
            } else {
                ManifestForm::Image
            },
            is_distinct: lists == 0 || lists == all,
        }
    }
}

fn is_manifest_export(entry: &CacheEntry) -> bool {
    EXPORTERS.contains(&entry.kind.as_str())
}

fn is_docker_list(entry: &CacheEntry) -> bool {
    let said = entry.attrs.get(attributes::name::OCI_MEDIATYPES);
    said.and_then(|text| attributes::go_bool(text)) == Some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn export(kind: &str, attrs: &[(&str, &str)]) -> CacheEntry {
        let attrs = attrs
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()));
        CacheEntry {
            kind: kind.into(),
            attrs: attrs.collect(),
        }
    }

    #[test]
    fn ours_has_a_form_that_no_manifest_of_the_users_has() {
        let plain = export("local", &[]);
        let index = export("registry", &[("image-manifest", "false")]);
        let list = export("local", &[("oci-mediatypes", "0")]);
        let others = [export("inline", &[]), export("s3", &[]), export("gha", &[])];
        let (image, docker) = (ManifestForm::Image, ManifestForm::DockerList);
        for (exports, form, is_distinct) in [
            (others.to_vec(), image, true),
            (vec![plain.clone()], docker, true),
            (vec![index.clone(), plain.clone()], docker, true),
            (vec![list.clone()], image, true),
            // All forms are taken, or may be.
            (vec![list, index, plain], image, false),
        ] {
            let expected = OwnManifest { form, is_distinct };
            assert_eq!(OwnManifest::from_exports(&exports), expected, "{exports:?}");
        }
    }
}
