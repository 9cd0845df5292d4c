//! Failures of the database as those of a store. Messages name the database's location and the cause; a password is in
//! neither.

use std::error::Error as StdError;

use deadpool_postgres::{HookError, PoolError};
use tokio_postgres::{Error, error::SqlState};

use crate::{
    error_chain::error_chain,
    service::store::error::{StoreError, StoreErrorKind, StoreKind},
};

/// Classes of states that pass: connections, resources, transactions that were in each other's way, an operator
/// who stops the server.
const PASSING: [&str; 4] = ["08", "53", "40", "57"];

/// A failure of a query.
pub(super) fn from_query(location: &str, error: &Error) -> StoreError {
    failure(location, kind(error), &error_chain(error))
}

/// A failure to get a connection.
pub(super) fn from_pool(location: &str, error: &PoolError) -> StoreError {
    match error {
        PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => {
            from_query(location, error)
        }
        PoolError::Timeout(_) => timed_out(location),
        other => failure(location, StoreErrorKind::Unreachable, &error_chain(other)),
    }
}

/// A call that took too long.
pub(super) fn timed_out(location: &str) -> StoreError {
    failure(location, StoreErrorKind::Unreachable, "no answer in time")
}

/// A database that is of no use as it is.
pub(super) fn unusable(location: &str, reason: &(dyn StdError + 'static)) -> StoreError {
    failure(location, StoreErrorKind::Unavailable, &error_chain(reason))
}

/// Somebody else has the name.
pub(super) fn conflict() -> StoreError {
    StoreError::new(StoreKind::Database, StoreErrorKind::Conflict)
}

fn failure(location: &str, kind: StoreErrorKind, reason: &str) -> StoreError {
    let message = format!("PostgreSQL at {location}: {reason}");
    StoreError::with_source(StoreKind::Database, kind, message)
}

fn kind(error: &Error) -> StoreErrorKind {
    let Some(state) = error.code() else {
        return without_state(error);
    };
    let passing = PASSING.contains(&state.code().get(..2).unwrap_or_default());
    match *state {
        SqlState::UNIQUE_VIOLATION => StoreErrorKind::Conflict,
        SqlState::DISK_FULL => StoreErrorKind::Full,
        // A server that has become a standby, or a lock that was held for too long.
        SqlState::READ_ONLY_SQL_TRANSACTION | SqlState::LOCK_NOT_AVAILABLE => {
            StoreErrorKind::Unreachable
        }
        _ if passing => StoreErrorKind::Unreachable,
        _ => StoreErrorKind::Unavailable,
    }
}

/// The server has not answered with an error of its own.
fn without_state(error: &Error) -> StoreErrorKind {
    let source = error.source();
    let connection =
        error.is_closed() || source.is_some_and(<dyn StdError + 'static>::is::<std::io::Error>);
    if connection {
        StoreErrorKind::Unreachable
    } else {
        StoreErrorKind::Unavailable
    }
}
