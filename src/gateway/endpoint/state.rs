//! What the handlers of all calls need.

use std::sync::Arc;

use url::Url;

use super::handle::Handles;

/// Shared by all connections.
pub(super) struct ApiState {
    pub handles: Arc<Handles>,
    /// What buildkitd reaches the endpoint by.
    pub url: Url,
}
