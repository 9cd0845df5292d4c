//! `buildkit-gha stats`: the last builds of a running gateway.

use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::{
    admin_socket::AdminSocket,
    exit::{fail, usage},
    logging::Logging,
};
use crate::{config::Env, stats};

/// Shows what the cache was worth to the last builds of a running gateway.
#[derive(Debug, Args)]
pub struct Stats {
    /// How to show it: a table, json, or markdown, which is the summary of a GitHub job.
    #[arg(
        long,
        short = 'o',
        visible_alias = "output",
        value_name = "FORMAT",
        value_enum,
        default_value_t
    )]
    format: Format,

    /// Only the last N builds; the gateway keeps 100.
    #[arg(long, value_name = "N")]
    last: Option<usize>,

    #[command(flatten)]
    admin_socket: AdminSocket,

    #[command(flatten)]
    pub(super) logging: Logging,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Format {
    #[default]
    Table,
    Json,
    Markdown,
}

impl Stats {
    pub fn run(&self, env: &Env) -> ExitCode {
        let client = match self.admin_socket.client(env) {
            Ok(client) => client,
            Err(error) => return usage(&error),
        };
        let runtime = match tokio::runtime::Runtime::new() {
            Ok(runtime) => runtime,
            Err(error) => return fail(&error),
        };
        match runtime.block_on(client.stats()) {
            Ok(stats) => {
                let stats = stats.last(self.last.unwrap_or(usize::MAX));
                print!("{}", self.format.render(&stats));
                ExitCode::SUCCESS
            }
            Err(error) => fail(&error),
        }
    }
}

impl Format {
    fn render(self, stats: &stats::Stats) -> String {
        match self {
            Self::Table => stats.to_table(),
            Self::Json => stats.to_json(),
            Self::Markdown => stats.to_markdown(),
        }
    }
}
