//! One build, measured.

use std::time::Instant;

use serde::Serialize;

use crate::{
    harness::Build,
    proxy::Proxy,
    setup::Setup,
    vertex::Export,
    vitals::{Cost, Watch},
};

/// What one build took.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Measured {
    /// Seconds of the client.
    pub wall: f64,
    /// Seconds of its cache export.
    pub export: Option<Export>,
    /// Calls that carry no bytes.
    pub api: u64,
    /// Calls that carry bytes.
    pub blob: u64,
    /// Entries that were reserved, or asked for.
    pub reserved: u64,
    pub up: u64,
    pub down: u64,
    pub most_in_flight: usize,
    pub gateway: Cost,
    pub buildkitd: Cost,
}

/// Runs a build that must succeed, without a warning.
pub fn build(setup: &Setup<'_>, proxy: &Proxy, build: &Build) -> Measured {
    proxy.restart_tally();
    let gateway = setup.gateway().map(Watch::begin);
    let buildkitd = Watch::begin(setup.buildkitd());
    let builder = setup.builder();
    let begun = Instant::now();
    let outcome = builder.build(build);
    let wall = begun.elapsed().as_secs_f64();
    let outcome = outcome.ok().no_warnings();
    let tally = proxy.tally();
    Measured {
        wall,
        export: Export::parse(&outcome.output),
        api: tally.api,
        blob: tally.blob,
        reserved: tally.reserved,
        up: tally.up,
        down: tally.down,
        most_in_flight: tally.most_in_flight,
        gateway: gateway.map(Watch::end).unwrap_or_default(),
        buildkitd: buildkitd.end(),
    }
}
