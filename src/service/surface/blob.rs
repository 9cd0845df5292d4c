//! The signed blob URLs: Azure Blob's Put Blob, Put Block, Put Block List, Get Blob and Get Blob
//! Properties. v1 downloads come here too; they are plain GETs.

use std::{ops::Range, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::{Path, Query, rejection::QueryRejection},
    http::{HeaderMap, HeaderName, Method, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use serde::Deserialize;

use super::{
    azure::{self, error_response},
    context::{AppState, Context},
    forward::RequestHead,
    response::respond,
};
use crate::{
    protocol::{
        block_list,
        range::{self, ContentRange, RangeError},
    },
    service::{
        api_error::{ApiError, ErrorKind},
        config::{MAX_PART_BYTES, MAX_PUT_BYTES},
        metrics::Operation,
        sign::{BLOB_PATH, Grant, Permission, SignatureError},
        store::{Entry, Published},
        upload::{PendingPart, Upload},
    },
};

/// Largest block list: 50,000 ids of 88 characters with their elements have 5.5 MB, indented 7 MB.
const MAX_BLOCK_LIST_BYTES: usize = 8 << 20;

pub(super) const X_MS_RANGE: HeaderName = HeaderName::from_static("x-ms-range");

/// Azure's own range header wins over HTTP's.
const RANGE_HEADERS: [HeaderName; 2] = [X_MS_RANGE, header::RANGE];

pub(super) fn routes() -> Router<AppState> {
    Router::new().route(&format!("{BLOB_PATH}{{id}}"), get(read).put(write))
}

/// A query without a grant is answered like one with a wrong grant.
type Granted = Result<Query<Grant>, QueryRejection>;

#[derive(Deserialize)]
struct PutQuery {
    comp: Option<String>,
    blockid: Option<String>,
}

async fn read(
    context: Context,
    Path(id): Path<i64>,
    grant: Granted,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let found = async {
        check(&context, id, Permission::Read, grant)?;
        let (entry, published) = context
            .service
            .run(async move |entries| entries.content(id).await)
            .await?;
        context.admit(&entry.name.repository)?;
        deliver(&context, &method, &headers, entry, published).await
    };
    let mut response = respond(Operation::Download, found.await, error_response);
    azure::identify(&mut response, &headers);
    response
}

/// The answer to who may read an entry: what it asks for of its content, or where that is.
pub(super) async fn deliver(
    context: &Context,
    method: &Method,
    headers: &HeaderMap,
    entry: Entry,
    published: Published,
) -> Result<Response, ApiError> {
    context.access.entry(&entry.name);
    context.access.size(entry.size);
    let wanted = wanted_range(headers, entry.size)?;
    if method == Method::HEAD {
        return answer(context, entry, published, wanted, Some(0..0)).await;
    }
    match context.redirect(headers, &entry, &published).await? {
        Some(redirect) => Ok(redirect),
        None => answer(context, entry, published, wanted, None).await,
    }
}

/// The answer to who wants this range of an entry, or all of it: its bytes, or those of `instead`.
async fn answer(
    context: &Context,
    entry: Entry,
    published: Published,
    wanted: Option<Range<u64>>,
    instead: Option<Range<u64>>,
) -> Result<Response, ApiError> {
    let range = wanted.clone().unwrap_or(0..entry.size);
    let (id, created, size) = (entry.id, entry.created, entry.size);
    let read = instead.unwrap_or_else(|| range.clone());
    let bytes = context
        .service
        .run(async move |entries| entries.read(&entry, published, read).await)
        .await?;
    let mut response = Response::new(context.stream(bytes));
    let map = response.headers_mut();
    let len = range.end - range.start;
    set(map, header::CONTENT_LENGTH, &len.to_string());
    set(map, header::CONTENT_TYPE, "application/octet-stream");
    set(map, header::ACCEPT_RANGES, "bytes");
    set(map, HeaderName::from_static("x-ms-blob-type"), "BlockBlob");
    for (name, value) in azure::describe(id, created) {
        set(map, name, &value);
    }
    if wanted.is_some() {
        let total = Some(size);
        let content_range = ContentRange { range, total };
        set(map, header::CONTENT_RANGE, &content_range.to_string());
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(response)
}

async fn write(
    context: Context,
    Path(id): Path<i64>,
    grant: Granted,
    Query(query): Query<PutQuery>,
    headers: HeaderMap,
    head: RequestHead,
    body: Body,
) -> Response {
    let operation = match query.comp.as_deref() {
        None => Operation::PutBlob,
        Some("block") => Operation::UploadPart,
        Some("blocklist") => Operation::PutBlockList,
        Some(_) => Operation::Other,
    };
    let written = async {
        check(&context, id, Permission::Write, grant)?;
        if let Some(replica) = context.replica_of(id, &head).await? {
            return context.forward(&replica, head, body).await;
        }
        let upload = context.service.entries().upload(id)?;
        context.access.entry(&upload.name);
        context.admit(&upload.name.repository)?;
        match operation {
            Operation::PutBlob => put_blob(&context, &upload, &headers, body).await?,
            Operation::UploadPart => {
                put_block(&context, &upload, query.blockid, &headers, body).await?;
            }
            Operation::PutBlockList => put_block_list(&context, &upload, body).await?,
            _ => return Err(invalid_query("comp must be block or blocklist")),
        }
        let description = azure::describe(id, context.service.now());
        Ok((StatusCode::CREATED, description).into_response())
    };
    let mut response = respond(operation, written.await, error_response);
    azure::identify(&mut response, &headers);
    response
}

async fn put_blob(
    context: &Context,
    upload: &Arc<Upload>,
    headers: &HeaderMap,
    body: Body,
) -> Result<(), ApiError> {
    let len = content_length(headers, MAX_PUT_BYTES)?;
    let part = PendingPart::begin(upload, len, context.service.now())?;
    let extent = context.service.receive(body, &part, part.len()).await?;
    part.keep(extent, Upload::set_content)
}

async fn put_block(
    context: &Context,
    upload: &Arc<Upload>,
    block_id: Option<String>,
    headers: &HeaderMap,
    body: Body,
) -> Result<(), ApiError> {
    let block_id = block_id.ok_or_else(|| invalid_query("blockid is missing"))?;
    // base64 has no space: it was a plus that the client did not escape.
    let block_id = block_id.replace(' ', "+");
    block_list::check_id(&block_id)?;
    let len = content_length(headers, MAX_PART_BYTES)?;
    let part = PendingPart::begin(upload, len, context.service.now())?;
    let extent = context.service.receive(body, &part, part.len()).await?;
    part.keep(extent, |upload, extent| upload.add_block(block_id, extent))
}

async fn put_block_list(context: &Context, upload: &Upload, body: Body) -> Result<(), ApiError> {
    let repository = &upload.name.repository;
    let body = context
        .collect(repository, body, MAX_BLOCK_LIST_BYTES)
        .await?;
    let xml = str::from_utf8(&body)
        .map_err(|_| ApiError::new(ErrorKind::InvalidBlockList, "the body is not UTF-8 text"))?;
    upload.set_blocks(&block_list::parse(xml)?)
}

fn check(context: &Context, id: i64, wanted: Permission, grant: Granted) -> Result<(), ApiError> {
    let Query(grant) = grant.map_err(|_| SignatureError::Mismatch)?;
    let service = &context.service;
    service.signer().check(id, wanted, &grant, service.now())?;
    context.authorized();
    Ok(())
}

fn content_length(headers: &HeaderMap, limit: u64) -> Result<u64, ApiError> {
    let text = headers.get(header::CONTENT_LENGTH);
    let len = text.and_then(|value| value.to_str().ok()?.parse().ok());
    let len = len.ok_or_else(|| {
        let message = "the header Content-Length is missing";
        ApiError::new(ErrorKind::LengthRequired, message)
    })?;
    if len > limit {
        let message = "the body is larger than one request may be";
        return Err(ApiError::new(ErrorKind::BodyTooLarge, message));
    }
    Ok(len)
}

fn wanted_range(headers: &HeaderMap, size: u64) -> Result<Option<Range<u64>>, ApiError> {
    let Some(text) = RANGE_HEADERS.iter().find_map(|name| headers.get(name)) else {
        return Ok(None);
    };
    let malformed = || {
        let message = "the range is not a single byte range";
        ApiError::new(ErrorKind::InvalidHeader, message)
    };
    let Ok(text) = text.to_str() else {
        return Err(malformed());
    };
    match range::parse_request(text, size) {
        Ok(range) => Ok(Some(range)),
        Err(RangeError::Malformed(_)) => Err(malformed()),
        Err(RangeError::Unsatisfiable { size }) => {
            let kind = ErrorKind::InvalidRange { size };
            let message = "the range lies outside of the blob";
            Err(ApiError::new(kind, message))
        }
    }
}

fn invalid_query(message: &'static str) -> ApiError {
    ApiError::new(ErrorKind::InvalidQuery, message)
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    // Numbers, dates and constants: always valid.
    if let Ok(value) = value.parse() {
        headers.insert(name, value);
    }
}
