//! `buildkit-gha prune`: removes what nothing needs.

use std::{io, process::ExitCode, time::Duration};

use clap::Args;

use super::{
    exit::fail,
    remote::{Format, RemoteArgs},
};
use crate::{
    config::Env,
    maintenance::{Filter, FilterArg, Options, PrunePlan, Remote},
    units::{duration, human, size},
};

/// Removes from a cache what no index names; then, where asked for, what no build has used for long.
///
/// It shows what it would remove and asks. Indexes go before the layers that they name, and what an index
/// names, or may name that cannot be read, stays.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub struct Prune {
    /// Remove indexes that are in use, too.
    #[arg(short, long)]
    all: bool,

    /// Which entries: until=DURATION removes indexes that no build has used for so long; ref=REF and scope=NAME
    /// limit what is removed, with * for anything. May be repeated.
    #[arg(long = "filter", value_name = "NAME=VALUE")]
    filters: Vec<FilterArg>,

    /// Most bytes to keep: the indexes that were used longest ago go first.
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    max_used_space: Option<u64>,

    /// Bytes that are always kept, however old they are.
    #[arg(long, visible_alias = "keep-storage", value_name = "SIZE", value_parser = size::parse, default_value = "0")]
    reserved_space: u64,

    /// What was written or read so recently stays: it may be part of a build that is running.
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, default_value = "24h")]
    grace: Duration,

    /// Read a byte of each layer that stays and was not read for a day, so that GitHub does not remove it after a week.
    #[arg(long)]
    keep_alive: bool,

    /// Show what would be removed, and remove nothing.
    #[arg(long, conflicts_with = "force")]
    dry_run: bool,

    /// Do not ask.
    #[arg(short, long)]
    force: bool,

    /// Show each entry.
    #[arg(long)]
    verbose: bool,

    #[command(flatten)]
    pub(super) remote: RemoteArgs,
}

impl Prune {
    pub fn run(&self, env: &Env) -> ExitCode {
        self.remote
            .run(env, async |remote| self.prune(remote).await)
    }

    async fn prune(&self, remote: &Remote) -> ExitCode {
        let mut plan = match PrunePlan::make(remote, &self.options()).await {
            Ok(plan) => plan,
            Err(error) => return fail(&error),
        };
        plan.verbose = self.verbose;
        if self.dry_run {
            self.remote.print(&plan);
            return ExitCode::SUCCESS;
        }
        if !plan.remove.is_empty() && !self.force {
            if self.remote.output.format == Format::Table {
                self.remote.print(&plan);
            }
            if !confirmed(&plan) {
                return fail(&"prune was cancelled, and nothing is removed");
            }
        }
        let pruned = match plan.run(remote, self.keep_alive).await {
            Ok(pruned) => pruned,
            Err(error) => return fail(&error),
        };
        self.remote.print(&pruned);
        if pruned.is_complete() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }

    fn options(&self) -> Options {
        let (filter, until) = Filter::new(self.filters.iter().cloned());
        Options {
            grace: self.grace,
            filter,
            until,
            all: self.all,
            max_used_space: self.max_used_space,
            reserved_space: self.reserved_space,
        }
    }
}

/// True if somebody says so, in the words of docker.
fn confirmed(plan: &PrunePlan) -> bool {
    let (entries, size) = (plan.total.entries, human::size(plan.total.size));
    eprint!(
        "WARNING! This will remove {entries} entries ({size}) of the cache of {}. Are you sure you want to \
         continue? [y/N] ",
        plan.repository
    );
    let mut answer = String::new();
    // An end without an answer is a no.
    let _ = io::stdin().read_line(&mut answer);
    ["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str())
}
