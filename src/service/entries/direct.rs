//! URLs of the store itself, with which clients spare this service their bytes (`--direct`).
//!
//! Where the store has none, or none can be made, clients go by way of the service.

use std::time::Duration;

use super::Entries;
use crate::{
    error_chain::error_chain,
    secret::SecretUrl,
    service::{
        store::{DirectProtocol, Entry, Published, StoreError},
        upload::Upload,
    },
};

impl Entries {
    /// What clients may send to the store itself.
    pub(in crate::service) fn direct_protocol(&self) -> Option<DirectProtocol> {
        self.blobs.direct_protocol()
    }

    /// A URL of the store that reads the content of an entry for so long.
    pub(in crate::service) async fn direct_read(
        &self,
        entry: &Entry,
        content: &Published,
        ttl: Duration,
    ) -> Option<SecretUrl> {
        let url = usable(self.blobs.direct_read(entry.content, content, ttl).await)?;
        // Content that is missing is found to be so by whoever reads by way of the service, and nowhere else.
        let there = self.blobs.open(entry.content, content.clone(), 0..0).await;
        there.is_ok().then_some(url)
    }

    /// The same for an entry that was just found.
    pub(in crate::service) async fn direct_download(
        &self,
        entry: &Entry,
        ttl: Duration,
    ) -> Option<SecretUrl> {
        let (entry, content) = self.content(entry.id).await.ok()?;
        self.direct_read(&entry, &content, ttl).await
    }

    /// A URL of the store that takes the bytes of an upload for so long. Nobody but the store knows whether some come:
    /// the upload waits for them until the URL has ended.
    pub(in crate::service) async fn direct_upload(
        &self,
        upload: &Upload,
        ttl: Duration,
    ) -> Option<SecretUrl> {
        let url = usable(self.blobs.direct_upload(upload.id, ttl).await)?;
        let now = (self.clock)();
        upload.expect_direct(now.checked_add(ttl).unwrap_or(now));
        Some(url)
    }
}

fn usable(signed: Result<Option<SecretUrl>, StoreError>) -> Option<SecretUrl> {
    signed.unwrap_or_else(|error| {
        let error = error_chain(&error);
        tracing::warn!(
            error,
            "no URL of the store could be made: a client goes by way of this service (--direct)"
        );
        None
    })
}
