//! The runtime token, as it describes itself.

use std::time::Duration;

use jiff::Timestamp;

use super::Check;
use crate::{actions::Token, protocol::scope::Scope, secret::Secret, units::human};

const NAME: &str = "token";

/// A token that ends sooner is worth a word: builds take minutes.
const SOON: Duration = Duration::from_mins(10);

/// What is said where no token is.
pub(super) fn absent() -> [Check; 2] {
    let why = "no ACTIONS_RUNTIME_TOKEN with ACTIONS_RESULTS_URL or ACTIONS_CACHE_URL, and no BUILDKIT_GHA_URL with \
               BUILDKIT_GHA_TOKEN: builds bring their own, which are not known here";
    [Check::skipped(NAME, why), Check::skipped("service", why)]
}

/// What came of it, and the token if it can be used.
pub(super) fn check(raw: Secret) -> (Check, Option<Token>) {
    const RENEW: &str = "use the token of the job that runs now (it is good for about six hours), or mint one with \
                         `buildkit-gha token`";
    let token = match Token::parse(raw) {
        Ok(token) => token,
        Err(error) => return (Check::failed(NAME, error.to_string(), RENEW), None),
    };
    let now = Timestamp::now();
    if let Err(error) = token.check(now) {
        let check = Check::failed(NAME, error.to_string(), RENEW);
        return (check, None);
    }
    let left = Duration::try_from(token.expires().duration_since(now)).unwrap_or_default();
    let scopes: Vec<_> = token.scopes().iter().map(describe).collect();
    let detail = format!(
        "{}; expires in {}",
        scopes.join(", "),
        human::duration(left).to_lowercase()
    );
    let check = if token.scopes().is_empty() {
        Check::failed(NAME, "it names no scope, so it opens no cache", RENEW)
    } else if token.first_writable().is_none() {
        Check::warning(
            NAME,
            detail,
            "it may write nowhere, so builds import and do not export: on GitHub that is so for pull requests from \
             forks and where the cache mode of the job is read-only",
        )
    } else if left < SOON {
        Check::warning(NAME, detail, RENEW)
    } else {
        Check::ok(NAME, detail)
    };
    (check, Some(token))
}

fn describe(scope: &Scope) -> String {
    let permission = scope.permission;
    let mut may = Vec::new();
    for (allowed, word) in [
        (permission.readable(), "read"),
        (permission.writable(), "write"),
        (permission.deletable(), "delete"),
    ] {
        may.extend(allowed.then_some(word));
    }
    format!("{} ({})", scope.name, may.join(", "))
}
