//! The flag of `serve` that says whether it has a page for people.

use clap::{ArgAction, Args, builder::BoolishValueParser};

/// The page for administrators.
#[derive(Debug, Args)]
pub(super) struct PageFlags {
    /// Whether `/ui/` is a page for people with an administrator's token (on, off).
    #[arg(
        long, env = "BUILDKIT_GHA_PAGE", value_name = "SWITCH", default_value = "on",
        action = ArgAction::Set, value_parser = BoolishValueParser::new()
    )]
    pub(super) page: bool,
}
