//! The public keys of an issuer, from its JSON Web Key Set (RFC 7517).

use jsonwebtoken::{
    Algorithm, DecodingKey, Header,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse},
};
use serde::Deserialize;

/// Most keys of an issuer. GitHub has four or five: what signs now, what did, and what will.
const MAX_KEYS: usize = 64;

/// Keys that tokens may be signed with.
#[derive(Debug)]
pub(super) struct KeySet(Vec<PublicKey>);

/// One of them.
#[derive(Debug)]
pub(super) struct PublicKey {
    id: Option<String>,
    /// SHA-1 of its certificate, by which older tokens name it.
    thumbprint: Option<String>,
    /// What it verifies. The token does not choose: whoever could would choose HMAC with the public key.
    pub(super) algorithm: Algorithm,
    pub(super) decode: DecodingKey,
}

/// Why a document is no set of keys.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeySetError {
    #[error("it is no JSON Web Key Set: {0}")]
    Json(#[from] serde_json::Error),
    #[error("it has {0} keys, more than {MAX_KEYS}")]
    TooMany(usize),
    #[error("it has no key that signatures can be verified with")]
    None,
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<serde_json::Value>,
}

impl KeySet {
    /// Reads a document. Keys of kinds that are of no use here are left out.
    pub(super) fn parse(document: &[u8]) -> Result<Self, KeySetError> {
        let Document { keys } = serde_json::from_slice(document)?;
        if keys.len() > MAX_KEYS {
            return Err(KeySetError::TooMany(keys.len()));
        }
        let keys: Vec<PublicKey> = keys.into_iter().filter_map(PublicKey::parse).collect();
        if keys.is_empty() {
            return Err(KeySetError::None);
        }
        Ok(Self(keys))
    }

    /// The keys that the head of a token may mean. One that names none means the only one there is.
    pub(super) fn candidates(&self, header: &Header) -> impl Iterator<Item = &PublicKey> {
        let only = self.0.len() == 1;
        self.0.iter().filter(move |key| match header {
            Header { kid: Some(id), .. } => key.id.as_ref() == Some(id),
            Header { x5t: Some(of), .. } => key.thumbprint.as_ref() == Some(of),
            _ => only,
        })
    }
}

impl PublicKey {
    fn parse(key: serde_json::Value) -> Option<Self> {
        let key: Jwk = serde_json::from_value(key).ok()?;
        let signs = matches!(
            key.common.public_key_use,
            None | Some(PublicKeyUse::Signature)
        );
        Some(Self {
            algorithm: algorithm(&key).filter(|_| signs)?,
            decode: DecodingKey::from_jwk(&key).ok()?,
            id: key.common.key_id,
            thumbprint: key.common.x509_sha1_fingerprint,
        })
    }
}

/// The algorithm that a key says or that keys of its kind have; `None` for keys that are no public ones.
fn algorithm(key: &Jwk) -> Option<Algorithm> {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    let (usual, known): (_, &[Algorithm]) = match &key.algorithm {
        AlgorithmParameters::RSA(_) => (RS256, &[RS256, RS384, RS512, PS256, PS384, PS512]),
        AlgorithmParameters::EllipticCurve(key) => match key.curve {
            EllipticCurve::P256 => (ES256, &[ES256]),
            EllipticCurve::P384 => (ES384, &[ES384]),
            _ => return None,
        },
        AlgorithmParameters::OctetKeyPair(_) => (EdDSA, &[EdDSA]),
        _ => return None,
    };
    match key.common.key_algorithm {
        None => Some(usual),
        Some(said) => {
            let said = Algorithm::try_from(said).ok()?;
            known.contains(&said).then_some(said)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(keys: &serde_json::Value) -> Result<KeySet, KeySetError> {
        KeySet::parse(json!({ "keys": keys }).to_string().as_bytes())
    }

    fn named(kid: &str) -> Header {
        Header {
            kid: Some(kid.to_owned()),
            ..Header::new(Algorithm::RS256)
        }
    }

    #[test]
    fn algorithms_come_from_keys() {
        let set = parse(&json!([
            {"kty": "RSA", "kid": "r", "n": "AQAB", "e": "AQAB"},
            {"kty": "RSA", "kid": "p", "alg": "PS512", "use": "sig", "n": "AQAB", "e": "AQAB"},
            {"kty": "EC", "kid": "e", "crv": "P-384", "x": "AQAB", "y": "AQAB"},
            {"kty": "OKP", "kid": "o", "crv": "Ed25519", "x": "AQAB"},
        ]));
        let set = set.unwrap();
        for (kid, algorithm) in [
            ("r", Algorithm::RS256),
            ("p", Algorithm::PS512),
            ("e", Algorithm::ES384),
            ("o", Algorithm::EdDSA),
        ] {
            let header = named(kid);
            let found: Vec<_> = set.candidates(&header).collect();
            assert_eq!(found.len(), 1, "{kid}");
            assert_eq!(found[0].algorithm, algorithm);
        }
        assert_eq!(set.candidates(&named("x")).count(), 0);
        let unnamed = Header::new(Algorithm::RS256);
        assert_eq!(set.candidates(&unnamed).count(), 0, "it could be any");
    }

    #[test]
    fn keys_that_verify_nothing_are_left_out() {
        let useless = json!([
            {"kty": "oct", "kid": "secret", "k": "AQAB"},
            {"kty": "RSA", "kid": "encrypts", "use": "enc", "n": "AQAB", "e": "AQAB"},
            {"kty": "RSA", "kid": "hmac", "alg": "HS256", "n": "AQAB", "e": "AQAB"},
            {"kty": "EC", "kid": "other", "crv": "P-256", "alg": "ES384", "x": "AQAB", "y": "AQAB"},
            {"kty": "EC", "kid": "curve", "crv": "secp256k1", "x": "AQAB", "y": "AQAB"},
            {"kty": "AKP", "kid": "new", "pub": "AQAB"},
            "no key",
        ]);
        assert!(matches!(parse(&useless), Err(KeySetError::None)));
        assert!(matches!(
            KeySet::parse(b"<html>"),
            Err(KeySetError::Json(_))
        ));
        let many = vec![json!({"kty": "RSA", "n": "AQAB", "e": "AQAB"}); MAX_KEYS + 1];
        assert!(matches!(parse(&many.into()), Err(KeySetError::TooMany(_))));
    }

    #[test]
    fn older_tokens_name_a_certificate() {
        let set = parse(&json!([
            {"kty": "RSA", "kid": "a", "x5t": "aa", "n": "AQAB", "e": "AQAB"},
            {"kty": "RSA", "kid": "b", "x5t": "bb", "n": "AQAB", "e": "AQAB"},
        ]));
        let header = Header {
            x5t: Some("bb".to_owned()),
            ..Header::new(Algorithm::RS256)
        };
        let set = set.unwrap();
        let found: Vec<_> = set.candidates(&header).collect();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].id.as_deref(), Some("b"));
    }
}
