//! Errors in one line, for messages: a library's own words often leave the cause out.

use std::error::Error;

/// An error and all its causes.
pub(crate) fn error_chain(error: &dyn Error) -> String {
    let mut chain = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !chain.ends_with(&next) {
            chain.push_str(": ");
            chain.push_str(&next);
        }
        cause = error.source();
    }
    chain
}
