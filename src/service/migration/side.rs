//! One side of a migration: where it is, and what must be so before anything moves.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use futures_util::StreamExt as _;
use tempfile::TempDir;

use super::{
    error::{MigrationError, SideRole, store_error},
    report::Moved,
};
use crate::{
    secret::Secret,
    service::{
        config::{DatabaseUrl, StoreUrl},
        data_dir::Lock,
        open_error::OpenError,
        pairing::Pairing,
        store::{PostgresStore, SQLITE_FILE},
        store_locations::StoreLocations,
        stores::{LockedStores, Stores},
        stores_error::StoresError,
    },
};

/// Where the stores of one side are.
#[derive(Debug, Clone, Default)]
pub struct Side {
    /// Its data directory. A source whose entries and content are elsewhere needs none.
    pub data_dir: Option<PathBuf>,
    /// A database elsewhere; `None` for one in the data directory.
    pub database: Option<DatabaseUrl>,
    /// Where the content is; `None` for files in the data directory.
    pub store: Option<StoreUrl>,
}

impl Side {
    fn locations<'a>(&'a self, data_dir: &'a Path) -> StoreLocations<'a> {
        StoreLocations {
            data_dir,
            database: self.database.as_ref(),
            store: self.store.as_ref(),
            direct: false,
        }
    }
}

/// Refuses two sides that are one.
pub(super) fn check_distinct(from: &Side, to: &Side) -> Result<(), MigrationError> {
    let directory = |side: &Side| fs::canonicalize(side.data_dir.as_ref()?).ok();
    if directory(from).is_some_and(|path| Some(path) == directory(to)) {
        return Err(MigrationError::Same("data directory"));
    }
    let database = |side: &Side| side.database.as_ref().map(DatabaseUrl::location);
    if database(from).is_some_and(|location| Some(location) == database(to)) {
        return Err(MigrationError::Same("database"));
    }
    if from.store.is_some() && from.store == to.store {
        return Err(MigrationError::Same("store"));
    }
    Ok(())
}

/// A side that nobody else uses.
pub(super) struct OpenSide {
    pub(super) stores: Stores,
    pairing: Pairing,
    role: SideRole,
    _lock: File,
    /// In place of a data directory.
    _temporary: Option<TempDir>,
}

impl OpenSide {
    /// Opens a source, which must have been a service's. Answers its secret, too.
    pub(super) async fn source(side: &Side) -> Result<(Self, Secret), MigrationError> {
        check_there(side).await?;
        let source = Self::open(side, SideRole::Source).await?;
        let checked = source.check_source(side).await;
        source.unless_failed(checked).await
    }

    /// Opens a target, and gives it the secret. Answers whether an earlier run has done so before.
    pub(super) async fn target(
        side: &Side,
        secret: Secret,
    ) -> Result<(Self, bool), MigrationError> {
        let target = Self::open(side, SideRole::Target).await?;
        let checked = target.check_target(side, secret).await;
        target.unless_failed(checked).await
    }

    async fn check_source(&self, side: &Side) -> Result<Secret, MigrationError> {
        self.check_alone().await?;
        let Some(secret) = self.existing_secret(side).await? else {
            let reason = "there is no secret beside them".to_owned();
            return Err(MigrationError::NoService(reason));
        };
        self.confirm(side, secret.clone()).await?;
        Ok(secret)
    }

    async fn check_target(&self, side: &Side, secret: Secret) -> Result<bool, MigrationError> {
        self.check_alone().await?;
        let own = self.existing_secret(side).await?;
        match &own {
            Some(own) if *own == secret => {}
            Some(_) => return Err(MigrationError::OtherSecret),
            None if !self.is_empty().await? => return Err(MigrationError::NotEmpty),
            None => {}
        }
        self.confirm(side, secret).await?;
        Ok(own.is_some())
    }

    /// The side with what its checks have found, unless they have failed.
    async fn unless_failed<T>(
        self,
        checked: Result<T, MigrationError>,
    ) -> Result<(Self, T), MigrationError> {
        match checked {
            Ok(found) => Ok((self, found)),
            Err(error) => {
                self.give_up().await;
                Err(error)
            }
        }
    }

