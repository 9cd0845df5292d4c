//! The cache service: whether it answers, and what time it is there.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;
use url::Url;

use super::{Check, check::cure};
use crate::{
    actions::{Client, Http},
    protocol::key,
    units::human,
};

/// How long a person waits for the answer of a service.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// A key that nobody writes: the answer is a miss.
const NO_KEY: &str = "buildkit-gha-doctor";

/// Tokens are judged with this much leeway.
const MOST_SKEW: SignedDuration = SignedDuration::from_secs(60);

/// Less than this is the time that the answer took, and the seconds of its header.
const NO_SKEW: SignedDuration = SignedDuration::from_secs(5);

pub(super) async fn check(client: &Client) -> Check {
    const NAME: &str = "service";
    let client = client.with_deadline(Instant::now() + PATIENCE);
    let begun = Instant::now();
    let looked_up = client.lookup(NO_KEY, &key::version()).await;
    let took = begun.elapsed().as_millis();
    match looked_up {
        Ok(_) => Check::ok(NAME, format!("a lookup was answered in {took} ms")),
        Err(error) => {
            let denied =
                "the service refuses the token: use one of this service that has not expired";
            let not_found = "the URL leads to no Actions cache service: check it";
            Check::failed(NAME, error.to_string(), cure(&error, denied, not_found))
        }
    }
}

pub(super) async fn clock(http: &Http, url: &Url) -> Check {
    const NAME: &str = "clock";
    let theirs = match http.server_time(url).await {
        Ok(Some(theirs)) => theirs,
        Ok(None) => return Check::skipped(NAME, "the service does not say what time it is"),
        Err(error) => return Check::skipped(NAME, error.to_string()),
    };
    judge(NAME, Timestamp::now().duration_since(theirs))
}

fn judge(name: &'static str, ahead: SignedDuration) -> Check {
    const CURE: &str = "set the clock of this machine (NTP): tokens are good for a time only";
    let skew = ahead.abs();
    let direction = if ahead.is_negative() {
        "behind"
    } else {
        "ahead of"
    };
    let apart = Duration::try_from(skew).unwrap_or_default();
    let detail = format!(
        "{} {direction} the service's",
        human::duration(apart).to_lowercase()
    );
    if skew >= MOST_SKEW {
        Check::failed(name, detail, CURE)
    } else if skew >= NO_SKEW {
        Check::warning(name, detail, CURE)
    } else {
        Check::ok(name, "as the service's")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Status;

    #[test]
    fn a_clock_is_judged_by_what_tokens_bear() {
        for (seconds, status) in [
            (0, Status::Ok),
            (-4, Status::Ok),
            (30, Status::Warning),
            (-61, Status::Failed),
            (3_600, Status::Failed),
        ] {
            let check = judge("clock", SignedDuration::from_secs(seconds));
            assert_eq!(check.status, status, "{seconds}: {check:?}");
        }
        let behind = judge("clock", SignedDuration::from_secs(-120));
        assert_eq!(behind.detail, "2 minutes behind the service's");
    }
}
