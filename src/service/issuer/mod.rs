//! Runtime tokens of GitHub and of GitHub Enterprise Server: whose are good here, with which keys, and for what
//! (ADR 70).

mod claims;
mod issuer_url;
mod issuers;
mod key_cache;
mod key_set;
mod key_source;
mod trusted_repository;

pub(super) use self::issuers::Issuers;
pub use self::{
    issuer_url::{IssuerUrl, KeysUrl, TrustedIssuer, UrlError},
    issuers::IssuersError,
    trusted_repository::TrustedRepository,
};
