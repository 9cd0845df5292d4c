//! Version 2: how each call is encoded and its response decoded. [`crate::protocol::v2`] has the
//! language.

use http::{Method, StatusCode, header};
use serde::{Serialize, de::DeserializeOwned};
use url::Url;

use super::{
    Call, Entry, Error, Kind, Location, Reservation, Token,
    entry::UploadTarget,
    error_context::ErrorContext,
    request::{Request, below},
    response::Response,
};
use crate::{
    protocol::v2::{
        BASE_PATH, CREATE, CreateRequest, CreateResponse, FINALIZE, FinalizeRequest,
        FinalizeResponse, LOOKUP, LookupRequest, LookupResponse,
    },
    secret::SecretUrl,
};

/// How an `ok: false` begins whose message is no refusal but "it is there". The protocol has no
/// other mark for it.
const EXISTS_WORDS: &str = "already exists";

/// Looks keys up in their order. All are sent as restore keys too, as stock does with its one: then
/// they may match as prefixes.
pub(super) fn lookup(base: &Url, token: &Token, keys: &[&str], version: &str) -> Request {
    let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
    let body = LookupRequest {
        key: keys.first().cloned().unwrap_or_default(),
        restore_keys: keys,
        version: version.to_owned(),
    };
    twirp(base, token, Call::Lookup, LOOKUP, &body)
}

/// `ok: false` is a miss.
pub(super) async fn read_lookup(response: Response, version: &str) -> Result<Option<Entry>, Error> {
    let (answer, context): (LookupResponse, _) = read(response).await?;
    if !answer.ok {
        return Ok(None);
    }
    Ok(Some(Entry {
        key: answer.matched_key,
        version: version.to_owned(),
        location: Location::new(signed(&context, &answer.signed_download_url)?),
    }))
}

/// Reserves a key.
pub(super) fn reserve(base: &Url, token: &Token, key: &str, version: &str) -> Request {
    let body = CreateRequest {
        key: key.to_owned(),
        version: version.to_owned(),
    };
    twirp(base, token, Call::Reserve, CREATE, &body)
}

/// `ok: false` without a word means that the key is there, with a word that the write was denied.
pub(super) async fn read_reserve(
    response: Response,
    key: &str,
    version: &str,
) -> Result<Reservation, Error> {
    let (answer, context): (CreateResponse, _) = read(response).await?;
    if !answer.ok {
        let exists = answer.message.is_empty() || answer.message.contains(EXISTS_WORDS);
        let kind = if exists {
            Kind::AlreadyExists
        } else {
            Kind::Denied
        };
        return Err(context.said(kind, &answer.message));
    }
    Ok(Reservation {
        key: key.to_owned(),
        version: version.to_owned(),
        upload: UploadTarget::V2 {
            url: signed(&context, &answer.signed_upload_url)?,
        },
    })
}

/// Makes an uploaded entry visible.
pub(super) fn finalize(base: &Url, token: &Token, reservation: &Reservation, size: u64) -> Request {
    let body = FinalizeRequest {
        key: reservation.key.clone(),
        version: reservation.version.clone(),
        size_bytes: i64::try_from(size).unwrap_or(i64::MAX),
    };
    twirp(base, token, Call::Finish, FINALIZE, &body)
}

/// `ok: false` is a refusal, though its status is 200.
pub(super) async fn read_finalize(response: Response) -> Result<(), Error> {
    let (answer, context): (FinalizeResponse, _) = read(response).await?;
    if answer.ok {
        return Ok(());
    }
    let message = match answer.message {
        message if message.is_empty() => "the service did not accept the upload".to_owned(),
        message => message,
    };
    let status = StatusCode::OK.as_u16();
    Err(context.said(Kind::Rejected(status), &message))
}

fn twirp(base: &Url, token: &Token, call: Call, method: &str, body: &impl Serialize) -> Request {
    let url = below(base, &format!("{BASE_PATH}{method}"));
    Request::api(call, Method::POST, url, token.raw())
        .header(header::ACCEPT, "application/json")
        .json(body)
}

/// The message of a response. The context is for errors in words of it, which may repeat secrets.
async fn read<T: DeserializeOwned>(response: Response) -> Result<(T, ErrorContext), Error> {
    let context = response.context().clone();
    Ok((response.json().await?, context))
}

fn signed(context: &ErrorContext, url: &str) -> Result<SecretUrl, Error> {
    let message = "the answer's signed URL is not an http or https URL";
    SecretUrl::http(url).ok_or_else(|| context.error(Kind::Protocol, message))
}
