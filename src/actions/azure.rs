//! Azure Blob storage on a signed URL: how a blob is put at once, or in blocks. No token goes here.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderName, Method, header};

use super::{Call, request::Request};
use crate::{protocol::block_list, secret::SecretUrl};

/// The storage API's version; block blobs have their present limits since 2019-12-12.
const VERSION: &str = "2021-12-02";

const X_MS_VERSION: HeaderName = HeaderName::from_static("x-ms-version");
const X_MS_BLOB_TYPE: HeaderName = HeaderName::from_static("x-ms-blob-type");

/// Puts all of a small entry at once.
pub(super) fn put_blob(url: &SecretUrl, bytes: Bytes) -> Request {
    Request::blob(Call::UploadPart, Method::PUT, url.clone())
        .header(X_MS_VERSION, VERSION)
        .header(X_MS_BLOB_TYPE, "BlockBlob")
        .header(header::CONTENT_TYPE, "application/octet-stream")
        .body(bytes)
}

/// Puts one block, in any order; again is the same.
pub(super) fn put_block(url: &SecretUrl, index: u32, bytes: Bytes) -> Request {
    let url = with_query(url, &[("comp", "block"), ("blockid", &block_id(index))]);
    Request::blob(Call::UploadPart, Method::PUT, url)
        .header(X_MS_VERSION, VERSION)
        .header(header::CONTENT_TYPE, "application/octet-stream")
        .body(bytes)
}

/// Makes the blob of its first `count` blocks in order.
pub(super) fn put_block_list(url: &SecretUrl, count: u32) -> Request {
    let url = with_query(url, &[("comp", "blocklist")]);
    Request::blob(Call::JoinParts, Method::PUT, url)
        .header(X_MS_VERSION, VERSION)
        .header(header::CONTENT_TYPE, "application/xml")
        .body(block_list::write((0..count).map(block_id)))
}

/// All ids of a blob must have the same length.
fn block_id(index: u32) -> String {
    STANDARD.encode(format!("{index:09}"))
}

fn with_query(url: &SecretUrl, pairs: &[(&str, &str)]) -> SecretUrl {
    let mut url = url.expose().clone();
    url.query_pairs_mut().extend_pairs(pairs);
    SecretUrl::new(url)
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;

    #[test]
    fn ids_have_one_length_and_their_order() {
        assert_eq!(block_id(0), "MDAwMDAwMDAw");
        assert_eq!(block_id(u32::from(u16::MAX)).len(), block_id(0).len());
        assert_eq!(
            block_list::write((0..2).map(block_id)),
            "<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList><Latest>MDAwMDAwMDAw</Latest>\
             <Latest>MDAwMDAwMDAx</Latest></BlockList>"
        );
    }

    #[test]
    fn the_signature_stays_as_it_was() {
        let url = Url::parse("http://h/c/b?se=1&sig=a%2Fb%3D").unwrap();
        let url = with_query(
            &SecretUrl::new(url),
            &[("comp", "block"), ("blockid", "MD+=")],
        );
        let expected = "http://h/c/b?se=1&sig=a%2Fb%3D&comp=block&blockid=MD%2B%3D";
        assert_eq!(url.expose().as_str(), expected);
    }
}
