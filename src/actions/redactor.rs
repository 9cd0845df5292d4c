//! Keeps out of messages what an answer may repeat of its request: tokens and signed URLs.

use std::{cmp::Reverse, fmt};

use http::header;

use super::request::{Endpoint, Request};

/// Most characters of what a service says: those that there are say a sentence or two.
const MAX_MESSAGE_CHARS: usize = 1000;

/// Values shorter than this are not worth hiding, and hiding them would garble words.
const MIN_SECRET_CHARS: usize = 6;

/// Texts that must not show up in a message.
#[derive(Clone, Default)]
pub(super) struct Redactor(Vec<String>);

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl Redactor {
    /// Hides the token of a request, and all of a signed URL but its origin.
    pub fn new(request: &Request) -> Self {
        let url = request.url.expose();
        let mut texts: Vec<String> = Vec::new();
        if let Some(value) = request.headers.get(header::AUTHORIZATION)
            && let Ok(value) = value.to_str()
        {
            texts.push(value.trim_start_matches("Bearer ").to_owned());
        }
        if request.endpoint == Endpoint::Blob {
            texts.push(url.path().to_owned());
            texts.extend(url.query_pairs().map(|(_, value)| value.into_owned()));
            let raw = url.query().unwrap_or_default().split('&');
            texts.extend(raw.filter_map(|pair| Some(pair.split_once('=')?.1.to_owned())));
        }
        texts.retain(|text| text.chars().count() >= MIN_SECRET_CHARS);
        // The longest first, lest a part of it be cut out and the rest shown.
        texts.sort_by_key(|text| Reverse(text.len()));
        Self(texts)
    }

    /// The message without secrets, in one line, and not longer than people read. Secrets go
    /// first: half of one would not be found.
    pub fn redact(&self, message: &str) -> String {
        let hide = |message: String, text: &String| message.replace(text, "[secret]");
        let message = self.0.iter().fold(message.to_owned(), hide);
        one_line(&message, MAX_MESSAGE_CHARS)
    }
}

/// Text as one line of so many characters, without control characters.
pub(super) fn one_line(text: &str, limit: usize) -> String {
    let spaced = text.split(|c: char| c.is_whitespace() || c.is_control());
    let words: Vec<&str> = spaced.filter(|word| !word.is_empty()).collect();
    words.join(" ").chars().take(limit).collect()
}
