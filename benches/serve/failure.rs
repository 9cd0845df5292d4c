//! Why a call has come to nothing.

use std::error::Error;

/// In words.
#[derive(Debug)]
pub struct Failure(pub String);

impl<E: Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}
