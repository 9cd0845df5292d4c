//! What an operator may change of a build's way through the gateway.

use std::time::Duration;

use crate::{
    cache::attributes::Overrides,
    config::{DefaultCache, ImportTransport},
};

/// Long enough for a service that answers, short enough that one that does not costs a build no more
/// than this.
const INDEX_WAIT: Duration = Duration::from_secs(5);

/// The settings of a [`BuildInterceptor`](super::BuildInterceptor).
#[derive(Debug, Clone)]
pub(crate) struct InterceptorConfig {
    /// What wins over an entry's attributes.
    pub overrides: Overrides,
    /// What builds that name no `gha` cache get.
    pub default_cache: Option<DefaultCache>,
    /// buildkitd signs or verifies its indexes.
    pub signed: bool,
    /// How imports reach buildkitd.
    pub import: ImportTransport,
    /// Build steps may listen to the import endpoint.
    pub steps_can_listen: bool,
    /// How long a build waits for the indexes of its imports.
    pub index_wait: Duration,
}

impl Default for InterceptorConfig {
    fn default() -> Self {
        Self {
            overrides: Overrides::default(),
            default_cache: None,
            signed: false,
            import: ImportTransport::default(),
            steps_can_listen: false,
            index_wait: INDEX_WAIT,
        }
    }
}
