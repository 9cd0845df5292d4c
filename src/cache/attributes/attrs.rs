//! From the [`Attributes`] of an entry to those of the entry that takes its place.

use std::{collections::BTreeMap, fmt::Write as _};

use url::Url;

use super::{Attributes, name};
use crate::{digest::Digest, secret::Secret, units::duration};

/// BuildKit's `local` exporter asks for the store `local:<dest>`.
const STORE_PREFIX: &str = "local:";

/// The Content store that an export with this `dest` asks for.
pub(crate) fn store_id(dest: &str) -> String {
    format!("{STORE_PREFIX}{dest}")
}

/// A text that is equal for equal attributes and shows none of them: they hold tokens.
pub(crate) fn canonical(attrs: &BTreeMap<String, String>) -> String {
    let mut text = String::new();
    for (name, value) in attrs {
        // Lengths keep ("a", "bc") and ("ab", "c") apart.
        let _infallible = write!(text, "{}:{name}{}:{value}", name.len(), value.len());
    }
    Digest::sha256(text).hex()
}

/// What kind of document the manifest of an export is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ManifestForm {
    /// An OCI image manifest, as BuildKit writes it since 0.21 where nothing else is said.
    Image,
    /// A manifest list with the media types of Docker, which no version writes unless asked to.
    DockerList,
}

/// The attributes of the `local` export that takes the place of this entry.
///
/// The defaults of `image-manifest` and `oci-mediatypes` differ between BuildKit's versions, so
/// both are said. An export's error cancels the push beside it, hence `ignore-error=true` unless
/// the user wants it otherwise.
pub fn local_export_attrs(
    attributes: &Attributes,
    dest: &str,
    form: ManifestForm,
) -> BTreeMap<String, String> {
    let mut attrs = export_attrs(attributes);
    attrs.extend(attributes.passthrough.clone());
    attrs.insert("dest".to_owned(), dest.to_owned());
    let is_image = (form == ManifestForm::Image).to_string();
    attrs.insert(name::IMAGE_MANIFEST.to_owned(), is_image.clone());
    attrs.insert(name::OCI_MEDIATYPES.to_owned(), is_image);
    attrs
}

/// The attributes of a `local` import of `manifest` from the content store of `src`.
pub(crate) fn local_import_attrs(src: &str, manifest: &Digest) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("src".to_owned(), src.to_owned()),
        ("digest".to_owned(), manifest.to_string()),
    ])
}

/// The attributes of a `gha` import that reads from our own endpoint. Without `url_v2` and
/// `version` BuildKit speaks v1, on every version of it.
pub fn loopback_import_attrs(
    attributes: &Attributes,
    url: &Url,
    token: &Secret,
) -> BTreeMap<String, String> {
    BTreeMap::from([
        (name::URL.to_owned(), url.to_string()),
        (name::TOKEN.to_owned(), token.expose().to_owned()),
        (name::SCOPE.to_owned(), attributes.scope.clone()),
        (
            name::TIMEOUT.to_owned(),
            duration::format(attributes.timeout),
        ),
    ])
}

/// The attributes of a `gha` export that writes to our own endpoint.
pub(crate) fn loopback_export_attrs(
    attributes: &Attributes,
    url: &Url,
    token: &Secret,
) -> BTreeMap<String, String> {
    let mut attrs = loopback_import_attrs(attributes, url, token);
    attrs.extend(export_attrs(attributes));
    attrs
}

/// What BuildKit itself reads from every export, whatever its type.
fn export_attrs(attributes: &Attributes) -> BTreeMap<String, String> {
    BTreeMap::from([
        (name::MODE.to_owned(), attributes.mode.as_str().to_owned()),
        (
            name::IGNORE_ERROR.to_owned(),
            attributes.ignores_errors().to_string(),
        ),
    ])
}
