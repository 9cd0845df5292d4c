//! Calls of the gateway's own to a buildkitd: whether it answers, and what it says of itself.

use std::time::Duration;

use bytes::Bytes;

use crate::{
    gateway::transport::unary::{self, CallError},
    net::Address,
    wire::Fields,
};

/// How often a starting buildkitd is asked whether it answers.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// How long a running buildkitd may take to answer before people are told: one that is busy
/// answers within a second.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// A call that every buildkitd answers; whatever it says, it is there.
const INFO: &str = "/moby.buildkit.v1.Control/Info";

/// Says at once if the buildkitd that the gateway fronts does not answer: else only its first
/// client would find out. It may come later, so this is no error.
pub(crate) async fn warn_if_silent(address: &Address) {
    if let Some(error) = silence(address).await {
        tracing::warn!(
            "--upstream {address}: no buildkitd answers there ({error}); every call fails until one does"
        );
    }
}

/// Why no buildkitd answers at `address`; `None` if one does.
pub(crate) async fn silence(address: &Address) -> Option<String> {
    match tokio::time::timeout(ANSWER_TIMEOUT, unary::call(address, INFO, &[], &[])).await {
        Ok(Ok(_)) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => {
            let seconds = ANSWER_TIMEOUT.as_secs();
            Some(format!("no answer from {address} within {seconds} s"))
        }
    }
}

/// What the buildkitd at `address` calls its version, once it answers; empty for one that does not say.
pub(crate) async fn buildkitd_version(address: &Address) -> Result<String, CallError> {
    /// Field numbers of `InfoResponse` and `BuildkitVersion`.
    const VERSION: u32 = 1;
    const NUMBER: u32 = 2;
    let answer = tokio::time::timeout(ANSWER_TIMEOUT, call_without_arguments(address, INFO)).await;
    let answer = answer.map_err(|_| CallError::Late(ANSWER_TIMEOUT))??;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let version = field(&answer, VERSION).and_then(|version| field(version, NUMBER));
    Ok(version.map(text).unwrap_or_default())
}

fn field(message: &[u8], number: u32) -> Option<&[u8]> {
    let mut fields = Fields::new(message).map_while(Result::ok);
    fields.find(|field| field.number == number)?.payload().ok()
}

/// Returns when a buildkitd at `address` has answered a call.
pub(super) async fn poll_until_answered(address: &Address) {
    let mut every = tokio::time::interval(POLL_INTERVAL);
    loop {
        every.tick().await;
        match unary::call(address, INFO, &[], &[]).await {
            Ok(_) => return,
            Err(error) => tracing::trace!(%error, "buildkitd does not answer yet"),
        }
    }
}

/// Makes a call that has no arguments; the answer is its message.
pub(super) async fn call_without_arguments(
    address: &Address,
    path: &str,
) -> Result<Bytes, CallError> {
    Ok(unary::call(address, path, &[], &[]).await?.into_message()?)
}
