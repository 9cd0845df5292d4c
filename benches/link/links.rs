//! The links that are simulated.

use std::time::Duration;

use serde::Serialize;

use crate::proxy::Link;

/// A link by its name in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Wire {
    /// No limit: what the machine itself takes.
    None,
    /// As a runner of GitHub's sees its cache.
    Gh,
    /// A distant service behind a thin line.
    Slow,
}

impl Wire {
    /// The name.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gh => "gh",
            Self::Slow => "slow",
        }
    }

    /// What it does to calls and bytes.
    pub fn link(self) -> Link {
        match self {
            Self::None => Link::NONE,
            Self::Gh => Link {
                api: Duration::from_millis(120),
                blob: Duration::from_millis(25),
                per_connection: Some(60_000_000),
                in_all: Some(400_000_000),
            },
            Self::Slow => Link {
                api: Duration::from_millis(300),
                blob: Duration::from_millis(300),
                per_connection: Some(10_000_000),
                in_all: Some(10_000_000),
            },
        }
    }
}
