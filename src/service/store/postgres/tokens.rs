//! A [`TokenStore`], and the secret that tokens are signed with: all that is needed to make tokens for a database.

use std::collections::HashSet;

use async_trait::async_trait;
use deadpool_postgres::Client;
use futures_util::FutureExt as _;
use jiff::Timestamp;
use tokio_postgres::{Error, Row};

use super::{connections::Connections, database_url::DatabaseUrl, migrations};
use crate::{
    secret::Secret,
    service::store::{
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
    ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (id) DO UPDATE \
     SET revoked_at = coalesce(tokens.revoked_at, excluded.revoked_at)"
);

const ALL: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM tokens ORDER BY created_at, id"
);

const ONE: &str = concat!("SELECT ", columns!(), " FROM tokens WHERE id = $1");

const REVOKE: &str = concat!(
    "UPDATE tokens SET revoked_at = $2 WHERE (id = $1 OR name = $1) AND revoked_at IS NULL \
     RETURNING ",
    columns!()
);

const REVOKED: &str = "SELECT id FROM tokens WHERE revoked_at IS NOT NULL AND expires_at > $1";

/// The tokens of one database.
#[derive(Debug)]
pub(crate) struct PostgresTokens {
    connections: Connections,
}

impl PostgresTokens {
    /// Those of a database whose tables were made before. Connects to nothing yet.
    pub(crate) fn new(url: &DatabaseUrl) -> Result<Self, StoreError> {
        let connections = Connections::new(url)?;
        Ok(Self { connections })
    }

    /// The same with connections that others use, too.
    pub(super) fn sharing(connections: &Connections) -> Self {
        let connections = connections.clone();
        Self { connections }
    }

    /// The secret, if services of this version have made it and the table of tokens.
    pub(crate) async fn secret(&self) -> Result<Option<Secret>, StoreError> {
        self.connections.run(|client| secret(client).boxed()).await
    }
}

#[async_trait]
impl TokenStore for PostgresTokens {
    async fn record(&self, token: &TokenRecord) -> Result<(), StoreError> {
        let token = TokenColumns::from(token);
        self.connections
            .run(move |client| insert(client, token).boxed())
            .await
    }

    async fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError> {
        let rows = self.connections.run(|client| all(client).boxed());
        rows.await?.into_iter().map(TryInto::try_into).collect()
    }

    async fn token(&self, id: &str) -> Result<Option<TokenRecord>, StoreError> {
        let id = id.to_owned();
        let row = self.connections.run(move |client| one(client, id).boxed());
        row.await?.map(TryInto::try_into).transpose()
    }

    async fn revoke(
        &self,
        name_or_id: &str,
        now: Timestamp,
    ) -> Result<Vec<TokenRecord>, StoreError> {
        let name_or_id = name_or_id.to_owned();
        let rows = self
            .connections
            .run(move |client| revoke(client, name_or_id, now.as_millisecond()).boxed());
        rows.await?.into_iter().map(TryInto::try_into).collect()
    }

    async fn revoked(&self, now: Timestamp) -> Result<HashSet<String>, StoreError> {
        self.connections
            .run(move |client| revoked(client, now.as_millisecond()).boxed())
            .await
    }

    async fn forget_expired(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.connections
            .run(move |client| forget_expired(client, before.as_millisecond()).boxed())
            .await
    }
}

async fn secret(client: &mut Client) -> Result<Option<Secret>, Error> {
    let sql = "SELECT to_regclass('tokens') IS NOT NULL";
    if !client.query_one(sql, &[]).await?.try_get::<_, bool>(0)? {
        return Ok(None);
    }
    migrations::existing_secret(client).await
}

async fn insert(client: &mut Client, token: TokenColumns) -> Result<(), Error> {
    let insert = client.prepare_cached(INSERT).await?;
    client
        .execute(
            &insert,
            &[
                &token.id,
                &token.name,
                &token.repository,
                &token.role,
                &token.scopes,
                &token.created,
                &token.expires,
                &token.revoked,
            ],
        )
        .await
        .map(drop)
}

async fn all(client: &mut Client) -> Result<Vec<TokenColumns>, Error> {
    let all = client.prepare_cached(ALL).await?;
    let rows = client.query(&all, &[]).await?;
    rows.iter().map(columns_of).collect()
}

async fn one(client: &mut Client, id: String) -> Result<Option<TokenColumns>, Error> {
    let one = client.prepare_cached(ONE).await?;
    let row = client.query_opt(&one, &[&id]).await?;
    row.as_ref().map(columns_of).transpose()
}

async fn revoke(
    client: &mut Client,
    name_or_id: String,
    now: i64,
) -> Result<Vec<TokenColumns>, Error> {
    let revoke = client.prepare_cached(REVOKE).await?;
    let rows = client.query(&revoke, &[&name_or_id, &now]).await?;
    rows.iter().map(columns_of).collect()
}

async fn revoked(client: &mut Client, now: i64) -> Result<HashSet<String>, Error> {
    let revoked = client.prepare_cached(REVOKED).await?;
    let rows = client.query(&revoked, &[&now]).await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}

async fn forget_expired(client: &mut Client, before: i64) -> Result<u64, Error> {
    let sql = "DELETE FROM tokens WHERE expires_at < $1";
    let forget = client.prepare_cached(sql).await?;
    client.execute(&forget, &[&before]).await
}

fn columns_of(row: &Row) -> Result<TokenColumns, Error> {
    Ok(TokenColumns {
        id: row.try_get(0)?,
        name: row.try_get(1)?,
        repository: row.try_get(2)?,
        role: row.try_get(3)?,
        scopes: row.try_get(4)?,
        created: row.try_get(5)?,
        expires: row.try_get(6)?,
        revoked: row.try_get(7)?,
    })
}
