//! A [`TokenStore`] in the database of a data directory. The service and the commands that make and revoke tokens, which
//! are processes of their own, have a connection each.

use std::{collections::HashSet, fs, io, sync::Arc};

use async_trait::async_trait;
use jiff::Timestamp;
use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension as _, Row, named_params};

use super::{FILE, database::connect, schema, secure_files};
use crate::service::{
    blocking::run_blocking,
    data_dir::DataDir,
    store::{
        error::StoreError,
        token_store::{TokenColumns, TokenRecord, TokenStore},
    },
};

/// The columns that [`columns_of`] reads, in its order.
macro_rules! columns {
    () => {
        "id, name, repository, role, scopes, created_at, expires_at, revoked_at"
    };
}

const INSERT: &str = concat!(
    "INSERT INTO tokens (",
    columns!(),
    ") VALUES (:id, :name, :repository, :role, :scopes, :created, :expires, :revoked) ON CONFLICT (id) DO UPDATE \
     SET revoked_at = coalesce(tokens.revoked_at, excluded.revoked_at)"
);

const ALL: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM tokens ORDER BY created_at, id"
);

const ONE: &str = concat!("SELECT ", columns!(), " FROM tokens WHERE id = ?1");

const REVOKE: &str = concat!(
    "UPDATE tokens SET revoked_at = ?2 WHERE (id = ?1 OR name = ?1) AND revoked_at IS NULL \
     RETURNING ",
    columns!()
);

const REVOKED: &str = "SELECT id FROM tokens WHERE revoked_at IS NOT NULL AND expires_at > ?1";

/// One connection for it.
#[derive(Debug)]
pub(crate) struct SqliteTokens(Arc<Mutex<Connection>>);

impl SqliteTokens {
    /// Opens the database of a data directory, or makes it if the directory is this user's. A service may have it
    /// open. Blocks.
    pub(crate) fn open(data_dir: &DataDir) -> Result<Self, StoreError> {
        let path = data_dir.path().join(FILE);
        // One that root makes would be of no use to the service of another user.
        if !data_dir.is_own() && fs::symlink_metadata(&path).is_err() {
            let reason = format!(
                "{} is not there yet: start the service first",
                path.display()
            );
            return Err(io::Error::other(reason).into());
        }
        secure_files(data_dir)?;
        Self::beside_store(data_dir)
    }

    /// The same in the process that has the entries of this directory open, which has looked at the files before. It
    /// must not open them but through SQLite: a process that closes a file loses all its locks on it (`fcntl`), and the
    /// next command would take itself for the last user of the log, and remove it. Blocks.
    pub(crate) fn beside_store(data_dir: &DataDir) -> Result<Self, StoreError> {
        let mut connection = connect(&data_dir.path().join(FILE))?;
        schema::bring_up(&mut connection)?;
        Ok(Self(Arc::new(Mutex::new(connection))))
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let connection = Arc::clone(&self.0);
        run_blocking(move || Ok(work(&connection.lock())?)).await
    }
}

#[async_trait]
impl TokenStore for SqliteTokens {
    async fn record(&self, token: &TokenRecord) -> Result<(), StoreError> {
        let token = TokenColumns::from(token);
        self.run(move |connection| {
            let params = named_params! {
                ":id": token.id,
                ":name": token.name,
                ":repository": token.repository,
                ":role": token.role,
                ":scopes": token.scopes,
                ":created": token.created,
                ":expires": token.expires,
                ":revoked": token.revoked,
            };
            connection.execute(INSERT, params).map(drop)
        })
        .await
    }

    async fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError> {
        let rows = self.run(|connection| {
            let mut all = connection.prepare_cached(ALL)?;
            all.query_map([], columns_of)?
                .collect::<rusqlite::Result<Vec<_>>>()
        });
        rows.await?.into_iter().map(TryInto::try_into).collect()
    }

    async fn token(&self, id: &str) -> Result<Option<TokenRecord>, StoreError> {
        let id = id.to_owned();
        let row = self.run(move |connection| {
            let mut one = connection.prepare_cached(ONE)?;
            one.query_row([id], columns_of).optional()
        });
        row.await?.map(TryInto::try_into).transpose()
    }

    async fn revoke(
        &self,
        name_or_id: &str,
        now: Timestamp,
    ) -> Result<Vec<TokenRecord>, StoreError> {
        let name_or_id = name_or_id.to_owned();
        let rows = self.run(move |connection| {
            let mut revoke = connection.prepare_cached(REVOKE)?;
            revoke
                .query_map((name_or_id, now.as_millisecond()), columns_of)?
                .collect::<rusqlite::Result<Vec<_>>>()
        });
        rows.await?.into_iter().map(TryInto::try_into).collect()
    }

    async fn revoked(&self, now: Timestamp) -> Result<HashSet<String>, StoreError> {
        self.run(move |connection| {
            let mut revoked = connection.prepare_cached(REVOKED)?;
            revoked
                .query_map([now.as_millisecond()], |row| row.get(0))?
                .collect()
        })
        .await
    }

    async fn forget_expired(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.run(move |connection| {
            let sql = "DELETE FROM tokens WHERE expires_at < ?1";
            let forgotten = connection.execute(sql, [before.as_millisecond()])?;
            Ok(forgotten as u64)
        })
        .await
    }
}

fn columns_of(row: &Row<'_>) -> rusqlite::Result<TokenColumns> {
    Ok(TokenColumns {
        id: row.get(0)?,
        name: row.get(1)?,
        repository: row.get(2)?,
        role: row.get(3)?,
        scopes: row.get(4)?,
        created: row.get(5)?,
        expires: row.get(6)?,
        revoked: row.get(7)?,
    })
}
