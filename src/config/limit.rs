//! One limit: where it is kept, and how its value is read and written.

use std::time::Duration;

use super::modules::ModuleConfigs;
use crate::{
    actions::PerMinute,
    units::{
        duration::{self, InvalidDuration},
        size::{self, InvalidSize},
    },
};

/// A limit by the grammar of its value, with the field that holds it.
#[derive(Debug, Clone, Copy)]
pub enum Limit {
    /// A time, more than nothing.
    Duration(fn(&mut ModuleConfigs) -> &mut Duration),
    /// A time, or nothing.
    DurationOrZero(fn(&mut ModuleConfigs) -> &mut Duration),
    /// Bytes.
    Size(fn(&mut ModuleConfigs) -> &mut u64),
    /// Bytes where somebody says so; else its module finds a value.
    SizeIfSaid(fn(&mut ModuleConfigs) -> &mut Option<u64>),
    /// Calls in a minute.
    PerMinute(fn(&mut ModuleConfigs) -> &mut PerMinute),
}

/// A value that is none, with the flag or variable that it was written to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}={text:?}: {reason}")]
pub struct InvalidLimit {
    name: String,
    text: String,
    reason: InvalidValue,
}

/// Why a text is no value of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum InvalidValue {
    #[error(transparent)]
    Duration(#[from] InvalidDuration),
    #[error(transparent)]
    Size(#[from] InvalidSize),
    #[error("neither a number above 0 nor unlimited")]
    PerMinute,
}

impl Limit {
    /// Reads `text`, which stands in `name`, into its field.
    pub(super) fn set(
        self,
        modules: &mut ModuleConfigs,
        name: &str,
        text: &str,
    ) -> Result<(), InvalidLimit> {
        self.parse(modules, text).map_err(|reason| InvalidLimit {
            name: name.to_owned(),
            text: text.to_owned(),
            reason,
        })
    }

    fn parse(self, modules: &mut ModuleConfigs, text: &str) -> Result<(), InvalidValue> {
        match self {
            Self::Duration(field) => *field(modules) = duration::parse_positive(text)?,
            Self::DurationOrZero(field) => *field(modules) = duration::parse(text)?,
            Self::Size(field) => *field(modules) = size::parse(text)?,
            Self::SizeIfSaid(field) => *field(modules) = Some(size::parse(text)?),
            Self::PerMinute(field) => *field(modules) = per_minute(text)?,
        }
        Ok(())
    }

    /// The value as it would be written; empty where its module finds one.
    pub(super) fn display(self, modules: &mut ModuleConfigs) -> String {
        match self {
            Self::Duration(field) | Self::DurationOrZero(field) => {
                duration::display(*field(modules))
            }
            Self::Size(field) => size::display(*field(modules)),
            Self::SizeIfSaid(field) => field(modules).map(size::display).unwrap_or_default(),
            Self::PerMinute(field) => match field(modules) {
                PerMinute::Known => String::new(),
                PerMinute::Unlimited => "unlimited".to_owned(),
                PerMinute::Calls(calls) => calls.to_string(),
            },
        }
    }

    /// What stands for the value in the help.
    pub(super) const fn placeholder(self) -> &'static str {
        match self {
            Self::Duration(_) | Self::DurationOrZero(_) => "DURATION",
            Self::Size(_) | Self::SizeIfSaid(_) => "SIZE",
            Self::PerMinute(_) => "N",
        }
    }
}

fn per_minute(text: &str) -> Result<PerMinute, InvalidValue> {
    match text.parse() {
        _ if text == "unlimited" => Ok(PerMinute::Unlimited),
        Ok(calls) if calls > 0 => Ok(PerMinute::Calls(calls)),
        _ => Err(InvalidValue::PerMinute),
    }
}
