//! buildkitd, and the gateway in front of it.

use std::time::Duration;

use tokio::time::timeout;

use super::{Check, Subject};
use crate::{admin::AdminClient, gateway::supervise::buildkitd_version, net::Address};

/// How long the gateway may take to say whether it is ready.
const READY_TIME: Duration = Duration::from_secs(3);

pub(super) async fn buildkitd(subject: &Subject) -> Check {
    const NAME: &str = "buildkitd";
    let address = &subject.address;
    if let Address::Unix(path) = address
        && !subject.address_is_said
        && !path.exists()
    {
        return Check::skipped(
            NAME,
            format!(
                "no socket at {address}: run doctor in the builder, or name its address with --addr"
            ),
        );
    }
    match buildkitd_version(address).await {
        Ok(version) if version.is_empty() => Check::ok(NAME, format!("answers at {address}")),
        Ok(version) => Check::ok(NAME, format!("{version} answers at {address}")),
        Err(error) => Check::failed(
            NAME,
            error.to_string(),
            "start `buildkit-gha gateway` (or the builder's container), and see its log; the socket's group and \
             mode decide who may connect",
        ),
    }
}

pub(super) async fn gateway(subject: &Subject) -> Check {
    const NAME: &str = "gateway";
    let Some(path) = &subject.admin_socket else {
        return Check::skipped(NAME, "its admin socket is off");
    };
    let shown = path.display();
    if !path.exists() {
        return Check::skipped(
            NAME,
            format!(
                "no admin socket at {shown}: the gateway does not run here, or has --admin-socket off"
            ),
        );
    }
    let client = AdminClient::new(path.clone());
    match timeout(READY_TIME, client.get("/readyz")).await {
        Ok(Ok((status, _))) if status.is_success() => {
            Check::ok(NAME, format!("ready, by its admin socket {shown}"))
        }
        Ok(Ok((status, _))) => Check::failed(
            NAME,
            format!("not ready, by its admin socket {shown}: {status}"),
            "wait until buildkitd behind it has started, and see its log",
        ),
        Ok(Err(error)) => Check::failed(
            NAME,
            format!("{shown}: {error}"),
            "run doctor as the user that runs the gateway; start the gateway if it has ended",
        ),
        Err(_) => Check::failed(
            NAME,
            format!("{shown}: no answer within {} s", READY_TIME.as_secs()),
            "see the gateway's log, and restart the builder",
        ),
    }
}
