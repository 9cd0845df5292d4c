//! A status of gRPC as HTTP/2 carries it: in trailers, or in the head of a trailers-only response.

use bytes::Bytes;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Response, header::CONTENT_TYPE};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::gateway::interceptor::GrpcStatus;

/// The header of a trailers-only response, and the trailer of any other.
pub(super) const GRPC_STATUS: &str = "grpc-status";
const GRPC_MESSAGE: &str = "grpc-message";

/// gRPC leaves printable ASCII but `%` as it is.
const MESSAGE_ESCAPES: &AsciiSet = &CONTROLS.add(b'%');

impl GrpcStatus {
    /// As trailers, or as the headers of a trailers-only response.
    pub(crate) fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(GRPC_STATUS, HeaderValue::from(self.code as i32));
        let message = utf8_percent_encode(&self.message, MESSAGE_ESCAPES).to_string();
        if let Ok(message) = HeaderValue::try_from(message) {
            headers.insert(GRPC_MESSAGE, message);
        }
        headers
    }

    /// Answers a call with nothing but this status.
    pub(crate) fn answer(&self, respond: &mut SendResponse<Bytes>) -> Result<(), h2::Error> {
        let mut response = Response::new(());
        *response.headers_mut() = self.headers();
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        respond.send_response(response, true).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::interceptor::Code;

    #[test]
    fn words_survive_as_header_values() {
        let status = GrpcStatus::new(Code::Unavailable, "100% gone\nto lunch: é");
        let headers = status.headers();
        assert_eq!(headers[GRPC_STATUS], "14");
        assert_eq!(headers[GRPC_MESSAGE], "100%25 gone%0Ato lunch: %C3%A9");
    }
}
