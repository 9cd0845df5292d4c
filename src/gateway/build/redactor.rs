//! Keeps tokens out of the traces that clients send to buildkitd.
//!
//! buildx and buildctl record their own command line in a trace and hand it to buildkitd, which
//! stores it with the build's history. A user who wrote `token=…` there has written it into that
//! store (seen on v0.32.2). What is masked keeps its length, so every length on the wire stays
//! right whatever the message looks like.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use memchr::memmem;
use parking_lot::{Mutex, MutexGuard};

use crate::secret::Secret;

/// Tokens that are remembered. A trace comes at the latest when its client ends, a few builds
/// after the token was seen.
const MAX_TOKENS: usize = 64;

/// Shorter texts are no tokens, and masking them would spoil what is none.
const MIN_LENGTH: usize = 16;

/// What stands in a token's place.
const MASK: u8 = b'*';

/// The tokens of recent builds.
#[derive(Default)]
pub(super) struct Redactor(Mutex<VecDeque<Secret>>);

impl Redactor {
    pub fn register(&self, token: &str) {
        let mut known = self.known();
        if token.len() < MIN_LENGTH || known.iter().any(|secret| secret.expose() == token) {
            return;
        }
        known.truncate(MAX_TOKENS - 1);
        known.push_front(Secret::new(token));
    }

    /// The message with every known token masked.
    pub fn redact(&self, message: Bytes) -> Bytes {
        let known = self.known();
        let tokens = known.iter().map(|secret| secret.expose().as_bytes());
        let found: Vec<_> = tokens
            .flat_map(|token| {
                memmem::find_iter(&message, token).map(move |at| at..at + token.len())
            })
            .collect();
        if found.is_empty() {
            return message;
        }
        let mut masked = BytesMut::from(message);
        for range in found {
            masked[range].fill(MASK);
        }
        masked.freeze()
    }

    fn known(&self) -> MutexGuard<'_, VecDeque<Secret>> {
        self.0.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_tokens_are_masked_wherever_they_stand() {
        let redactor = Redactor::default();
        redactor.register("a-token-of-some-length");
        redactor.register("short");
        let message =
            Bytes::from("--to token=a-token-of-some-length, short a-token-of-some-length");
        let mask = "*".repeat(22);
        let expected = format!("--to token={mask}, short {mask}");
        assert_eq!(redactor.redact(message), expected);
        let other = Bytes::from("nothing here");
        assert_eq!(redactor.redact(other.clone()), other);
    }

    #[test]
    fn the_oldest_tokens_are_forgotten() {
        let redactor = Redactor::default();
        let token = |n: usize| format!("a-token-with-number-{n:04}");
        for n in 0..=MAX_TOKENS {
            redactor.register(&token(n));
        }
        assert_eq!(redactor.redact(token(0).into()), token(0));
        assert_ne!(redactor.redact(token(1).into()), token(1));
    }
}
