//! `buildkit-gha serve migrate`: moves a cache to other stores.

use std::{io, path::PathBuf, process::ExitCode, sync::Arc};

use clap::{ArgAction, Args, builder::BoolishValueParser};
use serde::Serialize;

use super::{
    database,
    exit::{fail, usage},
    logging::Logging,
    remote::{Output, block_on},
};
use crate::{
    lifecycle::{ENDING, Signals, raise_file_limit},
    maintenance::{self, Document},
    secret::Secret,
    service::{
        Migration, MigrationError, MigrationReport, Moved, OnProgress, Progress, Side,
        config::StoreUrl,
    },
    units::human,
};

/// Moves all entries, and the secret of tokens, from one pair of stores to another, while no service uses either.
///
/// Nothing is removed from the source. What was interrupted goes on when it is run again.
#[derive(Debug, Args)]
pub struct Migrate {
    /// The data directory of the source; not needed if its entries and its content are elsewhere.
    #[arg(
        long,
        env = "BUILDKIT_GHA_FROM_DATA_DIR",
        value_name = "DIR",
        required_unless_present_all = ["from_database", "from_store"]
    )]
    from_data_dir: Option<PathBuf>,

    /// The database of the source, as `serve --database` (default: SQLite in its data directory).
    #[arg(
        long,
        env = "BUILDKIT_GHA_FROM_DATABASE",
        value_name = "URL",
        hide_env_values = true,
        value_parser = database::secret
    )]
    from_database: Option<Secret>,

    /// Where the content of the source is, as `serve --store` (default: in its data directory).
    #[arg(long, env = "BUILDKIT_GHA_FROM_STORE", value_name = "URL", value_parser = StoreUrl::parse)]
    from_store: Option<StoreUrl>,

    /// The data directory of the target; created when missing. On its way to a bucket content lies there.
    #[arg(long, env = "BUILDKIT_GHA_TO_DATA_DIR", value_name = "DIR")]
    to_data_dir: PathBuf,

    /// The database of the target (default: SQLite in its data directory).
    #[arg(
        long,
        env = "BUILDKIT_GHA_TO_DATABASE",
        value_name = "URL",
        hide_env_values = true,
        value_parser = database::secret
    )]
    to_database: Option<Secret>,

    /// Where the content of the target is to be (default: in its data directory).
    #[arg(long, env = "BUILDKIT_GHA_TO_STORE", value_name = "URL", value_parser = StoreUrl::parse)]
    to_store: Option<StoreUrl>,

    /// Whether all that was written is read again, and its sha256 compared (on, off).
    #[arg(
        long, value_name = "SWITCH", default_value = "on",
        action = ArgAction::Set, value_parser = BoolishValueParser::new()
    )]
    verify: bool,

    #[command(flatten)]
    output: Output,

    #[command(flatten)]
    pub(super) logging: Logging,
}

impl Migrate {
    /// Moves until all is done, or until SIGTERM or SIGINT.
    pub fn run(self) -> ExitCode {
        if let Err(error) = raise_file_limit() {
            tracing::warn!(%error, "the limit of open files stays");
        }
        let sides = match self.sides() {
            Ok(sides) => sides,
            Err(error) => return usage(&error),
        };
        block_on(async {
            match migrate(sides, self.verify).await {
                Ok(report) => {
                    self.output.format.print(&Answer::new(report));
                    ExitCode::SUCCESS
                }
                Err(error) => fail(&error),
            }
        })
    }

    /// Source and target.
    fn sides(&self) -> io::Result<[Side; 2]> {
        let from = Side {
            data_dir: self.from_data_dir.clone(),
            database: database::parse("--from-database", self.from_database.as_ref())?,
            store: self.from_store.clone(),
        };
        let to = Side {
            data_dir: Some(self.to_data_dir.clone()),
            database: database::parse("--to-database", self.to_database.as_ref())?,
            store: self.to_store.clone(),
        };
        Ok([from, to])
    }
}

/// Why nothing, or not all, was moved.
#[derive(Debug, thiserror::Error)]
enum MigrateError {
    #[error(transparent)]
    Migration(#[from] MigrationError),
    #[error(transparent)]
    Signals(#[from] io::Error),
    #[error("interrupted: run it again to go on")]
    Interrupted,
}

async fn migrate([from, to]: [Side; 2], verify: bool) -> Result<MigrationReport, MigrateError> {
    let mut signals = Signals::listen(&ENDING)?;
    let migration = Migration::open(&from, &to, verify).await?;
    let line = Arc::new(maintenance::Progress::stderr());
    let moved = tokio::select! {
        moved = migration.run(on_progress(&line)) => moved.map_err(MigrateError::from),
        _ = signals.next() => Err(MigrateError::Interrupted),
    };
    line.clear();
    let closed = migration.close().await;
    let report = moved?;
    closed?;
    Ok(report)
}

/// Draws how far it is.
fn on_progress(line: &Arc<maintenance::Progress>) -> OnProgress {
    let line = Arc::clone(line);
    Arc::new(move |Progress { done, total }| {
        let entries = format!("{} of {} entries", done.entries, total.entries);
        line.bytes("moved", &entries, done.bytes, total.bytes);
    })
}

/// What was moved, and what people should know beside it.
#[derive(Debug, Serialize)]
struct Answer {
    #[serde(flatten)]
    report: MigrationReport,
    notes: Vec<String>,
}

impl Answer {
    fn new(report: MigrationReport) -> Self {
        let mut notes = Vec::new();
        if report.left_out.entries > 0 {
            notes.push(
                "entries whose content is not all there are left out; a service drops them"
                    .to_owned(),
            );
        }
        if !report.verified {
            notes.push("what was written was not read again (--verify off)".to_owned());
        }
        notes.push(
            "the source is as it was; remove it once a service has run on the target".to_owned(),
        );
        Self { report, notes }
    }
}

impl Document for Answer {
    fn table(&self) -> String {
        let report = &self.report;
        let rows = [
            ("Copied:", report.copied),
            ("Already there:", report.already_there),
            ("Left out:", report.left_out),
            ("Target:", report.moved()),
        ];
        let row = |(name, moved): (&str, Moved)| {
            let (entries, size) = (moved.entries, human::size(moved.bytes));
            format!("{name:<15}{entries} entries, {size}\n")
        };
        rows.into_iter().map(row).collect()
    }

    fn notes(&self) -> &[String] {
        &self.notes
    }
}
