//! The two blobs of BuildKit's `local` cache, manifest and config, and the index of `type=gha`.
//!
//! The same facts are spread differently: an index has everything in its layers' annotations; a
//! local cache has them on the manifest's descriptors and a config without annotations.
//!
//! ```json
//! {
//!   "schemaVersion": 2,
//!   "mediaType": "application/vnd.oci.image.manifest.v1+json",
//!   "config": {"mediaType": "application/vnd.buildkit.cacheconfig.v0", "digest": "…", "size": 2723},
//!   "layers": [{
//!     "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": "…", "size": 132,
//!     "annotations": {"buildkit/createdat": "…", "containerd.io/uncompressed": "sha256:…"}
//!   }]
//! }
//! ```
//!
//! An OCI image index, which older daemons write, has config and layers side by side in
//! `manifests`; it is read too. So is a manifest list of Docker's, which is asked for where the
//! manifest must differ from one of the user's; its layers get the media types that OCI has.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::index_format::{self, Annotations, CacheConfig, IndexError, Time};
use crate::digest::Digest;

/// The media type of the manifest that we ask BuildKit for and write ourselves.
const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

/// One descriptor has about 350 bytes, so this is room for as many layers as an index may have.
const MAX_MANIFEST_BYTES: usize = 64 << 20;

/// BuildKit's `local` importer reads no manifest and no config larger than this.
pub(super) const LOCAL_IMPORT_LIMIT: usize = 1 << 20;

const UNCOMPRESSED: &str = "containerd.io/uncompressed";
const CREATED_AT: &str = "buildkit/createdat";
const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
const LIST_TYPE: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// How Docker and OCI call the same layer: what a type begins with, and what follows where it is
/// compressed.
const DOCKER_LAYERS: [(&str, &str); 2] = [
    (
        "application/vnd.docker.image.rootfs.diff.tar",
        "application/vnd.oci.image.layer.v1.tar",
    ),
    (
        "application/vnd.docker.image.rootfs.foreign.diff.tar",
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
    ),
];

/// What the media types of layers begin with; the rest names their compression.
const LAYER_TYPES: [&str; 2] = [
    "application/vnd.oci.image.layer.",
    "application/vnd.docker.image.rootfs.",
];

/// Why the blobs of a local cache make no index, or the other way round.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// More than this program reads.
    #[error("the cache manifest has {0} bytes, more than the {MAX_MANIFEST_BYTES} that are read")]
    TooLarge(usize),
    /// Not the JSON of a manifest.
    #[error("the cache manifest is not what BuildKit writes: {0}")]
    Json(#[from] serde_json::Error),
    /// No manifest, or one of something else.
    #[error("the {what} of the cache manifest has the unknown media type {media_type:?}")]
    MediaType {
        /// What has it.
        what: String,
        /// The media type.
        media_type: String,
    },
    /// No config at all.
    #[error("the cache manifest names no cache config")]
    NoConfig,
    /// The config is another one than the manifest names.
    #[error("the cache manifest names the config {expected}, but {actual} was given")]
    OtherConfig {
        /// What the manifest names.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// The config names a layer that the manifest does not.
    #[error("the cache config names the layer {0}, which the manifest does not")]
    MissingLayer(Digest),
    /// A layer without what an importer needs.
    #[error("the layer {layer} has no usable {annotation}")]
    Annotation {
        /// The layer.
        layer: Digest,
        /// The annotation.
        annotation: &'static str,
    },
    /// The config cannot be used.
    #[error(transparent)]
    Config(#[from] IndexError),
}

/// A blob, as OCI describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the blob is.
    #[serde(default)]
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its size.
    pub size: i64,
    /// More of what it is.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// The manifest of a local cache: its config and its layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The config: an index without annotations.
    pub config: Descriptor,
    /// The layers, in the order of the config.
    pub layers: Vec<Descriptor>,
}

/// Image manifest and image index, by the fields of either that are used.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    #[serde(default)]
    schema_version: u32,
    #[serde(default)]
    media_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    config: Option<Descriptor>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    layers: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    manifests: Vec<Descriptor>,
}

impl Manifest {
    /// Reads the manifest that a local export wrote.
    pub fn parse(json: &[u8]) -> Result<Self, ManifestError> {
        if json.len() > MAX_MANIFEST_BYTES {
            return Err(ManifestError::TooLarge(json.len()));
        }
        let document: Document = serde_json::from_slice(json)?;
        let (config, layers) = match document.media_type.as_str() {
            MANIFEST_TYPE => (document.config, document.layers),
            INDEX_TYPE | LIST_TYPE => {
                let is_config = |d: &Descriptor| d.media_type == index_format::MEDIA_TYPE;
                let (configs, mut layers): (Vec<_>, Vec<_>) =
                    document.manifests.into_iter().partition(is_config);
                if document.media_type == LIST_TYPE {
                    layers.iter_mut().for_each(use_oci_media_type);
                }
                (configs.into_iter().next_back(), layers)
            }
            _ => return Err(media_type("document".to_owned(), document.media_type)),
        };
        let config = config.ok_or(ManifestError::NoConfig)?;
        if config.media_type != index_format::MEDIA_TYPE {
            return Err(media_type("config".to_owned(), config.media_type));
        }
        for layer in &layers {
            if !LAYER_TYPES
                .iter()
                .any(|known| layer.media_type.starts_with(known))
            {
                let what = format!("layer {}", layer.digest);
                return Err(media_type(what, layer.media_type.clone()));
            }
        }
        Ok(Self { config, layers })
    }

