//! One thing that was looked at, and what came of it.

use std::fmt::Write as _;

use serde::Serialize;

use crate::actions::{Error, Kind, NoConnection};

/// What came of a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// As it should be.
    Ok,
    /// Builds work, and something is not as it should be.
    Warning,
    /// Builds have no cache, or a command cannot work.
    Failed,
    /// It cannot be looked at from here.
    Skipped,
}

impl Status {
    /// For people.
    pub fn text(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, Serialize)]
pub struct Check {
    /// What it is.
    pub name: &'static str,
    /// What came of it.
    pub status: Status,
    /// What was seen.
    pub detail: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cure: Option<String>,
}

impl Check {
    pub(super) fn ok(name: &'static str, detail: impl Into<String>) -> Self {
        Self::new(name, Status::Ok, detail)
    }

    pub(super) fn skipped(name: &'static str, detail: impl Into<String>) -> Self {
        Self::new(name, Status::Skipped, detail)
    }

    pub(super) fn failed(name: &'static str, detail: impl Into<String>, cure: &str) -> Self {
        Self::new(name, Status::Failed, detail).with_cure(cure)
    }

    pub(super) fn warning(name: &'static str, detail: impl Into<String>, cure: &str) -> Self {
        Self::new(name, Status::Warning, detail).with_cure(cure)
    }

    fn new(name: &'static str, status: Status, detail: impl Into<String>) -> Self {
        Self {
            name,
            status,
            detail: detail.into(),
            cure: None,
        }
    }

    fn with_cure(mut self, cure: &str) -> Self {
        self.cure = Some(cure.to_owned());
        self
    }
}

/// What was found.
#[derive(Debug, Serialize)]
pub struct Diagnosis {
    /// In the order in which it was looked at.
    pub checks: Vec<Check>,
    /// What a build would do now, line by line.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub next_build: Vec<String>,
}

/// The width of a status.
const STATUS: usize = 7;

/// The width of a name.
const NAME: usize = 14;

impl Diagnosis {
    /// True if nothing has failed.
    pub fn is_well(&self) -> bool {
        self.checks
            .iter()
            .all(|check| check.status != Status::Failed)
    }

    /// For programs: one JSON object and the end of a line.
    pub fn json(&self) -> String {
        let text = serde_json::to_string_pretty(self);
        text.expect("checks are texts and lists") + "\n"
    }

    /// For people, with colours where `coloured`.
    pub fn text(&self, coloured: bool) -> String {
        let mut text = String::new();
        for check in &self.checks {
            let status = format!("{:STATUS$}", check.status.text());
            let status = if coloured {
                colour(check.status, &status)
            } else {
                status
            };
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{status}   {:NAME$} {}", check.name, check.detail);
            if let Some(cure) = &check.cure {
                let _ = writeln!(text, "{:STATUS$}   {:NAME$} -> {cure}", "", "");
            }
        }
        if !self.next_build.is_empty() {
            text.push_str("\nThe next build:\n");
            for line in &self.next_build {
                let _ = writeln!(text, "  {line}");
            }
        }
        text
    }
}

fn colour(status: Status, text: &str) -> String {
    let code = match status {
        Status::Ok => 32,
        Status::Warning => 33,
        Status::Failed => 31,
        Status::Skipped => 2,
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}

/// What to do about a failed call; `denied` and `not_found` are what these mean for this service.
pub(super) fn cure<'a>(error: &Error, denied: &'a str, not_found: &'a str) -> &'a str {
    match &error.kind {
        Kind::Unreachable(NoConnection::Refused) => {
            "check the URL, whether the service runs, and what stands between; in a container, loopback is the \
             container's own (--driver-opt network=host)"
        }
        Kind::Unreachable(NoConnection::UnknownHost) => {
            "check the host in the URL and the DNS of this machine"
        }
        Kind::Unreachable(NoConnection::Tls) => {
            "name the certificate of the service's CA in SSL_CERT_FILE or SSL_CERT_DIR; both take the place of the \
             system's certificates, so name these as well"
        }
        Kind::Denied => denied,
        Kind::NotFound => not_found,
        Kind::Throttled(_) => "wait: the service takes no more calls of this token now",
        Kind::Timeout | Kind::Transport | Kind::Incomplete => {
            "something between here and the service swallows calls: check proxies (HTTPS_PROXY, NO_PROXY) and firewalls"
        }
        Kind::Server(_) => "the service itself fails: see its log, or its status page",
        _ => "the URL leads to something that is no Actions cache service: check it",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_has_its_cure() {
        let checks = vec![
            Check::ok("clock", "in time"),
            Check::failed("service", "no answer", "start it"),
        ];
        let diagnosis = Diagnosis {
            checks,
            next_build: vec!["exports".to_owned()],
        };
        assert!(!diagnosis.is_well());
        let text = diagnosis.text(false);
        assert_eq!(
            text,
            "ok        clock          in time\n\
             failed    service        no answer\n\
             \u{20}                        -> start it\n\n\
             The next build:\n  exports\n"
        );
        assert!(diagnosis.text(true).contains("\x1b[31mfailed \x1b[0m"));
    }
}
