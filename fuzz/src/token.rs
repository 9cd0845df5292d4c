//! A runtime token that anybody may have written: it is read or refused, and never quoted.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use buildkit_gha::{actions::Token, secret::Secret};
use jiff::Timestamp;

/// A whole token, and the claims of one.
pub fn body(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        read(text);
    }
    let claims = URL_SAFE_NO_PAD.encode(data);
    if claims.is_empty() {
        return;
    }
    let raw = format!("e30.{claims}.signature");
    let told = read(&raw);
    assert!(!told.contains(&raw), "{told}");
}

/// What is told of a token.
fn read(raw: &str) -> String {
    match Token::parse(Secret::new(raw)) {
        Ok(token) => {
            for now in [Timestamp::MIN, Timestamp::UNIX_EPOCH, Timestamp::MAX] {
                let _ = token.check(now);
            }
            assert_eq!(token.raw().expose(), raw);
            assert!(token.readable().count() <= token.scopes().len());
            assert_eq!(
                token.first_writable().is_some(),
                token.last_writable().is_some()
            );
            format!("{token:?}")
        }
        Err(error) => error.to_string(),
    }
}