    /// The index that BuildKit's own `type=gha` export of the same build would hold.
    pub fn index(&self, config: &[u8]) -> Result<CacheConfig, ManifestError> {
        let actual = Digest::sha256(config);
        let expected = self.config.digest;
        if actual != expected {
            return Err(ManifestError::OtherConfig { expected, actual });
        }
        let mut index = index_format::parse(config)?;
        let described: HashMap<_, _> = self.layers.iter().map(|l| (l.digest, l)).collect();
        for layer in &mut index.layers {
            let descriptor = described
                .get(&layer.blob)
                .ok_or(ManifestError::MissingLayer(layer.blob))?;
            layer.annotations = Some(annotations(descriptor)?);
        }
        Ok(index)
    }

    /// The bytes of the manifest.
    #[expect(
        clippy::missing_panics_doc,
        reason = "it never does, as the words below say"
    )]
    pub fn to_json(&self) -> Vec<u8> {
        let document = Document {
            schema_version: 2,
            media_type: MANIFEST_TYPE.to_owned(),
            config: Some(self.config.clone()),
            layers: self.layers.clone(),
            manifests: Vec::new(),
        };
        serde_json::to_vec(&document).expect("texts, numbers and lists are always JSON")
    }
}

/// The two blobs of a local cache, for BuildKit's `local` importer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalCache {
    /// The manifest; its digest is what the importer is given.
    pub manifest: Vec<u8>,
    /// The config that the manifest names.
    pub config: Vec<u8>,
}

impl LocalCache {
    /// The local cache that says what an index says.
    pub fn from_index(index: &CacheConfig) -> Result<Self, ManifestError> {
        let mut described = HashSet::new();
        let mut layers = Vec::new();
        let mut bare = index.clone();
        for layer in &mut bare.layers {
            let annotations = layer.annotations.take();
            if described.insert(layer.blob) {
                layers.push(descriptor(layer.blob, annotations)?);
            }
        }
        let config = bare.to_json();
        let manifest = Manifest {
            config: Descriptor {
                media_type: index_format::MEDIA_TYPE.to_owned(),
                digest: Digest::sha256(&config),
                size: i64::try_from(config.len()).unwrap_or(i64::MAX),
                annotations: BTreeMap::new(),
            },
            layers,
        };
        Ok(Self {
            manifest: manifest.to_json(),
            config,
        })
    }

    /// False if BuildKit would refuse to read one of the two.
    pub(super) fn fits_local_import(&self) -> bool {
        self.manifest.len().max(self.config.len()) <= LOCAL_IMPORT_LIMIT
    }
}

fn media_type(what: String, media_type: String) -> ManifestError {
    ManifestError::MediaType { what, media_type }
}

fn use_oci_media_type(layer: &mut Descriptor) {
    for (docker, oci) in DOCKER_LAYERS {
        match layer.media_type.strip_prefix(docker) {
            Some("") => oci.clone_into(&mut layer.media_type),
            Some(rest) if rest.starts_with('.') => {
                layer.media_type = format!("{oci}+{}", &rest[1..]);
            }
            _ => {}
        }
    }
}

fn annotations(descriptor: &Descriptor) -> Result<Annotations, ManifestError> {
    let unusable = |annotation| ManifestError::Annotation {
        layer: descriptor.digest,
        annotation,
    };
    let diff_id = descriptor
        .annotations
        .get(UNCOMPRESSED)
        .and_then(|text| text.parse().ok())
        .ok_or(unusable(UNCOMPRESSED))?;
    let created_at = match descriptor.annotations.get(CREATED_AT) {
        Some(text) => Time::parse(text)
            .map_err(|_| unusable(CREATED_AT))?
            .to_utc(),
        None => Time::default(),
    };
    Ok(Annotations {
        media_type: descriptor.media_type.clone(),
        diff_id: Some(diff_id),
        size: descriptor.size,
        created_at,
    })
}

fn descriptor(blob: Digest, described: Option<Annotations>) -> Result<Descriptor, ManifestError> {
    let unusable = |annotation| ManifestError::Annotation {
        layer: blob,
        annotation,
    };
    let described = described.ok_or(unusable("annotations"))?;
    let diff_id = described.diff_id.ok_or(unusable("diffID"))?;
    let mut annotations = BTreeMap::from([(UNCOMPRESSED.to_owned(), diff_id.to_string())]);
    if !described.created_at.is_zero() {
        annotations.insert(
            CREATED_AT.to_owned(),
            described.created_at.as_str().to_owned(),
        );
    }
    Ok(Descriptor {
        media_type: described.media_type,
        digest: blob,
        size: described.size,
        annotations,
    })
}

#[cfg(test)]
mod tests;
