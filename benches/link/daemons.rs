//! Daemons and gateways as the benches start them.

use std::sync::Arc;

use crate::{
    harness::{Certificate, Daemon, Lab},
    proxy::Proxy,
};

/// A daemon that trusts the gateway's endpoint, as one that the gateway starts does.
pub fn daemon(lab: &Arc<Lab>, name: &str) -> Daemon {
    let certificate = Certificate::for_endpoint(lab);
    Daemon::stock_with(lab, name, |command| certificate.trusted_by(command))
}

/// A gateway before a daemon; GitHub's own API is the proxy.
pub fn gateway(daemon: &Daemon, proxy: &Proxy) -> Daemon {
    let certificate = Certificate::for_endpoint(daemon.lab());
    Daemon::in_front_of(daemon, "gateway", |command| {
        certificate.shown_by(command);
        command.env("GITHUB_API_URL", proxy.url());
    })
}
