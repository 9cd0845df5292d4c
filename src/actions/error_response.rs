//! From an answer that is no success to an [`Error`] in the service's own words.

use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use jiff::{Timestamp, fmt::rfc2822};
use serde::Deserialize;
use url::Url;

use super::{
    Error, Kind,
    error_context::ErrorContext,
    rate_limit_headers::{RateLimitHeaders, clock},
    redactor::{Redactor, one_line},
    request::Endpoint,
};
use crate::protocol::{v1, v2};

/// Most characters of an answer that is no JSON, such as a proxy's page, in a message.
const MAX_QUOTED_CHARS: usize = 300;

/// The error that a failed answer is.
pub(super) fn read_error(
    context: &ErrorContext,
    endpoint: Endpoint,
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
) -> Error {
    let body = ErrorBody::parse(body, &context.redactor);
    let kind = kind(endpoint, status, headers, &body, clock(headers));
    let message = match body.message {
        _ if status.is_redirection() => redirected(headers),
        message if message.is_empty() => format!("the service answered {status}"),
        message => message,
    };
    let message = match &kind {
        Kind::Protocol => format!("unexpected answer {status}: {message}"),
        _ => message,
    };
    context.said(kind, &message)
}

/// Where a redirect leads that is not followed; often it is a page to log in at.
fn redirected(headers: &HeaderMap) -> String {
    let to = headers
        .get(header::LOCATION)
        .and_then(|to| to.to_str().ok());
    let to = to.and_then(|to| Url::parse(to).ok());
    let to = to.map_or_else(
        || "another place".to_owned(),
        |to| to.origin().ascii_serialization(),
    );
    format!("a redirect to {to}, where this call is not made")
}

fn kind(
    endpoint: Endpoint,
    status: StatusCode,
    headers: &HeaderMap,
    body: &ErrorBody,
    now: Timestamp,
) -> Kind {
    let wait = retry_after(headers, now).or_else(|| RateLimitHeaders::parse(headers)?.wait());
    match (endpoint, status.as_u16()) {
        (Endpoint::Api, 409) => Kind::AlreadyExists,
        (Endpoint::Api, 400..=499) if body.exists => Kind::AlreadyExists,
        (_, 429) => Kind::Throttled(wait),
        // With a wait, a 503 is what busy services say instead of 429, and a 403 is what GitHub's
        // REST API says.
        (_, 503) | (Endpoint::Api, 403) if wait.is_some() => Kind::Throttled(wait),
        (Endpoint::Api, 401 | 403) => Kind::Denied,
        (Endpoint::Blob, 401 | 403) => Kind::UrlExpired,
        (_, 404) => Kind::NotFound,
        (_, 408) => Kind::Timeout,
        (_, code @ 400..=499) => Kind::Rejected(code),
        (_, code @ 500..=599) => Kind::Server(code),
        // A redirect that is not followed, or a status that no one knows.
        _ => Kind::Protocol,
    }
}

/// The wait that an answer asks for: seconds, or a date.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    Some(Duration::try_from(date.duration_since(now)).unwrap_or_default())
}

/// What an answer's body says.
#[derive(Debug, Default, PartialEq, Eq)]
struct ErrorBody {
    message: String,
    /// It says that the key is there already.
    exists: bool,
}

/// The members by which v1, Twirp, GitHub's REST API and others tell what is wrong.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct JsonError {
    message: String,
    msg: String,
    error: String,
    code: serde_json::Value,
    type_key: String,
}

impl ErrorBody {
    fn parse(body: &[u8], redactor: &Redactor) -> Self {
        // GHES begins its answers with a byte order mark.
        let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
        if let Ok(error) = serde_json::from_slice::<JsonError>(body) {
            let code = error.code.as_str().unwrap_or_default();
            let words = [
                error.message.as_str(),
                &error.msg,
                &error.error,
                code,
                &error.type_key,
            ];
            let message = words.into_iter().find(|text| !text.is_empty());
            return Self {
                message: message.unwrap_or_default().to_owned(),
                exists: error.type_key == v1::ALREADY_EXISTS || code == v2::ALREADY_EXISTS,
            };
        }
        let text = String::from_utf8_lossy(body);
        let message = match (element(&text, "Code"), element(&text, "Message")) {
            // Azure's first line says it; the rest are ids.
            (Some(code), Some(message)) => {
                format!("{code}: {}", message.lines().next().unwrap_or_default())
            }
            (Some(code), None) => code.to_owned(),
            (None, _) => element(&text, "title").unwrap_or(&text).to_owned(),
        };
        Self {
            message: one_line(&redactor.redact(&message), MAX_QUOTED_CHARS),
            exists: false,
        }
    }
}

