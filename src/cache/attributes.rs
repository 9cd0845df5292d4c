//! What a user wrote for one `type=gha` entry, as types.
//!
//! Every attribute of BuildKit's own backend is read with BuildKit's default and meaning. Reading
//! never stops at the first mistake: one report names them all.

use std::{collections::BTreeMap, fmt, time::Duration};

use url::Url;

mod attrs;
mod operator;
mod read;

pub use attrs::{ManifestForm, local_export_attrs, loopback_import_attrs};
pub(crate) use attrs::{canonical, local_import_attrs, loopback_export_attrs, store_id};
pub use operator::{OperatorService, OperatorToken, Overrides};
pub(crate) use read::go_bool;
pub use read::parse;

use crate::{
    actions::{Api, RestTarget},
    secret::Secret,
};

/// The names of the attributes that are read, as users write them.
pub mod name {
    #![allow(missing_docs, reason = "each constant is the attribute it names")]
    pub const SCOPE: &str = "scope";
    pub const IMAGE_MANIFEST: &str = "image-manifest";
    pub const OCI_MEDIATYPES: &str = "oci-mediatypes";
    pub const TOKEN: &str = "token";
    pub const URL: &str = "url";
    pub const URL_V2: &str = "url_v2";
    pub const VERSION: &str = "version";
    pub const TIMEOUT: &str = "timeout";
    pub const MODE: &str = "mode";
    pub const ASYNC: &str = "async";
    pub const IGNORE_ERROR: &str = "ignore-error";
    pub const REPOSITORY: &str = "repository";
    pub const IMPORT_VERIFY: &str = "import-verify";
    pub const GHTOKEN: &str = "ghtoken";
    pub const COMPRESSION: &str = "compression";
    pub const COMPRESSION_LEVEL: &str = "compression-level";
    pub const FORCE_COMPRESSION: &str = "force-compression";
}

/// BuildKit's default `scope`.
const DEFAULT_SCOPE: &str = "buildkit";

/// BuildKit's default `timeout`.
const DEFAULT_TIMEOUT: Duration = Duration::from_mins(10);

/// Where GitHub's REST API is when nothing else is said.
const DEFAULT_GITHUB_API_URL: &str = "https://api.github.com/";

/// Which results an export holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// The layers of the result only. BuildKit's default.
    #[default]
    Min,
    /// The layers of every step.
    Max,
}

impl Mode {
    /// As users write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Min => "min",
            Self::Max => "max",
        }
    }
}

/// How much of a layer an import looks at before it confirms it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Verify {
    /// That it is there, can be read and has the right size.
    #[default]
    Probe,
    /// All of it.
    Full,
}

/// One entry of `--cache-to` or `--cache-from`.
#[derive(Debug, Clone)]
pub struct Attributes {
    /// Names the index; entries of different scopes do not see each other's.
    pub scope: String,
    /// What an export holds.
    pub mode: Mode,
    /// The service and the version of its API.
    pub api: Api,
    /// The runtime token, not yet read.
    pub token: Secret,
    /// `owner/repo`, for listings.
    pub repository: Option<String>,
    /// A GitHub token, for listings.
    pub ghtoken: Option<Secret>,
    /// Where listings are asked for.
    pub github_api_url: Url,
    /// The time that a whole export or import may take.
    pub timeout: Duration,
    /// How layers are checked before an import confirms them; an attribute of our own.
    pub import_verify: Verify,
    /// What the user wrote, if anything: only an explicit `false` makes a fault fatal.
    pub ignore_error: Option<bool>,
    /// An export is answered when all its bytes are in the spool; an attribute of our own.
    pub asynchronous: bool,
    /// Attributes that BuildKit's own exporter understands and that go to it as they are.
    pub passthrough: BTreeMap<String, String>,
}

impl Attributes {
    /// True unless the user wrote `ignore-error=false`.
    pub fn ignores_errors(&self) -> bool {
        self.ignore_error != Some(false)
    }

    /// The REST API, if the user gave what a listing needs.
    pub fn rest(&self) -> Option<RestTarget> {
        Some(RestTarget {
            base: self.github_api_url.clone(),
            repository: self.repository.clone()?,
            token: self.ghtoken.clone()?,
        })
    }
}

/// What came of reading an entry.
#[derive(Debug)]
pub struct Parsed {
    /// The entry, or every mistake in it.
    pub attributes: Result<Attributes, AttributesError>,
    /// Attributes that nobody here knows, in order. BuildKit ignores them silently.
    pub unknown: Vec<String>,
    /// Values that cannot be used and that BuildKit overlooks: the entry is used with the default instead.
    pub ignored: Vec<Mistake>,
    /// True unless the user wrote `ignore-error=false`, even where the rest is malformed.
    pub ignore_error: bool,
}

/// Every mistake of one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttributesError {
    /// At least one.
    pub mistakes: Vec<Mistake>,
}

/// One attribute that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mistake {
    /// An attribute that must be there is not.
    #[error("{name} is not set: {hint}")]
    Missing {
        /// The attribute.
        name: &'static str,
        /// Where it comes from.
        hint: &'static str,
    },
    /// A value that cannot be used.
    #[error("{name}={value:?}: {reason}")]
    Value {
        /// The attribute.
        name: &'static str,
        /// What was written, cut to a length that can be read.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A value that cannot be used and that may hold a secret, so it is not shown.
    #[error("{name} cannot be used: {reason}")]
    Hidden {
        /// The attribute.
        name: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

impl fmt::Display for AttributesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("type=gha: ")?;
        for (i, mistake) in self.mistakes.iter().enumerate() {
            if i > 0 {
                f.write_str("; ")?;
            }
            mistake.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for AttributesError {}

#[cfg(test)]
mod tests;
