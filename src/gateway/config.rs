//! The settings of the gateway, with the default of each value and the reason for it.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    cache::attributes::Overrides,
    net::{Address, Owner, Tls},
    telemetry::{Metrics, trace::Tracer},
};

/// Where buildkitd since v0.34 looks for its configuration when no flag says. The gateway says it
/// by flag, so that every version reads the same file as the gateway.
pub const CONFIG_VARIABLE: &str = "BUILDKITD_CONFIG";

/// Variables that hold tokens of the cache or of the job. buildkitd reads none of them, and whoever
/// may look into its process or runs a command from its configuration should not either.
pub const SECRET_VARIABLES: [&str; 3] = [
    "BUILDKIT_GHA_TOKEN",
    "ACTIONS_RUNTIME_TOKEN",
    "GITHUB_TOKEN",
];

/// How long a build waits for the indexes of its imports. Long enough for a service that answers,
/// short enough that one that does not costs a build no more than this.
pub(super) const INDEX_WAIT: Duration = Duration::from_secs(5);

/// The attributes of the export and the import that builds without a `gha` entry get.
pub type DefaultCache = BTreeMap<String, String>;

/// How imports reach buildkitd.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ImportTransport {
    /// Over the loopback endpoint, with stock's own importer.
    #[default]
    Loopback,
    /// Over the session, for a buildkitd that cannot reach the endpoint, or should not.
    Content,
}

/// Where clients come in, and where buildkitd is.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen.
    pub listen: Vec<Address>,
    /// Who owns the unix sockets.
    pub owner: Owner,
    /// TLS on the TCP addresses.
    pub tls: Option<Tls>,
    /// Where buildkitd answers.
    pub upstream: Address,
    /// Begins the traces of connections and sessions.
    pub tracer: Tracer,
}

/// How the cache entries of builds are taken over.
#[derive(Debug, Clone)]
pub struct InterceptorConfig {
    /// What wins over an entry's attributes.
    pub overrides: Overrides,
    /// What builds that name no `gha` cache get.
    pub default_cache: Option<DefaultCache>,
    /// buildkitd signs or verifies its indexes.
    pub signed: bool,
    /// How imports reach buildkitd.
    pub import: ImportTransport,
    /// Build steps share buildkitd's network, and may listen there.
    pub steps_share_network: bool,
    /// Build steps may listen to the import endpoint.
    pub steps_can_listen: bool,
    /// How long a build waits for the indexes of its imports.
    pub index_wait: Duration,
    /// Begins the traces of builds.
    pub tracer: Tracer,
    /// Where builds and what became of their caches are counted.
    pub metrics: Metrics,
}

impl Default for InterceptorConfig {
    fn default() -> Self {
        Self {
            overrides: Overrides::default(),
            default_cache: None,
            signed: false,
            import: ImportTransport::default(),
            steps_share_network: false,
            steps_can_listen: false,
            index_wait: INDEX_WAIT,
            tracer: Tracer::default(),
            metrics: Metrics::default(),
        }
    }
}
