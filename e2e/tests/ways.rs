//! The ways round the session: exports that BuildKit makes itself and that the gateway relays.

use std::{fs, path::Path};

use prost::Message;
use tokio::net::UnixStream;
use tonic::transport::Endpoint;

use crate::harness::{Api, Build, Builder, Daemon, Lab, Site, version};

/// A buildkitd that checks signatures names its indexes as signed ones.
const VERIFY: &str = "[cache.gha.verify]\nrequired = true\n";

#[test]
fn an_export_of_a_buildkitd_with_signatures_is_relayed() {
    version::must_sign();
    let site = Site::new();
    let config = site.lab.path("buildkitd.toml");
    fs::write(&config, VERIFY).expect("write the configuration");
    let daemon = Daemon::gateway_with(&site.lab, "gateway", |gateway| {
        gateway.arg("--config").arg(&config);
    });
    let builder = Builder::buildctl(&daemon);
    for (api, scope) in [(Api::V1, "one"), (Api::V2, "two")] {
        let cache = site.gha(api, &format!(",mode=max,scope={scope},async=true"));
        let built = builder.build(&Build::new(&site.context).to(cache)).ok();
        let ignored = built
            .warnings
            .iter()
            .filter(|text| text.contains("async=true is ignored"));
        assert_eq!(ignored.count(), 1, "{:?}", built.warnings);
        let keys = site.keys(&format!("index-{scope}-"));
        assert_eq!(keys.len(), 1, "{keys:?}");
        assert!(keys[0].ends_with("-sig#1"), "{keys:?}");
    }
    assert!(!site.keys("buildkit-blob-").is_empty());
}

/// No client of BuildKit's leaves its session out, so this one speaks gRPC itself.
#[test]
fn an_export_without_a_session_is_relayed() {
    let site = Site::new();
    let daemon = Daemon::gateway(&site.lab, "gateway");
    let request = SolveRequest {
        reference: "a-build-without-a-session".into(),
        definition: Some(one_file()),
        cache: Some(CacheOptions {
            exports: vec![CacheOptionsEntry {
                kind: "gha".into(),
                attrs: [
                    ("url", site.service.url().as_str()),
                    ("token", &site.token),
                    ("mode", "max"),
                ]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            }],
        }),
    };
    let solved = call::<_, SolveResponse>(daemon.socket(), "Control/Solve", request);
    solved.expect("the build works");
    assert_eq!(site.keys("index-buildkit-").len(), 1);
}

/// It is for buildkitd to say that there is no such method, and whether a message makes sense.
#[test]
fn what_the_gateway_does_not_know_is_buildkitds_to_answer() {
    let lab = Lab::new();
    let stock = Daemon::stock(&lab, "stock");
    let gateway = Daemon::in_front_of(&stock, "gateway", |_| ());
    for method in ["Control/SolveLater", "LaterControl/Solve"] {
        let [direct, through] = [&stock, &gateway].map(|daemon| {
            let later = Later { field: 7 };
            let refused = call::<_, Later>(daemon.socket(), method, later);
            let refused = refused.expect_err("no such method");
            (refused.code(), refused.message().to_owned())
        });
        assert_eq!(direct.0, tonic::Code::Unimplemented);
        assert_eq!(through, direct);
    }
    // A field that this version of either does not have.
    let workers = [&stock, &gateway].map(|daemon| {
        let workers = call(daemon.socket(), "Control/ListWorkers", Later { field: 7 });
        let workers: Workers = workers.expect("buildkitd overlooks the field");
        // Labels come in any order.
        workers.records.iter().map(Vec::len).collect::<Vec<_>>()
    });
    assert_eq!(workers[0], workers[1]);
    assert!(!workers[0].is_empty());
}

