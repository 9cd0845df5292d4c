use std::{
    io::Read as _,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, body::Bytes, extract::State, routing::post};
use flate2::read::GzDecoder;
use http::{HeaderMap, Response, StatusCode};
use prost::Message as _;
use tokio::net::TcpListener;
use url::Url;

use super::*;
use crate::{
    lifecycle::{TaskGuard, Tasks},
    proto::trace::{
        ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
        ResourceSpans,
    },
    secret::Secret,
};

/// What a collector was sent: the call's path, its headers, its body.
type Calls = Arc<Mutex<Vec<(String, HeaderMap, Vec<u8>)>>>;

fn message() -> bytes::Bytes {
    let request = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans::default()],
    };
    request.encode_to_vec().into()
}

fn refusing(spans: i64) -> Vec<u8> {
    let partial = ExportTracePartialSuccess {
        rejected_spans: spans,
        error_message: "too old".to_owned(),
    };
    let response = ExportTraceServiceResponse {
        partial_success: Some(partial),
    };
    response.encode_to_vec()
}

fn config(protocol: Protocol, address: SocketAddr, path: &str) -> Config {
    let endpoint = Url::parse(&format!("http://{address}{path}")).unwrap();
    let token = ("authorization".to_owned(), Secret::new("Bearer hunter2"));
    Config {
        headers: vec![token],
        retry_wait: Duration::ZERO,
        ..Config::new(protocol, endpoint)
    }
}

/// A collector over HTTP that answers so, one answer after the other.
async fn over_http(answers: Vec<(StatusCode, Vec<u8>)>) -> (SocketAddr, Calls, TaskGuard) {
    type Shared = (Calls, Arc<Mutex<Vec<(StatusCode, Vec<u8>)>>>);
    async fn take(
        State((calls, answers)): State<Shared>,
        headers: HeaderMap,
        body: Bytes,
    ) -> (StatusCode, Vec<u8>) {
        calls
            .lock()
            .unwrap()
            .push((String::new(), headers, body.to_vec()));
        answers.lock().unwrap().remove(0)
    }
    let calls = Calls::default();
    let state = (Arc::clone(&calls), Arc::new(Mutex::new(answers)));
    let router = Router::new()
        .route("/v1/traces", post(take))
        .with_state(state);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = Tasks::default().spawn_guarded("collector", async move {
        axum::serve(listener, router).await.unwrap();
    });
    (address, calls, serving)
}

/// A collector over gRPC that ends its calls with these statuses, one after the other.
async fn over_grpc(statuses: Vec<&'static str>) -> (SocketAddr, Calls, TaskGuard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let calls = Calls::default();
    let seen = Arc::clone(&calls);
    let serving = Tasks::default().spawn_guarded("collector", async move {
        let (io, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(io).await.unwrap();
        let mut statuses = statuses.into_iter();
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            let (head, mut body) = request.into_parts();
            // One small message is one piece.
            let data = body.data().await.unwrap().unwrap();
            let call = (head.uri.path().to_owned(), head.headers, data.to_vec());
            seen.lock().unwrap().push(call);
            let mut back = respond.send_response(Response::new(()), false).unwrap();
            let mut trailers = HeaderMap::new();
            let status = statuses.next().unwrap();
            if status == "0" {
                back.send_data(vec![0; 5].into(), false).unwrap();
            }
            trailers.insert("grpc-status", status.parse().unwrap());
            trailers.insert("grpc-message", "in words".parse().unwrap());
            back.send_trailers(trailers).unwrap();
        }
    });
    (address, calls, serving)
}

fn unzipped(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    GzDecoder::new(bytes).read_to_end(&mut plain).unwrap();
    plain
}

