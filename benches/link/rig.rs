//! What a build runs on: a daemon alone, or with the gateway before it.

use std::sync::Arc;

use serde::Serialize;

use crate::{
    bed::{Bed, Repository},
    harness::{Api, Builder, Certificate, Daemon, Lab, Process},
    proxy::Proxy,
};

/// What one builder has at most: layers as they came, and unpacked.
const MEMORY: &str = "4g";

/// Whose `type=gha` it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum Side {
    Stock,
    Ours,
}

impl Side {
    pub const BOTH: [Self; 2] = [Self::Stock, Self::Ours];
}

/// A daemon and maybe a gateway, for the time of some builds.
pub struct Rig<'a> {
    gateway: Option<Daemon>,
    /// A daemon of its own, or none if it is the bed's.
    own: Option<Daemon>,
    bed: &'a Bed,
}

impl<'a> Rig<'a> {
    /// The bed's builder, with a gateway that has just started if the side is ours.
    pub fn warm(bed: &'a Bed, side: Side, proxy: &Proxy) -> Self {
        Self {
            gateway: (side == Side::Ours).then(|| gateway(&bed.builder, proxy)),
            own: None,
            bed,
        }
    }

    /// A builder that has nothing.
    pub fn fresh(bed: &'a Bed, side: Side, proxy: &Proxy) -> Self {
        let daemon = daemon(&Lab::in_memory(MEMORY), "fresh");
        Self {
            gateway: (side == Side::Ours).then(|| gateway(&daemon, proxy)),
            own: Some(daemon),
            bed,
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
        self.own.as_ref().unwrap_or(&self.bed.builder)
    }
}

/// A daemon that trusts the gateway's endpoint, as one that the gateway starts does.
pub fn daemon(lab: &Arc<Lab>, name: &str) -> Daemon {
    let certificate = Certificate::of_the_endpoint(lab);
    Daemon::stock_with(lab, name, |command| certificate.trusted_by(command))
}

fn gateway(daemon: &Daemon, proxy: &Proxy) -> Daemon {
    let certificate = Certificate::of_the_endpoint(daemon.lab());
    Daemon::in_front_of(daemon, "gateway", |command| {
        certificate.shown_by(command);
        command.env("GITHUB_API_URL", proxy.url());
    })
}

/// A cache entry as a user writes it.
pub fn gha(proxy: &Proxy, api: Api, repository: &Repository, more: &str) -> String {
    let (attributes, token) = (api.attributes(&proxy.url()), &repository.token);
    format!("type=gha,{attributes},token={token}{more}")
}
