//! The heads of calls: what of their metadata belongs to one connection only.

use http::{
    HeaderMap, HeaderName, Method, Request, Response, Uri,
    header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING, UPGRADE},
    uri::{Authority, PathAndQuery, Scheme},
};

use crate::gateway::interceptor::{Code, GrpcStatus};

/// What BuildKit's own clients and daemon say, both outside and inside a session.
const AUTHORITY: Authority = Authority::from_static("localhost");

/// Headers about one connection. `te: trailers` is not among them: gRPC asks for it on every hop.
const HOP_HEADERS: [HeaderName; 6] = [
    CONNECTION,
    HOST,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// The head of a request as it goes on.
pub(crate) fn request<B>(request: &Request<B>) -> Result<Request<()>, GrpcStatus> {
    let path = request.uri().path_and_query();
    let path = path.cloned().unwrap_or(PathAndQuery::from_static("/"));
    let uri = Uri::builder()
        .scheme(Scheme::HTTP)
        .authority(AUTHORITY)
        .path_and_query(path)
        .build()
        .expect("a URI of three valid parts is valid");
    if request.method() == Method::CONNECT {
        let words = "buildkit-gha: HTTP CONNECT is no gRPC call";
        return Err(GrpcStatus::new(Code::Unimplemented, words));
    }
    let mut onward = Request::new(());
    *onward.method_mut() = request.method().clone();
    *onward.uri_mut() = uri;
    *onward.headers_mut() = without_hop(request.headers().clone());
    Ok(onward)
}

/// The head of a response as it goes on.
pub(crate) fn response(parts: http::response::Parts) -> Response<()> {
    let mut onward = Response::new(());
    *onward.status_mut() = parts.status;
    *onward.headers_mut() = without_hop(parts.headers);
    onward
}

/// Takes out the length of a body that may be changed.
pub(super) fn forget_length(headers: &mut HeaderMap) {
    headers.remove(CONTENT_LENGTH);
}

fn without_hop(mut headers: HeaderMap) -> HeaderMap {
    for name in &HOP_HEADERS {
        headers.remove(name);
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_kept_in_order_and_hop_headers_are_not() {
        let incoming = Request::post("https://build.example:1234/a.B/C?d")
            .header("te", "trailers")
            .header("x-many", "one")
            .header("x-many", "two")
            .header("data-bin", "AAE")
            .header("host", "build.example")
            .header("keep-alive", "5")
            .body(())
            .unwrap();
        let onward = request(&incoming).unwrap();
        assert_eq!(onward.uri(), "http://localhost/a.B/C?d");
        assert_eq!(onward.headers()["te"], "trailers");
        assert_eq!(onward.headers()["data-bin"], "AAE");
        let many: Vec<_> = onward.headers().get_all("x-many").iter().collect();
        assert_eq!(many, ["one", "two"]);
        assert!(!onward.headers().contains_key("host"));
        assert!(!onward.headers().contains_key("keep-alive"));
    }
}
