//! The service whose tokens are meant.

use std::{io, path::PathBuf};

use clap::Args;

use crate::{cli::database::Database, service::TokenRegistry};

/// Where a service keeps its secret and its tokens.
#[derive(Debug, Args)]
pub(super) struct ServiceLocation {
    /// The service's data directory; not needed with --database.
    #[arg(
        long,
        env = "BUILDKIT_GHA_DATA_DIR",
        value_name = "DIR",
        required_unless_present = "database"
    )]
    data_dir: Option<PathBuf>,

    #[command(flatten)]
    database: Database,
}

impl ServiceLocation {
    /// Opens the tokens that are there.
    pub(super) async fn open(&self) -> io::Result<TokenRegistry> {
        if let Some(database) = self.database.parse()? {
            let opened = TokenRegistry::of_database(&database).await;
            return opened.map_err(io::Error::other);
        }
        let data_dir = self.data_dir.clone().unwrap_or_default();
        // One that is made here would hold a secret that no service knows.
        if !data_dir.is_dir() {
            return Err(io::Error::other(format!(
                "--data-dir {0}: there is no such directory; `buildkit-gha serve --data-dir {0}` \
                 makes it, and a token is good only for the service of its directory",
                data_dir.display()
            )));
        }
        let opened = TokenRegistry::of_data_dir(&data_dir).await;
        opened.map_err(io::Error::other)
    }
}
