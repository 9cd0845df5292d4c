//! What a build runs on: a daemon alone, or with the gateway before it.

use crate::{
    daemons::{daemon, gateway},
    fixture::{Fixture, Repository},
    harness::{Api, Builder, Daemon, Lab, Process},
    proxy::Proxy,
    side::Side,
};

/// What one builder has at most: layers as they came, and unpacked.
const MEMORY: &str = "4g";

/// A daemon and maybe a gateway, for the time of some builds.
pub struct Setup<'a> {
    gateway: Option<Daemon>,
    /// A daemon of its own, or none if it is the fixture's.
    own: Option<Daemon>,
    fixture: &'a Fixture,
}

impl<'a> Setup<'a> {
    /// The fixture's builder, with a gateway that has just started if the side is ours.
    pub fn warm(fixture: &'a Fixture, side: Side, proxy: &Proxy) -> Self {
        Self {
            gateway: (side == Side::Ours).then(|| gateway(&fixture.builder, proxy)),
            own: None,
            fixture,
        }
    }

    /// A builder that has nothing.
    pub fn fresh(fixture: &'a Fixture, side: Side, proxy: &Proxy) -> Self {
        let daemon = daemon(&Lab::in_memory(MEMORY), "fresh");
        Self {
            gateway: (side == Side::Ours).then(|| gateway(&daemon, proxy)),
            own: Some(daemon),
            fixture,
        }
    }

    /// What clients talk to.
    pub fn builder(&self) -> Builder {
        Builder::buildctl(self.gateway.as_ref().unwrap_or(self.daemon()))
    }

    /// The gateway's process, if the side is ours.
    pub fn gateway(&self) -> Option<&Process> {
        self.gateway.as_ref().map(|gateway| &gateway.process)
    }

    /// buildkitd's process.
    pub fn buildkitd(&self) -> &Process {
        &self.daemon().process
    }

    fn daemon(&self) -> &Daemon {
        self.own.as_ref().unwrap_or(&self.fixture.builder)
    }
}

/// A cache entry as a user writes it.
pub fn gha(proxy: &Proxy, api: Api, repository: &Repository, more: &str) -> String {
    let (attributes, token) = (api.attributes(&proxy.url()), &repository.token);
    format!("type=gha,{attributes},token={token}{more}")
}
