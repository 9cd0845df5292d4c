//! URLs that the provider has signed: whoever has one reads or writes one object without this service.

use std::{sync::Arc, time::Duration};

use http::Method;
use object_store::{path::Path, signer::Signer};
use tokio::{sync::OnceCell, time::sleep};

use super::call::within_timeout;
use crate::{
    secret::SecretUrl,
    service::store::{
        blob_store::DirectProtocol,
        error::{StoreError, StoreErrorKind, StoreKind},
    },
};

/// How long a URL is good that is used here, at once.
const OWN_USE: Duration = Duration::from_mins(5);

/// Azure copies within an account at once, as a rule, and says so where it does not.
const COPY_POLL: Duration = Duration::from_millis(200);

/// How far a copy is.
const COPY_STATUS: &str = "x-ms-copy-status";

/// Signs with the keys of the provider.
pub(super) struct SignedUrls {
    signer: Arc<dyn Signer>,
    protocol: DirectProtocol,
    http: OnceCell<reqwest::Client>,
}

impl SignedUrls {
    pub(super) fn new(signer: Arc<dyn Signer>, protocol: DirectProtocol) -> Self {
        Self {
            signer,
            protocol,
            http: OnceCell::new(),
        }
    }

    /// What the URLs understand.
    pub(super) fn protocol(&self) -> DirectProtocol {
        self.protocol
    }

    /// A URL that reads an object for so long.
    pub(super) async fn read(&self, path: &Path, ttl: Duration) -> Result<SecretUrl, StoreError> {
        self.sign(Method::GET, path, ttl).await
    }

    /// A URL that writes an object for so long.
    pub(super) async fn write(&self, path: &Path, ttl: Duration) -> Result<SecretUrl, StoreError> {
        self.sign(Method::PUT, path, ttl).await
    }

    async fn sign(
        &self,
        method: Method,
        path: &Path,
        ttl: Duration,
    ) -> Result<SecretUrl, StoreError> {
        let url = within_timeout(self.signer.signed_url(method, path, ttl)).await?;
        Ok(SecretUrl::new(url))
    }

    /// Waits until an object of Azure is there that was made as a copy of another.
    pub(super) async fn wait_for_copy(&self, path: &Path) -> Result<(), StoreError> {
        // What may be read with a URL of Azure may be asked about with it.
        let url = self.read(path, OWN_USE).await?;
        loop {
            let answer = self.http().await?.head(url.expose().clone()).send().await;
            let answer = answer.and_then(reqwest::Response::error_for_status);
            let answer = answer.map_err(|error| unreachable(error.without_url()))?;
            match answer
                .headers()
                .get(COPY_STATUS)
                .map(http::HeaderValue::as_bytes)
            {
                None | Some(b"success") => return Ok(()),
                Some(b"pending") => sleep(COPY_POLL).await,
                Some(_) => return Err(unreachable("the provider could not copy an object")),
            }
        }
    }

    /// Made when it is needed: one without CA certificates on its machine cannot be made.
    async fn http(&self) -> Result<&reqwest::Client, StoreError> {
        let made = self
            .http
            .get_or_try_init(async || reqwest::Client::builder().build());
        made.await.map_err(unreachable)
    }
}

fn unreachable(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::with_source(StoreKind::Storage, StoreErrorKind::Unreachable, error)
}
