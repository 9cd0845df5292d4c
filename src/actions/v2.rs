//! Version 2, one function per call: see [`crate::protocol::v2`] for the language.

use http::{Method, StatusCode, header};
use serde::{Serialize, de::DeserializeOwned};
use url::Url;

use super::{
    Client, Entry, Error, Kind, Location, Reservation, UploadTarget,
    client::below,
    error_response::Context,
    http::{Call, Request},
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
pub(super) async fn lookup(
    client: &Client,
    base: &Url,
    keys: &[&str],
    version: &str,
) -> Result<Option<Entry>, Error> {
    let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
    let body = LookupRequest {
        key: keys.first().cloned().unwrap_or_default(),
        restore_keys: keys,
        version: version.to_owned(),
    };
    let (answer, context): (LookupResponse, _) =
        twirp(client, base, Call::Lookup, LOOKUP, &body).await?;
    if !answer.ok {
        return Ok(None);
    }
    Ok(Some(Entry {
        key: answer.matched_key,
        version: version.to_owned(),
        location: Location::new(signed(&context, &answer.signed_download_url)?),
    }))
}

/// Reserves a key. `ok: false` without a word means that the key is there, with a word that the
/// write was denied.
pub(super) async fn reserve(
    client: &Client,
    base: &Url,
    key: &str,
    version: &str,
) -> Result<Reservation, Error> {
    let body = CreateRequest {
        key: key.to_owned(),
        version: version.to_owned(),
    };
    let (answer, context): (CreateResponse, _) =
        twirp(client, base, Call::Reserve, CREATE, &body).await?;
    if !answer.ok {
        let exists = answer.message.is_empty() || answer.message.contains(EXISTS_WORDS);
        let kind = if exists {
            Kind::AlreadyExists
        } else {
            Kind::Denied
        };
        return Err(context.error(kind, &answer.message));
    }
    Ok(Reservation {
        key: body.key,
        version: body.version,
        upload: UploadTarget::V2 {
            url: signed(&context, &answer.signed_upload_url)?,
        },
    })
}

/// Makes an uploaded entry visible.
pub(super) async fn finalize(
    client: &Client,
    base: &Url,
    reservation: &Reservation,
    size: u64,
) -> Result<(), Error> {
    let body = FinalizeRequest {
        key: reservation.key.clone(),
        version: reservation.version.clone(),
        size_bytes: i64::try_from(size).unwrap_or(i64::MAX),
    };
    let (answer, context): (FinalizeResponse, _) =
        twirp(client, base, Call::Finish, FINALIZE, &body).await?;
    if answer.ok {
        return Ok(());
    }
    let message = match answer.message {
        message if message.is_empty() => "the service did not accept the upload".to_owned(),
        message => message,
    };
    let status = StatusCode::OK.as_u16();
    Err(context.error(Kind::Rejected(status), &message))
}

/// One call. The context is for errors in words of the answer, which may repeat secrets.
async fn twirp<T: DeserializeOwned>(
    client: &Client,
    base: &Url,
    call: Call,
    method: &str,
    body: &impl Serialize,
) -> Result<(T, Context), Error> {
    let url = below(base, &format!("{BASE_PATH}{method}"));
    let request = Request::api(call, Method::POST, url, client.token().raw())
        .header(header::ACCEPT, "application/json")
        .json(body);
    let answer = client.call(request).await?;
    let context = answer.context().clone();
    Ok((answer.json().await?, context))
}

fn signed(context: &Context, url: &str) -> Result<SecretUrl, Error> {
    let message = "the answer's signed URL is not an http or https URL";
    SecretUrl::http(url).ok_or_else(|| context.error(Kind::Protocol, message))
}
