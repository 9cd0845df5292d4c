//! The runtime token, read but not verified: only the service can verify it.

use jiff::Timestamp;

use crate::{protocol::scope::Scope, secret::Secret};

/// A runtime token and what it says of itself.
#[derive(Debug, Clone)]
pub struct Token {
    raw: Secret,
    scopes: Vec<Scope>,
    not_before: Timestamp,
    expires: Timestamp,
}

/// Why a token cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Not a JWT with the claims that the Actions cache needs.
    #[error("the token is not a JWT of the Actions cache: {0}")]
    Malformed(String),
}
