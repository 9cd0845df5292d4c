//! What the commands on a cache share: where it is, and how they print.

use std::{
    io::{self, Write as _},
    process::ExitCode,
    sync::Arc,
};

use clap::{Args, ValueEnum};
use url::Url;

use super::{
    exit::{fail, usage},
    logging::Logging,
};
use crate::{
    actions::HttpConfig,
    config::{Env, RemoteFlags, access},
    maintenance::{Document, Progress, Remote},
};

/// How a command prints.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs: `docs/COMMANDS.md` has the fields.
    Json,
}

impl Format {
    /// A document so, without notes that it does not have.
    pub(super) fn text(self, document: &impl Document) -> String {
        match self {
            Self::Table => document.table(),
            Self::Json => document.json(),
        }
    }

    /// Prints a document so; notes that it does not have go to standard error.
    pub(super) fn print(self, document: &impl Document) {
        print(&self.text(document));
        if self == Self::Table {
            for note in document.notes() {
                eprintln!("note: {note}");
            }
        }
    }
}

/// How a command is asked to print.
#[derive(Debug, Clone, Args)]
pub(super) struct Output {
    /// How the answer is printed.
    #[arg(
        short = 'o',
        long = "output",
        id = "output",
        value_name = "FORMAT",
        value_enum,
        default_value = "table"
    )]
    pub(super) format: Format,
}

/// Where the cache is.
#[derive(Debug, Clone, Args)]
pub(super) struct RemoteArgs {
    /// A cache service such as buildkit-gha serve, with the token of `BUILDKIT_GHA_TOKEN` or `BUILDKIT_GHA_TOKEN_FILE`
    /// [env: `BUILDKIT_GHA_URL`] (default: with `GITHUB_TOKEN`, GitHub's).
    #[arg(long, value_name = "URL")]
    url: Option<Url>,

    /// The repository [env: `GITHUB_REPOSITORY`] (default: that of the service's token).
    #[arg(long, value_name = "OWNER/REPO")]
    repository: Option<String>,

    #[command(flatten)]
    pub output: Output,

    #[command(flatten)]
    pub logging: Logging,
}

impl RemoteArgs {
    pub fn flags(&self) -> RemoteFlags {
        RemoteFlags {
            url: self.url.clone(),
            repository: self.repository.clone(),
        }
    }

    /// Runs a command on the cache.
    pub fn run(&self, env: &Env, work: impl AsyncFnOnce(&Remote) -> ExitCode) -> ExitCode {
        block_on(async {
            let access = match access(env, &self.flags()).await {
                Ok(access) => access,
                Err(error) => return usage(&error),
            };
            let progress = Arc::new(Progress::stderr());
            match Remote::new(access, &HttpConfig::default(), progress) {
                Ok(remote) => work(&remote).await,
                Err(error) => fail(&error),
            }
        })
    }

    /// Prints what a command has found out.
    pub fn print(&self, document: &impl Document) {
        self.output.format.print(document);
    }
}

/// Whoever reads may have enough, as `head` has.
pub(super) fn print(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}

pub(super) fn block_on(work: impl Future<Output = ExitCode>) -> ExitCode {
    match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime.block_on(work),
        Err(error) => fail(&error),
    }
}
