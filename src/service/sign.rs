//! Signed blob URLs in the manner of Azure's shared access signatures: whoever has the URL may do
//! what it says until it expires, and no token is asked for.
//!
//! `<base>/blobs/actions-cache/<id>?se=<expiry, unix seconds>&sp=<r or w>&sig=<HMAC-SHA256>`
//!
//! The path has three segments because Azure's JavaScript client wants quota, container and blob
//! in the path when the host is an address.

use aws_lc_rs::hmac;
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde::Deserialize;
use url::Url;

use super::key::MasterKey;
use crate::secret::SecretUrl;

/// The path of all blobs; the id follows.
pub const BLOB_PATH: &str = "/blobs/actions-cache/";

/// What a signed URL allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Permission {
    /// Reading a committed entry.
    #[serde(rename = "r")]
    Read,
    /// Uploading into a reservation.
    #[serde(rename = "w")]
    Write,
}

impl Permission {
    fn letter(self) -> &'static str {
        match self {
            Self::Read => "r",
            Self::Write => "w",
        }
    }
}

/// The part of a blob URL's query that grants access.
#[derive(Deserialize)]
pub struct Grant {
    #[serde(rename = "se")]
    expires: i64,
    #[serde(rename = "sp")]
    permission: Permission,
    #[serde(rename = "sig")]
    signature: String,
}

/// Why a blob URL opens nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// Altered, or not ours.
    #[error("the URL's signature does not match")]
    Mismatch,
    /// Over.
    #[error("the URL has expired")]
    Expired,
    /// Valid, for something else.
    #[error("the URL does not allow this operation")]
    Operation,
}

/// Signs and checks blob URLs.
pub struct Signer(hmac::Key);

impl Signer {
    /// A signer whose key is derived from the service's secret.
    pub fn new(master: &MasterKey) -> Self {
        let key = master.derive("blob url");
        Self(hmac::Key::new(hmac::HMAC_SHA256, &key))
    }

    /// A URL below `base` for the blob `id`, good until `expires`.
    pub fn sign(
        &self,
        base: &Url,
        id: i64,
        permission: Permission,
        expires: Timestamp,
    ) -> SecretUrl {
        let expires = expires.as_second();
        let tag = hmac::sign(&self.0, &message(id, permission, expires));
        let mut url = base.clone();
        url.set_path(&format!(
            "{}{BLOB_PATH}{id}",
            base.path().trim_end_matches('/')
        ));
        url.query_pairs_mut()
            .clear()
            .append_pair("se", &expires.to_string())
            .append_pair("sp", permission.letter())
            .append_pair("sig", &BASE64_URL_SAFE_NO_PAD.encode(tag));
        SecretUrl::new(url)
    }

    /// Checks that `grant` allows `wanted` on the blob `id` at `now`.
    pub fn check(
        &self,
        id: i64,
        wanted: Permission,
        grant: &Grant,
        now: Timestamp,
    ) -> Result<(), SignatureError> {
        let tag = BASE64_URL_SAFE_NO_PAD
            .decode(&grant.signature)
            .map_err(|_| SignatureError::Mismatch)?;
        let message = message(id, grant.permission, grant.expires);
        hmac::verify(&self.0, &message, &tag).map_err(|_| SignatureError::Mismatch)?;
        if grant.expires <= now.as_second() {
            return Err(SignatureError::Expired);
        }
        if grant.permission != wanted {
            return Err(SignatureError::Operation);
        }
        Ok(())
    }
}

fn message(id: i64, permission: Permission, expires: i64) -> Vec<u8> {
    format!("{}\n{id}\n{expires}", permission.letter()).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::data_dir::DataDir;

    fn grant(url: &SecretUrl) -> Grant {
        let value = |name| {
            let found = url.expose().query_pairs().find(|(key, _)| key == name);
            found.unwrap().1.into_owned()
        };
        Grant {
            expires: value("se").parse().unwrap(),
            permission: Permission::Write,
            signature: value("sig"),
        }
    }

    #[test]
    fn only_what_was_signed_is_allowed() {
        let dir = tempfile::tempdir().unwrap();
        let signer =
            Signer::new(&MasterKey::load_or_create(&DataDir::open(dir.path()).unwrap()).unwrap());
        let time = |second| Timestamp::from_second(second).unwrap();
        let base = Url::parse("http://127.0.0.1:3000/cache/").unwrap();
        let url = signer.sign(&base, 7, Permission::Write, time(100));
        assert_eq!(url.expose().path(), "/cache/blobs/actions-cache/7");
        let mut grant = grant(&url);
        let check = |id, wanted, grant: &Grant, now| signer.check(id, wanted, grant, time(now));
        assert_eq!(check(7, Permission::Write, &grant, 99), Ok(()));
        let expired = check(7, Permission::Write, &grant, 100);
        assert_eq!(expired, Err(SignatureError::Expired));
        let other = check(8, Permission::Write, &grant, 99);
        assert_eq!(other, Err(SignatureError::Mismatch));
        let read = check(7, Permission::Read, &grant, 99);
        assert_eq!(read, Err(SignatureError::Operation));
        grant.permission = Permission::Read;
        let forged = check(7, Permission::Read, &grant, 99);
        assert_eq!(forged, Err(SignatureError::Mismatch));
        grant.permission = Permission::Write;
        grant.expires += 1000;
        let prolonged = check(7, Permission::Write, &grant, 99);
        assert_eq!(prolonged, Err(SignatureError::Mismatch));
    }
}