fn call<Q, A>(socket: &Path, method: &str, request: Q) -> Result<A, tonic::Status>
where
    Q: Message + Send + Sync + 'static,
    A: Message + Default + Send + Sync + 'static,
{
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let socket = socket.to_owned();
    runtime.block_on(async {
        let connector = tower::service_fn(move |_| {
            let socket = socket.clone();
            async {
                UnixStream::connect(socket)
                    .await
                    .map(hyper_util::rt::TokioIo::new)
            }
        });
        let endpoint = Endpoint::from_static("http://localhost");
        let channel = endpoint.connect_with_connector(connector).await;
        let mut client = tonic::client::Grpc::new(channel.expect("connect"));
        client.ready().await.expect("the gateway takes a call");
        let codec = tonic_prost::ProstCodec::<Q, A>::default();
        let path = format!("/moby.buildkit.v1.{method}")
            .parse()
            .expect("a path");
        let request = tonic::Request::new(request);
        let answer = client.unary(request, path, codec).await;
        answer.map(tonic::Response::into_inner)
    })
}

/// A definition that makes one file from nothing, and takes it as its result.
fn one_file() -> Definition {
    let file = Op {
        inputs: Vec::new(),
        file: Some(FileOp {
            actions: vec![FileAction {
                input: -1,
                secondary_input: -1,
                output: 0,
                mkfile: Some(MkFile {
                    path: "/file".into(),
                    mode: 0o644,
                    data: b"content".to_vec(),
                    timestamp: -1,
                }),
            }],
        }),
    };
    let file = file.encode_to_vec();
    let result = Op {
        inputs: vec![Input {
            digest: buildkit_gha::digest::Digest::sha256(&file).to_string(),
            index: 0,
        }],
        file: None,
    };
    Definition {
        def: vec![file, result.encode_to_vec()],
    }
}

// What the request needs of BuildKit's control.proto and ops.proto.

#[derive(Clone, PartialEq, Message)]
struct SolveRequest {
    #[prost(string, tag = "1")]
    reference: String,
    #[prost(message, optional, tag = "2")]
    definition: Option<Definition>,
    #[prost(message, optional, tag = "8")]
    cache: Option<CacheOptions>,
}

#[derive(Clone, PartialEq, Message)]
struct SolveResponse {}

/// A message of a later version.
#[derive(Clone, PartialEq, Message)]
struct Later {
    #[prost(uint32, tag = "1000")]
    field: u32,
}

#[derive(Clone, PartialEq, Message)]
struct Workers {
    #[prost(bytes = "vec", repeated, tag = "1")]
    records: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct CacheOptions {
    #[prost(message, repeated, tag = "4")]
    exports: Vec<CacheOptionsEntry>,
}

#[derive(Clone, PartialEq, Message)]
struct CacheOptionsEntry {
    #[prost(string, tag = "1")]
    kind: String,
    #[prost(map = "string, string", tag = "2")]
    attrs: std::collections::HashMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
struct Definition {
    #[prost(bytes = "vec", repeated, tag = "1")]
    def: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct Op {
    #[prost(message, repeated, tag = "1")]
    inputs: Vec<Input>,
    #[prost(message, optional, tag = "4")]
    file: Option<FileOp>,
}

#[derive(Clone, PartialEq, Message)]
struct Input {
    #[prost(string, tag = "1")]
    digest: String,
    #[prost(int64, tag = "2")]
    index: i64,
}

#[derive(Clone, PartialEq, Message)]
struct FileOp {
    #[prost(message, repeated, tag = "2")]
    actions: Vec<FileAction>,
}

#[derive(Clone, PartialEq, Message)]
struct FileAction {
    #[prost(int64, tag = "1")]
    input: i64,
    #[prost(int64, tag = "2")]
    secondary_input: i64,
    #[prost(int64, tag = "3")]
    output: i64,
    #[prost(message, optional, tag = "5")]
    mkfile: Option<MkFile>,
}

#[derive(Clone, PartialEq, Message)]
struct MkFile {
    #[prost(string, tag = "1")]
    path: String,
    #[prost(int32, tag = "2")]
    mode: i32,
    #[prost(bytes = "vec", tag = "3")]
    data: Vec<u8>,
    #[prost(int64, tag = "5")]
    timestamp: i64,
}
