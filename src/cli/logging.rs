//! `--log` and `--log-format`, before the subcommand or after it.

use clap::{Args, ValueEnum as _};

use crate::{
    config::{Env, LogSettings, settings},
    telemetry::{self, LogFormat},
};

/// What is logged beside an answer.
const QUIET: &str = "warn";

/// The flags; where both places have one, the later wins.
#[derive(Debug, Clone, Default, Args)]
pub struct Logging {
    /// What to log, in the syntax of `RUST_LOG` [env: `BUILDKIT_GHA_LOG`] [default: info].
    #[arg(long, value_name = "FILTER")]
    pub log: Option<String>,

    /// How log lines look: text or json [env: `BUILDKIT_GHA_LOG_FORMAT`] [default: text].
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
}

impl Logging {
    /// These, and those of `outer` that are not said here.
    pub fn or(self, outer: Self) -> Self {
        Self {
            log: self.log.or(outer.log),
            log_format: self.log_format.or(outer.log_format),
        }
    }

    /// For a command that prints its answer: its log has warnings only, unless somebody wants more.
    pub fn quiet(mut self, env: &Env) -> Self {
        if self.log.is_none() && env.get("BUILDKIT_GHA_LOG").is_none() {
            self.log = Some(QUIET.to_owned());
        }
        self
    }

    /// The settings of a command that has no others for its log.
    pub fn settings(self, env: &Env) -> LogSettings {
        LogSettings::read(self.log, self.log_format, env)
    }
}

/// Why logging cannot be turned on.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// A format that there is not.
    #[error("--log-format {0:?}: neither text nor json")]
    Format(String),
    /// Not in the syntax of `RUST_LOG`.
    #[error("--log {0:?}: {1}")]
    Filter(String, telemetry::FilterError),
}

/// Turns logging on and warns of variables that nobody reads. An error is wrong usage.
pub fn start(log: &LogSettings, env: &Env) -> Result<(), LoggingError> {
    let format = match log.format.as_deref() {
        None => LogFormat::default(),
        Some(text) => {
            LogFormat::from_str(text, false).map_err(|_| LoggingError::Format(text.to_owned()))?
        }
    };
    telemetry::init(&log.filter, format)
        .map_err(|error| LoggingError::Filter(log.filter.clone(), error))?;
    for line in settings::unknown_variables(env) {
        tracing::warn!("{line}");
    }
    Ok(())
}
