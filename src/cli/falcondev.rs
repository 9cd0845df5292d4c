//! Variables of falcondev-oss/github-actions-cache-server, which `serve` takes where its own are not set, so that an
//! image can be put in the place of the other.
//!
//! Names and defaults are those of its version 9.4.7 (`lib/schemas.ts`, and Nitro's for host and port). They count only
//! where both what it cannot be without is set and one of its drivers: other programs have an `API_BASE_URL`, too.

mod table;
#[cfg(test)]
mod tests;

use clap::{ArgMatches, Command, parser::ValueSource};

use crate::config::Env;
use table::{MAPPINGS, Mapping, UNKNOWN};

/// The subcommand that takes them.
const SERVE: &str = "serve";

/// What every installation of the other server sets.
const REQUIRED: &str = "API_BASE_URL";

/// What no other program is likely to call so.
const DRIVERS: [&str; 2] = ["STORAGE_DRIVER", "DB_DRIVER"];

/// What is said of the other server's variables once there is a log.
#[derive(Debug, Default)]
pub(super) struct Notes {
    taken: Vec<String>,
    warnings: Vec<String>,
}

impl Notes {
    /// Says it.
    pub(super) fn log(&self) {
        for note in &self.taken {
            tracing::info!("{note}");
        }
        for warning in &self.warnings {
            tracing::warn!("{warning}");
        }
    }
}

/// What the other server's variables mean here.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Translation {
    values: Vec<Value>,
    warnings: Vec<String>,
}

#[derive(Debug, PartialEq, Eq)]
struct Value {
    /// The variable, for people.
    origin: String,
    flag: &'static str,
    text: String,
}

impl Translation {
    /// What they say; nothing where this is not its environment.
    pub(super) fn of(env: &Env) -> Self {
        let is_set = |name| env.get(name).is_some();
        if !is_set(REQUIRED) || !DRIVERS.into_iter().any(is_set) {
            return Self::default();
        }
        let unknown = UNKNOWN.iter().filter_map(|unknown| {
            let value = env.get(unknown.variable)?;
            (unknown.matters)(value).then(|| format!("{}: {}", unknown.variable, unknown.cure))
        });
        Self {
            values: MAPPINGS.iter().filter_map(|row| row.value(env)).collect(),
            warnings: unknown.collect(),
        }
    }

    /// Makes them the defaults of flags, so that a flag and a variable of ours win.
    pub(super) fn apply(&self, command: Command) -> Command {
        self.values.iter().fold(command, |command, value| {
            command.mut_subcommand(SERVE, |serve| {
                serve.mut_arg(value.flag, |arg| {
                    // It may be a password.
                    let arg = arg.required(false).hide_default_value(true);
                    arg.default_value(value.text.clone())
                })
            })
        })
    }

    /// Which of them hold, and what the operator has to do.
    pub(super) fn notes(self, matches: &ArgMatches) -> Notes {
        let Some(serve) = matches
            .subcommand_matches(SERVE)
            .filter(|_| !self.values.is_empty())
        else {
            return Notes::default();
        };
        let mut notes = Notes {
            warnings: self.warnings,
            ..Notes::default()
        };
        for value in &self.values {
            let flag = value.flag.replace('_', "-");
            let holds = serve.value_source(value.flag) == Some(ValueSource::DefaultValue);
            notes.taken.push(if holds {
                format!("{} is taken as --{flag}", value.origin)
            } else {
                format!(
                    "{} is not taken: --{flag} or its variable is set",
                    value.origin
                )
            });
        }
        if serve.value_source("trust_issuer").is_none() {
            notes.warnings.push(NO_ISSUER.to_owned());
        }
        notes
    }

    /// Which flags have their values from it, for whoever reads that one of these is wrong.
    pub(super) fn origins(&self) -> impl Iterator<Item = String> {
        self.values.iter().map(|value| {
            let flag = value.flag.replace('_', "-");
            format!("--{flag} is taken from {}", value.origin)
        })
    }
}

/// What the other server does without being asked (`lib/scope.ts`).
const NO_ISSUER: &str = "tokens of GitHub's jobs are refused: set BUILDKIT_GHA_TRUST_ISSUER to \
     https://token.actions.githubusercontent.com and BUILDKIT_GHA_TRUST_REPOSITORY to the ids of your repositories \
     (github-actions-cache-server takes the tokens of all)";

impl Mapping {
    fn value(&self, env: &Env) -> Option<Value> {
        let said = env.get(self.variable);
        let text = (self.convert)(env, said.or(self.default)?)?;
        let origin = match said {
            Some(_) => self.variable.to_owned(),
            None => format!("{} (by default)", self.variable),
        };
        Some(Value {
            origin,
            flag: self.flag,
            text,
        })
    }
}
