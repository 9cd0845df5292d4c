//! How long a call to a bucket may take, and what its failure means.

use std::time::Duration;

use futures_util::TryFutureExt as _;
use object_store::Error;
use tokio::time::timeout;

use crate::service::store::error::{StoreError, StoreErrorKind, StoreKind};

/// Longest call that sends something or waits for something small: longer than all tries of it.
const CALL_TIMEOUT: Duration = Duration::from_mins(1);

/// A call of the provider's client within its time.
pub(super) async fn within_timeout<T>(
    call: impl Future<Output = object_store::Result<T>>,
) -> Result<T, StoreError> {
    within(call.map_err(store_error)).await
}

/// The same for what is no single call.
pub(super) async fn within<T>(
    calls: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    timeout(CALL_TIMEOUT, calls).await.unwrap_or_else(|_| {
        let message = "the bucket does not answer";
        let kind = StoreErrorKind::Unreachable;
        Err(StoreError::with_source(StoreKind::Storage, kind, message))
    })
}

/// What the rules can do about a failure.
pub(super) fn store_error(error: Error) -> StoreError {
    let kind = match &error {
        Error::NotFound { .. } => StoreErrorKind::NotFound,
        Error::AlreadyExists { .. } | Error::Precondition { .. } => StoreErrorKind::Conflict,
        // The provider, or the way to it: each call was tried again before.
        Error::Generic { .. } => StoreErrorKind::Unreachable,
        _ => StoreErrorKind::Unavailable,
    };
    StoreError::with_source(StoreKind::Storage, kind, error)
}
