//! The configurations of the modules behind the gateway, which own their defaults and say why they
//! are what they are. What an operator says is filled in by [`super::limits`].

use std::time::Duration;

use crate::{actions::HttpConfig, cache, gateway::InterceptorConfig};

/// How long builds in flight may go on after a signal that asks for the end. It is the default
/// `timeout` of an export, so that an export which keeps its time loses nothing; whoever sends the
/// signal has a timeout of its own (`docker stop` 10 s, Kubernetes 30 s, systemd 90 s) and ends
/// the wait earlier by force.
const DRAIN: Duration = Duration::from_mins(10);

/// What each module is told.
#[derive(Clone)]
pub struct ModuleConfigs {
    /// How long builds in flight may go on after a signal that asks for the end.
    pub drain: Duration,
    /// Connections to the cache service.
    pub http: HttpConfig,
    /// The layer cache, and the client of the cache service in it.
    pub cache: cache::Config,
    /// How builds are taken over.
    pub interceptor: InterceptorConfig,
}

impl Default for ModuleConfigs {
    fn default() -> Self {
        Self {
            drain: DRAIN,
            http: HttpConfig::default(),
            cache: cache::Config::default(),
            interceptor: InterceptorConfig::default(),
        }
    }
}
