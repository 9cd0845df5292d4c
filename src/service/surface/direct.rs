//! URLs for clients: of this service, or with `--direct` of the store itself.

use std::sync::Arc;

use axum::{
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use jiff::Timestamp;

use super::{blob::X_MS_RANGE, context::Context};
use crate::{
    secret::SecretUrl,
    service::{
        api_error::ApiError,
        config::REDIRECT_TTL,
        entries::Entries,
        sign::Permission,
        store::{DirectProtocol, Entry, Published},
        upload::Upload,
    },
};

impl Context {
    /// The URL that reads the content of an entry, until `expires` at the latest.
    pub(super) async fn download_url(
        &self,
        headers: &HeaderMap,
        expires: Timestamp,
        entry: &Entry,
    ) -> Result<SecretUrl, ApiError> {
        let own = || self.signed_url(headers, expires, entry.id, Permission::Read);
        if !self.is_azure_direct() {
            return Ok(own());
        }
        let (ttl, found) = (self.url_ttl(expires), entry.clone());
        let direct = self
            .service
            .run(async move |entries| Ok(entries.direct_download(&found, ttl).await))
            .await?;
        Ok(direct.unwrap_or_else(own))
    }

    /// The URL that takes the bytes of an upload of version 2, until `expires` at the latest.
    pub(super) async fn upload_url(
        &self,
        headers: &HeaderMap,
        expires: Timestamp,
        upload: Arc<Upload>,
    ) -> Result<SecretUrl, ApiError> {
        let (ttl, id) = (self.url_ttl(expires), upload.id);
        let own = || self.signed_url(headers, expires, id, Permission::Write);
        if !self.is_azure_direct() {
            return Ok(own());
        }
        let direct = self
            .service
            .run(async move |entries| Ok(entries.direct_upload(&upload, ttl).await))
            .await?;
        Ok(direct.unwrap_or_else(own))
    }

    /// Whether clients may send the store what they send to Azure. Asked for each lookup, so it costs nothing.
    fn is_azure_direct(&self) -> bool {
        self.service.entries().direct_protocol() == Some(DirectProtocol::Azure)
    }

    /// Sends a reader on to the store, if that gives it the bytes that it asks for.
    pub(super) async fn redirect(
        &self,
        headers: &HeaderMap,
        entry: &Entry,
        content: &Published,
    ) -> Result<Option<Response>, ApiError> {
        match self.service.entries().direct_protocol() {
            None => return Ok(None),
            Some(DirectProtocol::Http) if headers.contains_key(X_MS_RANGE) => return Ok(None),
            Some(_) => {}
        }
        let (entry, content) = (entry.clone(), content.clone());
        let read = async move |entries: Arc<Entries>| {
            Ok(entries.direct_read(&entry, &content, REDIRECT_TTL).await)
        };
        let url = self.service.run(read).await?;
        Ok(url.map(|url| {
            let headers = [
                (header::LOCATION, url.expose().as_str()),
                (header::CACHE_CONTROL, "no-store"),
            ];
            (StatusCode::TEMPORARY_REDIRECT, headers).into_response()
        }))
    }
}