    /// Ends its lease, so that nobody takes it for a service for the next minute.
    pub(super) async fn give_up(&self) {
        if let Err(error) = self.close().await {
            tracing::debug!(%error, "a lease runs out by itself");
        }
    }

    async fn open(side: &Side, role: SideRole) -> Result<Self, MigrationError> {
        let temporary = match side.data_dir {
            Some(_) => None,
            None => Some(tempfile::tempdir().map_err(MigrationError::Temporary)?),
        };
        let temporary_path = temporary.as_ref().map(TempDir::path);
        let data_dir = side.data_dir.as_deref().or(temporary_path);
        let locations = side.locations(data_dir.unwrap_or(Path::new("")));
        let opened = locations.open(Lock::Exclusive).await;
        let LockedStores {
            stores,
            pairing,
            lock,
        } = opened.map_err(|error| MigrationError::Open(role, error))?;
        Ok(Self {
            stores,
            pairing,
            role,
            _lock: lock,
            _temporary: temporary,
        })
    }

    async fn existing_secret(&self, side: &Side) -> Result<Option<Secret>, MigrationError> {
        let secret = self.pairing.existing_secret().await;
        secret.map_err(|error| self.unusable(side, error))
    }

    async fn confirm(&self, side: &Side, secret: Secret) -> Result<(), MigrationError> {
        let confirmed = self.pairing.confirm(secret).await;
        confirmed
            .map(drop)
            .map_err(|error| self.unusable(side, error))
    }

    fn unusable(&self, side: &Side, error: StoresError) -> MigrationError {
        let data_dir = side.data_dir.as_deref().unwrap_or(Path::new(""));
        let error = OpenError::new(error, side.locations(data_dir));
        MigrationError::Open(self.role, error)
    }

    /// Whether it has neither entries nor content.
    async fn is_empty(&self) -> Result<bool, MigrationError> {
        let content = self.stores.blobs.ids().next().await.transpose();
        let content = content.map_err(store_error(self.role))?;
        Ok(content.is_none() && self.usage().await?.entries == 0)
    }

    /// What its entries take.
    pub(super) async fn usage(&self) -> Result<Moved, MigrationError> {
        let usage = self.stores.entries.usage(None).await;
        usage.map(Moved::from).map_err(store_error(self.role))
    }

    /// Renews its lease, and looks whether somebody else has come.
    pub(super) async fn keep(&self) -> Result<(), MigrationError> {
        let renewed = self.stores.entries.renew_lease().await;
        renewed.map_err(store_error(self.role))?;
        self.check_alone().await
    }

    async fn check_alone(&self) -> Result<(), MigrationError> {
        let alone = self.pairing.is_alone().await;
        if alone.map_err(store_error(self.role))? {
            return Ok(());
        }
        Err(MigrationError::InUse(self.role))
    }

    /// Ends its lease.
    pub(super) async fn close(&self) -> Result<(), MigrationError> {
        let entries = &self.stores.entries;
        let ended = async {
            entries.keep_room().await?;
            entries.close().await
        };
        ended.await.map_err(store_error(self.role))
    }
}

/// Refuses a source that would be made by being opened.
async fn check_there(side: &Side) -> Result<(), MigrationError> {
    let missing = |path: &Path, what: &str| {
        let path = path.display();
        Err(MigrationError::NoService(format!("{path} {what}")))
    };
    if let Some(path) = &side.data_dir {
        if !path.is_dir() {
            return missing(path, "is no directory");
        }
        if side.database.is_none() && !path.join(SQLITE_FILE).exists() {
            return missing(path, "has no database: give that of --from-database");
        }
    }
    if let Some(StoreUrl::Directory(path)) = &side.store
        && !path.is_dir()
    {
        return missing(path, "is no directory");
    }
    if let Some(url) = &side.database {
        let secret = PostgresStore::existing_secret(url).await;
        let secret = secret.map_err(store_error(SideRole::Source))?;
        if secret.is_none() {
            let reason = format!("no service has used the database {}", url.location());
            return Err(MigrationError::NoService(reason));
        }
    }
    Ok(())
}