/// The text of the first element of a name in XML or HTML that is only looked at by people.
fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    let (inner, _) = rest.split_once(&format!("</{name}>"))?;
    Some(inner.trim()).filter(|inner| !inner.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(body: &str) -> String {
        ErrorBody::parse(body.as_bytes(), &Redactor::default()).message
    }

    #[test]
    fn each_service_is_quoted_in_its_own_words() {
        assert_eq!(
            said(r#"{"message":"Cache is full","typeKey":"X"}"#),
            "Cache is full"
        );
        assert_eq!(
            said("\u{feff}{\"message\":\"Cache is full\"}"),
            "Cache is full"
        );
        assert_eq!(said(r#"{"code":"internal","msg":"oh no"}"#), "oh no");
        assert_eq!(said(r#"{"code":"internal"}"#), "internal");
        let azure = "<?xml version=\"1.0\"?><Error><Code>ServerBusy</Code><Message>The server is \
                     busy.\nRequestId:1\nTime:2</Message></Error>";
        assert_eq!(said(azure), "ServerBusy: The server is busy.");
        assert_eq!(
            said("<html><head><title>502 Bad Gateway</title></head>"),
            "502 Bad Gateway"
        );
        assert_eq!(
            said("  upstream\n connect error "),
            "upstream connect error"
        );
        assert_eq!(said(&"x".repeat(1000)).len(), MAX_QUOTED_CHARS);
    }

    fn kind_of(endpoint: Endpoint, status: u16, retry_after: Option<&str>, body: &str) -> Kind {
        let mut headers = HeaderMap::new();
        if let Some(value) = retry_after {
            headers.insert(header::RETRY_AFTER, value.parse().unwrap());
        }
        let now = "2026-01-16T00:00:00Z".parse().unwrap();
        let status = StatusCode::from_u16(status).unwrap();
        let said = ErrorBody::parse(body.as_bytes(), &Redactor::default());
        kind(endpoint, status, &headers, &said, now)
    }

    #[test]
    fn a_status_means_what_its_endpoint_means_by_it() {
        let throttled = |seconds| Kind::Throttled(Some(Duration::from_secs(seconds)));
        let date = Some("Fri, 16 Jan 2026 00:01:30 GMT");
        let past = Some("Thu, 15 Jan 2026 00:01:30 GMT");
        let exists = r#"{"typeKey":"ArtifactCacheItemAlreadyExistsException"}"#;
        for (endpoint, status, wait, body, expected) in [
            (Endpoint::Api, 409, None, "", Kind::AlreadyExists),
            (Endpoint::Api, 400, None, exists, Kind::AlreadyExists),
            (Endpoint::Api, 400, None, "", Kind::Rejected(400)),
            (Endpoint::Api, 403, None, "", Kind::Denied),
            (Endpoint::Api, 403, Some("7"), "", throttled(7)),
            (Endpoint::Blob, 403, None, "", Kind::UrlExpired),
            (Endpoint::Blob, 409, None, "", Kind::Rejected(409)),
            (Endpoint::Api, 429, None, "", Kind::Throttled(None)),
            (Endpoint::Api, 429, Some("soon"), "", Kind::Throttled(None)),
            (Endpoint::Api, 429, Some("-5"), "", Kind::Throttled(None)),
            (Endpoint::Api, 429, Some("1e9"), "", Kind::Throttled(None)),
            (
                Endpoint::Api,
                429,
                Some("99999999999999999999"),
                "",
                Kind::Throttled(None),
            ),
            (Endpoint::Api, 429, Some("0"), "", throttled(0)),
            (Endpoint::Api, 429, date, "", throttled(90)),
            (Endpoint::Api, 429, past, "", throttled(0)),
            (Endpoint::Blob, 503, Some("3"), "", throttled(3)),
            (Endpoint::Blob, 503, None, "", Kind::Server(503)),
            (Endpoint::Api, 302, None, "", Kind::Protocol),
        ] {
            assert_eq!(
                kind_of(endpoint, status, wait, body),
                expected,
                "{endpoint:?} {status} {wait:?}"
            );
        }
    }

    #[test]
    fn a_limit_that_is_used_up_is_a_wait_until_it_is_counted_anew() {
        let kind = |endpoint, status: u16, left: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("date", "Fri, 16 Jan 2026 00:00:00 GMT".parse().unwrap());
            headers.insert("x-ratelimit-remaining", left.parse().unwrap());
            headers.insert("x-ratelimit-reset", "1768521690".parse().unwrap());
            let status = StatusCode::from_u16(status).unwrap();
            kind(
                endpoint,
                status,
                &headers,
                &ErrorBody::default(),
                clock(&headers),
            )
        };
        let throttled = Kind::Throttled(Some(Duration::from_secs(90)));
        assert_eq!(kind(Endpoint::Api, 403, "0"), throttled);
        assert_eq!(kind(Endpoint::Api, 429, "0"), throttled);
        // A refusal that has nothing to do with the limit.
        assert_eq!(kind(Endpoint::Api, 403, "12"), Kind::Denied);
        assert_eq!(kind(Endpoint::Api, 429, "12"), Kind::Throttled(None));
    }
}
