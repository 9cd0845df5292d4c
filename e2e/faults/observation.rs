//! What one cell came to.

use serde::{Deserialize, Serialize};

use crate::harness::Outcome;

/// What a disturbed build came to, in the order from good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Verdict {
    /// As if nothing had happened.
    Whole,
    /// Export: what failed is not in the cache, and the user was told.
    LeftOut,
    /// Export: the index was not written, and the user was told.
    OlderKept,
    /// Import: a step ran again.
    Miss,
    /// The build failed.
    Failed,
}

/// What was seen of one cell.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Observation {
    /// What the disturbed build came to.
    pub verdict: Verdict,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// How much longer than the same build without the fault, run right before or after it, where
    /// that was measured.
    pub cost: Option<f64>,
    /// How often the fault was made.
    pub hits: u64,
    /// What the user read first: the first warning, or the error of a failed build.
    pub message: Option<String>,
    /// More of it, in the service's words.
    pub detail: Option<String>,
    /// The next run succeeded although the fault was still there.
    pub denied: bool,
    /// Stock BuildKit has read what an export had left.
    pub stock_read: bool,
    /// What is wrong whatever the cell allows.
    pub wrong: Vec<String>,
    /// All that the disturbed build wrote.
    #[serde(skip)]
    pub output: String,
}

impl Observation {
    /// What an outcome tells; the verdict is the caller's to refine.
    pub fn new(outcome: &Outcome, seconds: f64) -> Self {
        let message = if outcome.success {
            outcome.warnings.first().cloned()
        } else {
            Some(error(&outcome.output))
        };
        Self {
            verdict: if outcome.success {
                Verdict::Whole
            } else {
                Verdict::Failed
            },
            seconds,
            cost: None,
            hits: 0,
            message,
            detail: outcome.details.first().cloned(),
            denied: false,
            stock_read: false,
            wrong: Vec::new(),
            output: outcome.output.clone(),
        }
    }
}

/// The line by which a client ends a failed build.
fn error(output: &str) -> String {
    let mut lines = output.lines().rev();
    let error = lines.find(|line| line.starts_with("ERROR") || line.starts_with("error"));
    error.unwrap_or("no error was shown").to_owned()
}
