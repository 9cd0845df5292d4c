//! A gateway with its daemon, a service, and stock BuildKit where it is needed.

use std::sync::{Arc, OnceLock};

use super::limits::SILENCE;
use crate::harness::{Builder, Daemon, Lab, Service};

/// What the cells of one worker share.
pub struct Environment {
    pub service: Service,
    pub lab: Arc<Lab>,
    daemon: Daemon,
    stock: OnceLock<Daemon>,
}

impl Environment {
    /// Starts everything.
    pub fn start() -> Self {
        let lab = Lab::new();
        Self {
            service: Service::start(&lab),
            daemon: gateway(&lab, "gateway", ""),
            stock: OnceLock::new(),
            lab,
        }
    }

    /// The gateway that runs most builds, with nothing in its daemon.
    pub fn builder(&self) -> Builder {
        Builder::buildctl(&self.daemon)
    }

    /// Stock BuildKit.
    pub fn stock(&self) -> Builder {
        let stock = self.stock.get_or_init(|| Daemon::stock(&self.lab, "stock"));
        Builder::buildctl(stock)
    }

    /// A gateway that knows nothing yet. GitHub's own API is at `api`.
    pub fn fresh(&self, name: &str, api: &str) -> Daemon {
        gateway(&self.lab, name, api)
    }
}

fn gateway(lab: &Arc<Lab>, name: &str, api: &str) -> Daemon {
    Daemon::gateway_with(lab, name, |gateway| {
        for limit in ["NO_PROGRESS", "CALL_TIMEOUT"] {
            gateway.env(format!("BUILDKIT_GHA_{limit}"), format!("{SILENCE}s"));
        }
        if !api.is_empty() {
            gateway.env("GITHUB_API_URL", api);
        }
    })
}
