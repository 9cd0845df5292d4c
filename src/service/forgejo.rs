//! Jobs of Forgejo: its runner's proxy says in headers of each request whose it is, with a MAC that proves it (ADR 60).

use aws_lc_rs::hmac;
use jiff::{SignedDuration, Timestamp};

use super::{
    auth::{CLOCK_LEEWAY_SECS, Caller},
    forgejo_error::ForgejoError,
    token,
};
use crate::{
    protocol::scope::{Permission, Scope},
    secret::Secret,
};

/// The scope of all jobs but those of pull requests. Forgejo keeps no branches apart.
pub(super) const DEFAULT_SCOPE: &str = "default";

/// How long after the beginning of a job its requests are good. The runner gives a job 3 h (`runner.timeout`); a day
/// leaves room for longer ones, and what somebody has overheard is of no use the day after.
pub(super) const MAX_AGE: SignedDuration = SignedDuration::from_hours(24);

/// Longest name of a scope: branches of GitHub have 255 bytes at most.
const MAX_SCOPE_BYTES: usize = 512;

/// What the proxy says of a job.
#[derive(Debug, Clone, Copy)]
pub(super) struct JobHeaders<'a> {
    /// `owner/repo`.
    pub(super) repository: &'a str,
    /// The id of the run.
    pub(super) run: &'a str,
    /// When the job began, in Unix seconds.
    pub(super) timestamp: &'a str,
    /// What a pull request writes to; empty for all others.
    pub(super) isolation_key: &'a str,
    /// HMAC-SHA256 of all of these, in hex.
    pub(super) mac: &'a str,
}

/// Verifies what proxies say.
pub(super) struct ForgejoKey(hmac::Key);

impl ForgejoKey {
    /// Of the secret that the runners have, too.
    pub(super) fn new(secret: &Secret) -> Self {
        Self(hmac::Key::new(
            hmac::HMAC_SHA256,
            secret.expose().as_bytes(),
        ))
    }

    /// Who calls.
    pub(super) fn verify(
        &self,
        job: JobHeaders<'_>,
        now: Timestamp,
    ) -> Result<Caller, ForgejoError> {
        let mac = hex::decode(job.mac).map_err(|_| ForgejoError::Mac)?;
        hmac::verify(&self.0, message(job).as_bytes(), &mac).map_err(|_| ForgejoError::Mac)?;
        let begun = begun(job)?;
        let expires = begun.saturating_add(MAX_AGE).unwrap_or(Timestamp::MAX);
        if expires <= now {
            return Err(ForgejoError::Expired(begun));
        }
        if begun.as_second() > now.as_second().saturating_add(CLOCK_LEEWAY_SECS) {
            return Err(ForgejoError::NotYet(begun));
        }
        if !token::is_repository(job.repository) {
            return Err(ForgejoError::Header("Forgejo-Cache-Repo"));
        }
        Ok(Caller {
            repository: job.repository.to_owned(),
            scopes: scopes(job.isolation_key)?,
            expires,
            token: None,
        })
    }
}

fn message(job: JobHeaders<'_>) -> String {
    let JobHeaders {
        repository,
        run,
        timestamp,
        isolation_key,
        ..
    } = job;
    format!("{repository}>{run}>{timestamp}>{isolation_key}")
}

/// When a job began. Nothing but digits before the last field leaves one way to read the message of a MAC.
fn begun(job: JobHeaders<'_>) -> Result<Timestamp, ForgejoError> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(job.run) {
        return Err(ForgejoError::Header("Forgejo-Cache-RunNumber"));
    }
    Some(job.timestamp)
        .filter(|text| digits(text))
        .and_then(|text| Timestamp::from_second(text.parse().ok()?).ok())
        .ok_or(ForgejoError::Header("Forgejo-Cache-Timestamp"))
}

