//! The document of `GET /v1/stats` and `buildkit-gha stats -o json`. What is not known is absent.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What a gateway knows of its last builds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    /// The gateway's version.
    pub version: String,
    /// Exports whose builds have ended and whose index is not written yet.
    #[serde(default)]
    pub pending_exports: usize,
    /// The last builds, the newest first.
    #[serde(default)]
    pub builds: Vec<Build>,
}

/// One build.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Build {
    /// BuildKit's name of it, as `buildx history ls` shows it.
    #[serde(rename = "ref")]
    pub reference: String,
    /// When its Solve came.
    pub started: Timestamp,
    /// Until its Solve was answered; absent while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_seconds: Option<f64>,
    /// How it ended; absent while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// Absent where nobody watched the build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<Steps>,
    /// What it imported, scope by scope.
    #[serde(default)]
    pub imports: Vec<Import>,
    /// What it exported.
    #[serde(default)]
    pub exports: Vec<Export>,
    /// Steps that ran although the build imports a cache.
    #[serde(default)]
    pub missed: Vec<Missed>,
    /// What was lost, in the words of the build's log. Some may come after its end.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// How a build ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It succeeded.
    Ok,
    /// It failed.
    Failed,
    /// Its client left.
    Canceled,
}

/// The steps of a build.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Steps {
    /// All that the build needed.
    pub total: usize,
    /// Those that were CACHED.
    pub cached: usize,
    /// What the cached ones took when they ran, as far as that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_saved_seconds: Option<f64>,
}

/// One import.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Import {
    /// The attribute `scope=`.
    pub scope: String,
    /// The index that was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<Index>,
    /// Layers that BuildKit asked for and that are in the cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layers_confirmed: Option<u64>,
    /// Layers that the index names and the cache has lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layers_gone: Option<u64>,
    /// Layers that were fetched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layers_fetched: Option<u64>,
    /// Their bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_fetched: Option<u64>,
    /// How long the import took of the build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_seconds: Option<f64>,
}

/// The index of an import.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Index {
    /// Whether there was one.
    pub found: bool,
    /// The ref that it was written on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// When it was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    /// Why there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<NoIndex>,
}

/// Why an import has no index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NoIndex {
    /// There is none.
    Absent,
    /// It is not valid, or too large.
    Unusable,
    /// It could not be read.
    Failed,
    /// It was not read before the build ended.
    Late,
}

/// One export.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Export {
    /// The attribute `scope=`.
    pub scope: String,
    /// What it has come to.
    pub state: ExportState,
    /// Layers that were sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layers_sent: Option<u64>,
    /// Layers that were in the cache before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layers_present: Option<u64>,
    /// Layers that the index does not name because they could not be saved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layers_left_out: Option<u64>,
    /// Bytes of layers that the service has taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_sent: Option<u64>,
    /// Calls of the cache's API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calls: Option<u64>,
    /// How long calls waited because the service or a limit wanted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waited_seconds: Option<f64>,
    /// From BuildKit's first write to the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_seconds: Option<f64>,
}

/// What an export has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExportState {
    /// The index is written.
    Written,
    /// The newest index says the same already.
    Unchanged,
    /// It goes on.
    Pending,
    /// The index could not be written.
    Failed,
    /// There was nothing to write, or nowhere.
    Skipped,
}

/// A step that was not CACHED.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missed {
    /// The step, in the words of the build's log.
    pub step: String,
    /// Why, as far as it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
