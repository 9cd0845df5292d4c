//! What is running: the version and the commit, as a metric.

use super::{Registry, Value};

/// Registers it.
pub fn register(registry: &Registry) {
    let commit = option_env!("GIT_COMMIT").unwrap_or_default();
    let labels = [env!("CARGO_PKG_VERSION"), commit].map(str::to_owned);
    registry.gauges(
        "buildkit_gha_build_info",
        "Always 1; the labels say what is running",
        &["version", "revision"],
        move || vec![(labels.to_vec(), Value::Whole(1))],
    );
}