/// A pull request writes its own scope and reads the default one, too.
fn scopes(isolation_key: &str) -> Result<Vec<Scope>, ForgejoError> {
    match isolation_key {
        "" => Ok(vec![Scope::new(DEFAULT_SCOPE, Permission::READ_WRITE)]),
        key if key == DEFAULT_SCOPE || key.len() > MAX_SCOPE_BYTES => {
            Err(ForgejoError::Header("Forgejo-Cache-WriteIsolationKey"))
        }
        key => Ok(vec![
            Scope::new(key, Permission::READ_WRITE),
            Scope::new(DEFAULT_SCOPE, Permission::READ),
        ]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn verify(job: JobHeaders<'_>) -> Result<Caller, ForgejoError> {
        let key = ForgejoKey::new(&Secret::new("secret"));
        let mac = hmac::sign(&key.0, message(job).as_bytes());
        let mac = hex::encode(mac);
        key.verify(
            JobHeaders { mac: &mac, ..job },
            Timestamp::from_second(NOW).unwrap(),
        )
    }

    fn job<'a>(timestamp: &'a str, isolation_key: &'a str) -> JobHeaders<'a> {
        JobHeaders {
            repository: "o/r",
            run: "1",
            timestamp,
            isolation_key,
            mac: "",
        }
    }

    /// Seen in `act/artifactcache/handler_test.go` of forgejo-runner v12.
    #[test]
    fn a_mac_is_the_runners() {
        let key = ForgejoKey::new(&Secret::new("secret"));
        let job = JobHeaders {
            repository: "testuser/repo",
            run: "1",
            timestamp: "0",
            isolation_key: "",
            mac: "bc2e9167f9e310baebcead390937264e4c0b21d2fdd49f5b9470d54406099360",
        };
        let caller = key.verify(job, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(caller.repository, "testuser/repo");
        for (job, error) in [
            (JobHeaders { mac: "", ..job }, ForgejoError::Mac),
            (JobHeaders { run: "2", ..job }, ForgejoError::Mac),
        ] {
            assert_eq!(key.verify(job, Timestamp::UNIX_EPOCH).unwrap_err(), error);
        }
    }

    #[test]
    fn a_pull_request_reads_the_default_scope_and_writes_its_own() {
        let caller = verify(job("1800000000", "refs/pull/7/head")).unwrap();
        let readable: Vec<_> = caller.readable().collect();
        assert_eq!(readable, ["refs/pull/7/head", DEFAULT_SCOPE]);
        assert_eq!(caller.write_scope(), Some("refs/pull/7/head"));
        assert_eq!(caller.deletable().count(), 0);
        let caller = verify(job("1800000000", "")).unwrap();
        assert_eq!(caller.write_scope(), Some(DEFAULT_SCOPE));
    }

    #[test]
    fn a_job_is_good_for_a_day() {
        let at = |second: i64| verify(job(&second.to_string(), "")).map(|_| ());
        let time = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(at(NOW - 86_399), Ok(()));
        assert_eq!(at(NOW + 60), Ok(()));
        for (second, error) in [
            (NOW - 86_400, ForgejoError::Expired(time(NOW - 86_400))),
            (NOW + 61, ForgejoError::NotYet(time(NOW + 61))),
        ] {
            assert_eq!(at(second), Err(error));
        }
    }

    /// Each has a MAC that is good: it is the same text with other ends of its fields, or of no use.
    #[test]
    fn what_no_runner_signs_is_refused() {
        let good = job("1800000000", "");
        for job in [
            JobHeaders {
                repository: "o/r>1",
                ..good
            },
            JobHeaders {
                repository: "o",
                ..good
            },
            JobHeaders { run: "1>2", ..good },
            JobHeaders { run: "", ..good },
            JobHeaders {
                timestamp: "-1",
                ..good
            },
            JobHeaders {
                timestamp: "99999999999999999999",
                ..good
            },
            JobHeaders {
                isolation_key: DEFAULT_SCOPE,
                ..good
            },
            JobHeaders {
                isolation_key: &"x".repeat(513),
                ..good
            },
        ] {
            let error = verify(job).unwrap_err();
            assert!(matches!(error, ForgejoError::Header(_)), "{job:?}: {error}");
        }
    }
}
