//! The token that buildkitd shows at the endpoint.
//!
//! Stock reads `ac`, `exp` and `nbf` of it without verifying anything (go-actions-cache), to know
//! which scopes to ask for; so it is a JWT. Its signature is random, which makes it unguessable.

use jiff::Timestamp;
use jsonwebtoken::{EncodingKey, Header};
use rand::Rng as _;
use serde::Serialize;

use crate::{
    protocol::scope::{self, Scope},
    secret::Secret,
};

/// HS256 wants a key of at least the hash's size.
const KEY_BYTES: usize = 32;

#[derive(Serialize)]
struct Claims {
    ac: String,
    nbf: i64,
    exp: i64,
}

/// Makes a token with these scopes, signed by a key that is forgotten at once.
pub(crate) fn mint(scopes: &[Scope], expires: Timestamp) -> Secret {
    let claims = Claims {
        ac: scope::format(scopes),
        nbf: 0,
        exp: expires.as_second(),
    };
    let mut key = [0; KEY_BYTES];
    rand::rng().fill_bytes(&mut key);
    let token = jsonwebtoken::encode(&Header::default(), &claims, &EncodingKey::from_secret(&key))
        .expect("plain claims and a key of the right size always encode");
    Secret::new(token)
}