#[tokio::test]
async fn spans_are_posted_to_the_endpoint_with_its_headers() {
    let (address, calls, _serving) = over_http(vec![(StatusCode::OK, vec![]); 2]).await;
    for gzip in [false, true] {
        let config = Config {
            gzip,
            ..config(Protocol::HttpProtobuf, address, "/v1/traces")
        };
        let exporter = Exporter::new(config).unwrap();
        assert!(!format!("{exporter:?}").contains("hunter2"));
        exporter.send(&message()).await.unwrap();
    }
    let calls = calls.lock().unwrap();
    let [plain, zipped] = &calls[..] else {
        panic!("{} calls", calls.len());
    };
    assert_eq!(plain.1["authorization"], "Bearer hunter2");
    assert_eq!(plain.1["content-type"], "application/x-protobuf");
    assert_eq!(plain.2, message());
    assert_eq!(zipped.1["content-encoding"], "gzip");
    assert_eq!(unzipped(&zipped.2), message());
}

#[tokio::test]
async fn what_may_pass_is_tried_again_and_nothing_else() {
    let ok = (StatusCode::OK, vec![]);
    let busy = (StatusCode::SERVICE_UNAVAILABLE, vec![]);
    for (answers, attempts, error) in [
        (vec![busy.clone(), ok], 2, ""),
        (vec![busy.clone(), busy.clone(), busy], 3, "503"),
        (vec![(StatusCode::FORBIDDEN, vec![])], 1, "403"),
        (
            vec![(StatusCode::OK, refusing(3))],
            1,
            "refuses 3 spans: too old",
        ),
        (vec![(StatusCode::OK, b"<html>".to_vec())], 1, "not OTLP"),
    ] {
        let (address, calls, _serving) = over_http(answers).await;
        let config = config(Protocol::HttpProtobuf, address, "/v1/traces");
        let sent = Exporter::new(config).unwrap().send(&message()).await;
        let said = sent
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default();
        assert!(
            said.contains(error) && said.is_empty() == error.is_empty(),
            "{said}"
        );
        assert_eq!(calls.lock().unwrap().len(), attempts, "{error}");
    }
}

#[tokio::test]
async fn grpc_has_its_path_its_frames_and_its_status() {
    let (address, calls, _serving) = over_grpc(vec!["14", "0", "7"]).await;
    let config = Config {
        gzip: true,
        ..config(Protocol::Grpc, address, "")
    };
    let exporter = Exporter::new(config).unwrap();
    exporter.send(&message()).await.unwrap();
    let refused = exporter.send(&message()).await.unwrap_err().to_string();
    assert_eq!(refused, "it answers PermissionDenied: in words");
    let calls = calls.lock().unwrap();
    assert_eq!(calls.len(), 3, "an unavailable collector is tried again");
    let (path, headers, body) = &calls[0];
    assert_eq!(
        path,
        "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
    );
    assert_eq!(headers["authorization"], "Bearer hunter2");
    assert_eq!(headers["grpc-encoding"], "gzip");
    let (prefix, zipped) = body.split_at(5);
    assert_eq!(
        prefix,
        [
            &[1][..],
            &u32::try_from(zipped.len()).unwrap().to_be_bytes()
        ]
        .concat()
    );
    assert_eq!(unzipped(zipped), message());
}

#[tokio::test]
async fn mistakes_are_said_before_anything_is_sent() {
    let address = SocketAddr::from(([127, 0, 0, 1], 9));
    let with = |edit: fn(&mut Config)| {
        let mut config = config(Protocol::Grpc, address, "");
        edit(&mut config);
        Exporter::new(config)
            .map(drop)
            .map_err(|error| error.to_string())
    };
    assert_eq!(with(|_| ()), Ok(()));
    let missing = with(|config| config.certificate = Some("/does/not/exist.pem".into()));
    assert!(missing.unwrap_err().contains("/does/not/exist.pem"));
    let secret = || Secret::new("hunter2\n");
    let header = with(|config| config.headers = vec![("x".to_owned(), Secret::new("hunter2\n"))]);
    assert!(!header.unwrap_err().contains(secret().expose().trim()));
    let name = with(|config| config.headers = vec![("x y".to_owned(), Secret::new("v"))]);
    assert!(name.unwrap_err().contains("OTEL_EXPORTER_OTLP_HEADERS"));
}
