//! buildkitd, and the gateway in front of it.

use std::{io, path::Path, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    time::timeout,
};

use super::{Check, Subject};
use crate::{gateway::supervise::buildkitd_version, net::Address};

/// How long the gateway may take to say whether it is ready.
const READY_TIME: Duration = Duration::from_secs(3);

/// Most bytes of its answer that are read.
const MAX_ANSWER: u64 = 64 << 10;

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
    match timeout(READY_TIME, get(path, "/readyz")).await {
        Ok(Ok(status)) if status.contains(" 200") => {
            Check::ok(NAME, format!("ready, by its admin socket {shown}"))
        }
        Ok(Ok(status)) => Check::failed(
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

/// The first line of the answer.
async fn get(socket: &Path, path: &str) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer).await?;
    let text = String::from_utf8_lossy(&answer);
    Ok(text.lines().next().unwrap_or_default().to_owned())
}
