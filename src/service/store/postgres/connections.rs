//! Connections to the database, and how long anything may take on them.

use std::{fmt, time::Duration};

use deadpool_postgres::{
    Client, Hook, HookError, Manager, ManagerConfig, Pool, PoolError, RecyclingMethod, Runtime,
};
use futures_util::future::BoxFuture;
use tokio::time::timeout;
use tokio_postgres::Error;

use super::{
    database_url::DatabaseUrl,
    error::{from_pool, from_query, timed_out, unusable},
    migrations::MigrationError,
};
use crate::service::store::error::StoreError;

/// How many connections one process has at most: PostgreSQL allows 100 unless told otherwise, and several
/// processes share them.
const CONNECTIONS: usize = 16;

/// How many of them searches may use at once, which may take long: there is always one soon for a query
/// that does not.
pub(super) const SEARCHES: usize = 12;

/// How long a call waits for a connection that others use, and for a new one.
const ACQUIRE: Duration = Duration::from_secs(5);

/// How long one call may take on its connection. The server gives a statement up before, so that this is reached
/// only where the server does not answer.
const CALL: Duration = Duration::from_secs(15);

/// The same for the upgrade of a large table, and for waiting while another process does it.
const LONG_CALL: Duration = Duration::from_mins(10);

/// What each connection begins with. A statement has ten seconds. What was committed survives a loss of
/// power, whatever the database's default is.
const PREPARE: &str = "SET statement_timeout = '10s'; \
     SET lock_timeout = '5s'; \
     SET idle_in_transaction_session_timeout = '30s'; \
     SELECT set_config('synchronous_commit', 'on', false) \
         WHERE current_setting('synchronous_commit') = 'off'";

/// A bounded pool. Clones share it.
#[derive(Clone)]
pub(super) struct Connections {
    pool: Pool,
    /// Host, port and name of the database, for messages.
    location: String,
}

impl Connections {
    /// A pool that has no connection yet.
    pub(super) fn new(url: &DatabaseUrl) -> Result<Self, StoreError> {
        let location = url.location();
        let config = ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        };
        let (database, tls) = url
            .connector()
            .map_err(|error| unusable(&location, &error))?;
        let manager = Manager::from_config(database, tls, config);
        let pool = Pool::builder(manager)
            .max_size(CONNECTIONS)
            .wait_timeout(Some(ACQUIRE))
            .create_timeout(Some(ACQUIRE))
            .recycle_timeout(Some(ACQUIRE))
            .post_create(Hook::async_fn(|client, _| {
                Box::pin(async move {
                    let prepared = client.batch_execute(PREPARE).await;
                    prepared.map_err(HookError::Backend)
                })
            }))
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| unusable(&location, &error))?;
        Ok(Self { pool, location })
    }

    /// Runs what takes no longer than a usual call.
    pub(super) async fn run<T>(
        &self,
        work: impl for<'c> FnOnce(&'c mut Client) -> BoxFuture<'c, Result<T, Error>> + Send,
    ) -> Result<T, StoreError> {
        let worked = self.run_within(CALL, work).await?;
        worked.map_err(|error| from_query(&self.location, &error))
    }

    /// Runs what may take minutes.
    pub(super) async fn run_long<T>(
        &self,
        work: impl for<'c> FnOnce(&'c mut Client) -> BoxFuture<'c, Result<T, MigrationError>> + Send,
    ) -> Result<T, StoreError> {
        let worked = self.run_within(LONG_CALL, work).await?;
        worked.map_err(|error| match error {
            MigrationError::Query(error) => from_query(&self.location, &error),
            other => unusable(&self.location, &other),
        })
    }

    async fn run_within<T>(
        &self,
        limit: Duration,
        work: impl for<'c> FnOnce(&'c mut Client) -> BoxFuture<'c, T> + Send,
    ) -> Result<T, StoreError> {
        let acquired: Result<Client, PoolError> = self.pool.get().await;
        let mut client = acquired.map_err(|error| from_pool(&self.location, &error))?;
        if let Ok(worked) = timeout(limit, work(&mut client)).await {
            return Ok(worked);
        }
        // Its answer may still come: nobody else may have this connection.
        drop(Client::take(client));
        Err(timed_out(&self.location))
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections")
            .field("location", &self.location)
            .finish_non_exhaustive()
    }
}
