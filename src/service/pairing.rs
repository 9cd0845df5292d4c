//! That entries and content belong together, and the secret, which is where the entries are.
//!
//! Content that no entry names is removed, and so is an entry whose content is not there. Either store with a
//! stranger for its partner would lose everything, so content has a name, and whoever keeps the entries knows it.

use std::{io, sync::Arc};

use super::{
    blocking::run_blocking,
    data_dir::DataDir,
    key,
    store::{BLOBS_FOLDER, PostgresStore, SQLITE_FILE, StoreError},
    stores_error::StoresError,
};
use crate::secret::Secret;

/// Beside content: its name.
const CONTENT_NAME: &str = "content-name";

/// Beside a database of SQLite whose content is in another directory: the name of that.
const CONTENT_ELSEWHERE: &str = "content-elsewhere";

/// Who keeps the entries, and of which content.
#[derive(Debug, Clone)]
pub(super) enum Pairing {
    /// A data directory; `None` if the content is in it, too.
    Directory {
        data_dir: DataDir,
        content: Option<String>,
    },
    /// A database.
    Database {
        database: Arc<PostgresStore>,
        content: String,
    },
}

impl Pairing {
    /// The secret, if there is one.
    pub(super) async fn existing_secret(&self) -> Result<Option<Secret>, StoresError> {
        match self {
            Self::Directory { data_dir, .. } => {
                in_directory(data_dir, |data_dir| Ok(key::existing_secret(data_dir)?)).await
            }
            Self::Database { database, .. } => {
                let secret = database.current_secret().await;
                secret.map_err(StoresError::Database)
            }
        }
    }

    /// Says that both belong together. Answers the secret, which is `proposed` if there was none.
    pub(super) async fn confirm(&self, proposed: Secret) -> Result<Secret, StoresError> {
        match self {
            Self::Directory { data_dir, content } => {
                let content = content.clone();
                in_directory(data_dir, move |data_dir| {
                    if let Some(content) = content
                        && !data_dir.has(CONTENT_ELSEWHERE)
                    {
                        data_dir.create_text(CONTENT_ELSEWHERE, &content)?;
                    }
                    Ok(key::secret_or(data_dir, &proposed)?)
                })
                .await
            }
            Self::Database { database, content } => {
                let bound = database.bind(content).await;
                if !bound.map_err(StoresError::Database)? {
                    return Err(StoresError::OtherContent);
                }
                let secret = database.secret(proposed).await;
                secret.map_err(StoresError::Database)
            }
        }
    }

    /// Whether no other process uses the entries.
    pub(super) async fn is_alone(&self) -> Result<bool, StoreError> {
        match self {
            // Whoever has it open holds its lock.
            Self::Directory { .. } => Ok(true),
            Self::Database { database, .. } => database.is_alone().await,
        }
    }
}

async fn in_directory<T: Send + 'static>(
    data_dir: &DataDir,
    work: impl FnOnce(&DataDir) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoresError> {
    let data_dir = data_dir.clone();
    let worked = run_blocking(move || work(&data_dir)).await;
    worked.map_err(StoresError::DataDir)
}

/// The name of the content in a directory, which is given one if it has none. Blocks.
pub(super) fn name_of_content(dir: &DataDir) -> io::Result<String> {
    if dir.has(SQLITE_FILE) {
        let reason = "its entries are in SQLite: take another directory with --database, or move them with \
                      `buildkit-gha serve migrate`";
        return Err(io::Error::other(reason));
    }
    if !dir.has(CONTENT_NAME) {
        let name = format!("{:032x}", rand::random::<u128>());
        dir.create_text(CONTENT_NAME, &name)?;
    }
    let name = dir.text(CONTENT_NAME)?.unwrap_or_default();
    if name.is_empty() {
        let path = dir.path().display();
        let reason =
            format!("{path}/{CONTENT_NAME} is empty: remove it if there is no content beside it");
        return Err(io::Error::other(reason));
    }
    Ok(name)
}

/// Refuses a data directory whose entries are about other content than this, which is elsewhere; `None` if it is in the
/// directory itself. Blocks.
pub(super) fn check_directory(
    data_dir: &DataDir,
    content: Option<&str>,
) -> Result<(), StoresError> {
    let unusable = |error: io::Error| StoresError::DataDir(error.into());
    check_entries(data_dir).map_err(unusable)?;
    let refused = |reason: &str| Err(unusable(io::Error::other(reason)));
    let bound = data_dir.text(CONTENT_ELSEWHERE);
    let bound = bound.map_err(unusable)?;
    match (bound, content) {
        (Some(_), None) => refused("its content is in another directory: give its --store"),
        (Some(bound), Some(content)) if bound != content => Err(StoresError::OtherContent),
        (None, Some(_)) if data_dir.has(BLOBS_FOLDER) => refused(
            "its content is in it: leave --store out, or move it with `buildkit-gha serve migrate`",
        ),
        _ => Ok(()),
    }
}

/// Refuses a data directory whose entries are in a database elsewhere. Blocks.
pub(super) fn check_entries(data_dir: &DataDir) -> io::Result<()> {
    if data_dir.has(CONTENT_NAME) {
        let reason = "its entries are in PostgreSQL: give --database, or another directory";
        return Err(io::Error::other(reason));
    }
    Ok(())
}
