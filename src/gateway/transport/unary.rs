//! Calls of the gateway's own to buildkitd, each on a connection of its own: there are few.

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Uri, header};

use super::{
    frame::{self, FrameError, MessageDecoder},
    grpc::GRPC_STATUS,
    upstream::Upstream,
};
use crate::{
    gateway::interceptor::{Code, Daemon, GrpcStatus},
    lifecycle::Tasks,
    net::Address,
};

/// The code of a call that succeeded.
const OK: &[u8] = b"0";

/// Makes calls to one buildkitd.
pub(crate) struct UnaryClient {
    address: Address,
    tasks: Tasks,
}

impl UnaryClient {
    /// Calls what listens at `address`.
    pub(crate) fn new(address: Address, tasks: Tasks) -> Self {
        Self { address, tasks }
    }
}

#[async_trait]
impl Daemon for UnaryClient {
    async fn call(
        &self,
        path: &'static str,
        metadata: &[(&'static str, &str)],
        message: Bytes,
    ) -> Result<Bytes, GrpcStatus> {
        let (request, frame) = (request(path, metadata)?, frame::encode(&message)?);
        let upstream = Upstream::new(self.address.clone(), self.tasks.clone());
        let mut requests = upstream.requests().await?;
        let (response, mut send) = requests.send_request(request, false).map_err(broken)?;
        send.send_data(frame, true).map_err(broken)?;
        let (head, mut body) = response.await.map_err(broken)?.into_parts();
        let mut messages = MessageDecoder::default();
        let mut answer = None;
        while let Some(data) = body.data().await {
            let data = data.map_err(broken)?;
            messages.push(&data);
            let _ = body.flow_control().release_capacity(data.len());
            answer = answer.or(messages.pop()?);
        }
        let trailers = body.trailers().await.map_err(broken)?.unwrap_or_default();
        let status = trailers.get(GRPC_STATUS).or(head.headers.get(GRPC_STATUS));
        match status.map(HeaderValue::as_bytes) {
            Some(OK) => answer.ok_or(FrameError::MessageCount(0).into()),
            status => {
                let code = Code::from_bytes(status.unwrap_or_default());
                Err(GrpcStatus::new(code, format!("buildkitd refused {path}")))
            }
        }
    }
}

fn request(
    path: &'static str,
    metadata: &[(&'static str, &str)],
) -> Result<Request<()>, GrpcStatus> {
    let invalid = |what: &str| GrpcStatus::new(Code::InvalidArgument, what.to_owned());
    let mut request = Request::new(());
    *request.method_mut() = Method::POST;
    let uri = format!("http://localhost{path}");
    *request.uri_mut() = Uri::try_from(uri).map_err(|_| invalid("no path of a call"))?;
    let headers = request.headers_mut();
    let grpc = HeaderValue::from_static("application/grpc");
    headers.insert(header::CONTENT_TYPE, grpc);
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
    for (name, value) in metadata {
        let value = HeaderValue::from_str(value).map_err(|_| invalid("no value of metadata"))?;
        headers.insert(HeaderName::from_static(name), value);
    }
    Ok(request)
}

#[allow(clippy::needless_pass_by_value, reason = "the form that map_err wants")]
fn broken(error: h2::Error) -> GrpcStatus {
    GrpcStatus::new(Code::Unavailable, format!("buildkitd: {error}"))
}
