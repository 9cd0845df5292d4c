//! The lines of `POST /v1/drain`: what is waited for, and how it ended.

use serde::{Deserialize, Serialize};

use super::text::{count, line};
use crate::units::size;

/// One line. The last one says how the drain ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainStatus {
    /// Whether more lines come.
    pub state: DrainState,
    /// Exports whose index is not written yet.
    pub exports: Vec<UnfinishedExport>,
    /// Bytes of all exports that are on disk because the service has not confirmed them.
    pub spool_bytes: u64,
    /// Exports that have failed: since the drain began, and before it after their builds if no drain has
    /// told of them.
    #[serde(default)]
    pub failed: u64,
}

/// How many exports have failed since the gateway began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FailedExports {
    /// All of them.
    pub all: u64,
    /// Those whose builds had ended: nobody's log says it.
    pub after_build: u64,
}

/// How far a drain is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DrainState {
    /// Exports are waited for.
    Waiting,
    /// None is left.
    Drained,
    /// The time is over, and some are left, which go on.
    TimedOut,
}

/// An export whose index is not written yet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct UnfinishedExport {
    /// The attribute `scope=`.
    pub scope: String,
    /// Layers that the service has not confirmed.
    pub layers: usize,
}

impl DrainStatus {
    /// As one line of JSON.
    pub fn to_json(&self) -> String {
        let text = serde_json::to_string(self).expect("it has texts and numbers only");
        text + "\n"
    }

    /// What failed, as in `2 cache exports have failed`; `None` if nothing did.
    pub fn describe_failed(&self) -> Option<String> {
        let has = match self.failed {
            0 => return None,
            1 => "has",
            _ => "have",
        };
        let failed = usize::try_from(self.failed).unwrap_or(usize::MAX);
        let number = count(failed, "cache export");
        Some(format!(
            "{number} {has} failed; `buildkit-gha stats` says why"
        ))
    }

    /// What is waited for, as in `2 cache exports: app (3 layers), web; 210 MB in the spool`.
    pub fn describe(&self) -> String {
        let exports = self.exports.iter().map(|export| {
            let scope = line(&export.scope);
            match export.layers {
                0 => scope,
                layers => format!("{scope} ({})", count(layers, "layer")),
            }
        });
        let exports: Vec<_> = exports.collect();
        let number = count(exports.len(), "cache export");
        let text = format!("{number}: {}", exports.join(", "));
        match self.spool_bytes {
            0 => text,
            bytes => format!("{text}; {} in the spool", size::approximate(bytes)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_waited_for_is_named() {
        let export = |scope: &str, layers| UnfinishedExport {
            scope: scope.to_owned(),
            layers,
        };
        let mut status = DrainStatus {
            state: DrainState::TimedOut,
            exports: vec![export("app", 3), export("web\u{1b}", 0), export("x", 1)],
            spool_bytes: 210_000_000,
            failed: 0,
        };
        let expected = "3 cache exports: app (3 layers), web, x (1 layer); 210 MB in the spool";
        assert_eq!(status.describe(), expected);
        status.exports.truncate(1);
        status.spool_bytes = 0;
        assert_eq!(status.describe(), "1 cache export: app (3 layers)");
        assert_eq!(status.describe_failed(), None);
        for (failed, text) in [(1, "1 cache export has"), (2, "2 cache exports have")] {
            status.failed = failed;
            let text = format!("{text} failed; `buildkit-gha stats` says why");
            assert_eq!(status.describe_failed(), Some(text));
        }
        let line = status.to_json();
        assert!(
            line.starts_with(r#"{"state":"timed_out","exports":[{"scope":"app""#),
            "{line}"
        );
        assert!(line.contains(r#""failed":2}"#), "{line}");
        let older = r#"{"state":"drained","exports":[],"spool_bytes":0}"#;
        let older: DrainStatus = serde_json::from_str(older).unwrap();
        assert_eq!(older.failed, 0);
    }
}
