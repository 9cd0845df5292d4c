//! What can go wrong with one request.

use bytes::Bytes;
use hyper::{HeaderMap, Response, StatusCode, header, http::response::Parts};
use serde_json::json;

use super::Operation;

/// One kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// An answer with this status instead of the operation.
    Status(u16),
    /// 429 instead of the operation, with the seconds to wait if there are any.
    Throttled(Option<u32>),
    /// v2's refusal of a reservation: a good answer that says no.
    WriteDenied,
    /// 403 in the words that a signed URL's expiry has.
    Expired,
    /// The connection is reset as soon as the request's head is there.
    ResetAtOnce,
    /// The connection is reset in the middle of the request's body.
    ResetRequest,
    /// The connection is reset in the middle of the answer's body.
    ResetAnswer,
    /// The request is carried out, and the connection reset instead of an answer.
    LostAnswer,
    /// The request is read, and never answered.
    Hang,
    /// In the middle of the request's body no more of it is read.
    StallRequest,
    /// In the middle of the answer's body no more of it comes.
    StallAnswer,
    /// The connection is closed in the middle of the answer's body.
    Truncate,
    /// The answer has half the bytes, and says so in its `Content-Length`.
    Short,
    /// The answer has no bytes, and says so in its `Content-Length`.
    Empty,
    /// The answer has more bytes than it should, and says so in its `Content-Length`.
    Long,
    /// 200 with something else that is half as large, whatever range was asked for.
    Another,
    /// The answer says that the entry has another size.
    WrongTotal,
    /// One byte of the answer is another one.
    Flip,
    /// The connection is reset, with all others, and no new one is accepted for a while; for good
    /// if the rule is for all requests. If it is for a share of them, the others live on.
    Refuse,
}

/// When in an exchange a fault shows itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Before the service has seen the whole request.
    Request,
    /// After the service has answered.
    Answer,
}

impl Fault {
    pub(super) fn stage(self) -> Stage {
        match self {
            Self::Status(_)
            | Self::Throttled(_)
            | Self::WriteDenied
            | Self::Expired
            | Self::ResetAtOnce
            | Self::ResetRequest
            | Self::Hang
            | Self::StallRequest
            | Self::Refuse => Stage::Request,
            Self::ResetAnswer
            | Self::LostAnswer
            | Self::StallAnswer
            | Self::Truncate
            | Self::Short
            | Self::Empty
            | Self::Long
            | Self::Another
            | Self::WrongTotal
            | Self::Flip => Stage::Answer,
        }
    }

    /// Whether the fault needs an answer with a body.
    pub(super) fn needs_body(self) -> bool {
        self.stage() == Stage::Answer && self != Self::LostAnswer
    }

    /// The answer of a service that does not carry a request out.
    pub(super) fn answer(self, operation: Operation) -> Option<Response<Bytes>> {
        let (status, code, message) = match self {
            Self::Status(status) => (status, code(status), "injected by the test"),
            Self::Throttled(_) => (429, "resource_exhausted", "injected by the test: too many"),
            Self::WriteDenied => (200, "", "cache write denied: injected by the test"),
            Self::Expired if operation.is_blob() => (
                403,
                "AuthenticationFailed",
                "Server failed to authenticate the request: Signature not valid in the \
                 specified time frame",
            ),
            Self::Expired => (403, "permission_denied", "the URL has expired"),
            _ => return None,
        };
        let body = if operation.is_blob() {
            format!(
                "<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>{code}</Code>\
                 <Message>{message}</Message></Error>"
            )
        } else {
            // v1 says `message`, Twirp `code` and `msg`.
            json!({ "ok": false, "message": message, "code": code, "msg": message }).to_string()
        };
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = StatusCode::from_u16(status).expect("a status");
        if let Self::Throttled(Some(seconds)) = self {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, seconds.into());
        }
        Some(response)
    }
}

/// Twirp's word for a status, or Azure's where it has one of its own.
fn code(status: u16) -> &'static str {
    match status {
        400 => "invalid_argument",
        401 => "unauthenticated",
        403 => "permission_denied",
        503 => "unavailable",
        _ => "internal",
    }
}

/// Makes a part of an entry a whole of another size.
pub(super) fn tell_another(head: &mut Parts, size: u64) {
    head.status = StatusCode::OK;
    head.headers.remove(header::CONTENT_RANGE);
    head.headers.insert(header::CONTENT_LENGTH, size.into());
}

/// Adds one to the size of the whole that an answer's head tells.
pub(super) fn tell_wrong_total(headers: &mut HeaderMap) {
    let Some(range) = headers.get(header::CONTENT_RANGE) else {
        return;
    };
    let wrong = range.to_str().ok().and_then(|range| {
        let (part, total) = range.rsplit_once('/')?;
        let total: u64 = total.parse().ok()?;
        format!("{part}/{}", total + 1).parse().ok()
    });
    if let Some(wrong) = wrong {
        headers.insert(header::CONTENT_RANGE, wrong);
    }
}
