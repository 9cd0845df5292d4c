//! Keys and tokens as an issuer makes them, and as no issuer would.

use aws_lc_rs::{
    hmac,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256,
        RSA_PKCS1_SHA512, RsaEncoding, RsaKeyPair,
    },
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

enum KeyPair {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
}

/// A key of an issuer.
pub struct Key {
    id: String,
    pair: KeyPair,
}

impl Key {
    pub fn rsa(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            pair: KeyPair::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()),
        }
    }

    pub fn ec(id: &str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        Self {
            id: id.to_owned(),
            pair: KeyPair::Ec(pair),
        }
    }

    /// What the issuer publishes of it, as GitHub does: without `alg` for EC, to see what is made of that.
    pub fn public(&self) -> Value {
        match &self.pair {
            KeyPair::Rsa(pair) => {
                let key = pair.public_key();
                let n = encode(key.modulus().big_endian_without_leading_zero());
                let e = encode(key.exponent().big_endian_without_leading_zero());
                json!({"kty": "RSA", "alg": "RS256", "use": "sig", "kid": self.id, "n": n, "e": e})
            }
            KeyPair::Ec(pair) => {
                // 0x04, x, y.
                let point = pair.public_key().as_ref();
                let (x, y) = (encode(&point[1..33]), encode(&point[33..]));
                json!({"kty": "EC", "crv": "P-256", "use": "sig", "kid": self.id, "x": x, "y": y})
            }
        }
    }

    /// The bytes of the public key, which everybody has.
    fn public_bytes(&self) -> &[u8] {
        match &self.pair {
            KeyPair::Rsa(pair) => pair.public_key().as_ref(),
            KeyPair::Ec(pair) => pair.public_key().as_ref(),
        }
    }

    /// A token as the issuer would sign it.
    pub fn sign(&self, claims: &Value) -> String {
        self.sign_with(&self.header(), claims)
    }

    /// The head of such a token.
    pub fn header(&self) -> Value {
        let algorithm = match self.pair {
            KeyPair::Rsa(_) => "RS256",
            KeyPair::Ec(_) => "ES256",
        };
        json!({"typ": "JWT", "alg": algorithm, "kid": self.id})
    }

    /// A token with another head.
    pub fn sign_with(&self, header: &Value, claims: &Value) -> String {
        let content = content(header, claims);
        let signature = match &self.pair {
            KeyPair::Rsa(pair) => {
                let sha512 = header["alg"] == "RS512";
                let encoding: &dyn RsaEncoding = if sha512 {
                    &RSA_PKCS1_SHA512
                } else {
                    &RSA_PKCS1_SHA256
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                let random = SystemRandom::new();
                pair.sign(encoding, &random, content.as_bytes(), &mut signature)
                    .unwrap();
                signature
            }
            KeyPair::Ec(pair) => {
                let signature = pair.sign(&SystemRandom::new(), content.as_bytes());
                signature.unwrap().as_ref().to_vec()
            }
        };
        format!("{content}.{}", encode(&signature))
    }

    /// A token whose signature anybody can make: HMAC, with the public key as the secret.
    pub fn forge_hmac(&self, claims: &Value) -> String {
        let content = content(&json!({"alg": "HS256", "kid": self.id}), claims);
        let secret = hmac::Key::new(hmac::HMAC_SHA256, self.public_bytes());
        let signature = hmac::sign(&secret, content.as_bytes());
        format!("{content}.{}", encode(signature.as_ref()))
    }

    /// A token without any signature.
    pub fn unsigned(&self, algorithm: &str, claims: &Value) -> String {
        let header = json!({"alg": algorithm, "kid": self.id});
        format!("{}.", content(&header, claims))
    }
}

fn content(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| encode(value.to_string().as_bytes());
    format!("{}.{}", part(header), part(claims))
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
