//! What becomes of the cache options of builds, without a buildkitd: the end-to-end suite has one.

use std::{collections::BTreeMap, net::SocketAddr, slice::from_ref, time::Duration};

use jiff::{SignedDuration, Timestamp};
use prost::Message as _;
use url::Url;

use super::*;
use crate::{
    actions::{Http, HttpConfig},
    cache::{
        self,
        attributes::{OperatorService, OperatorToken, Overrides},
    },
    gateway::{
        build::rewrite::SolveRequest,
        config::INDEX_WAIT,
        endpoint::{STALL_TIMEOUT, token},
    },
    lifecycle::Tasks,
    proto::control::{CacheOptionsEntry, StatusResponse},
    protocol::scope::{Permission, Scope},
    secret::Secret,
    wire,
};

/// A service that refuses every connection: nothing here needs one that answers.
const NOWHERE: &str = "http://127.0.0.1:9/";

/// As by default, but no build waits for indexes.
fn config() -> InterceptorConfig {
    InterceptorConfig {
        index_wait: Duration::ZERO,
        ..InterceptorConfig::default()
    }
}

/// Nothing here has a bridge, so that nobody is called.
struct NoDaemon;

#[async_trait]
impl Daemon for NoDaemon {
    async fn call(
        &self,
        path: &'static str,
        _: &[(&'static str, &str)],
        _: Bytes,
    ) -> Result<Bytes, GrpcStatus> {
        Err(GrpcStatus::new(Code::Unavailable, path))
    }
}

struct Fixture {
    interceptor: BuildInterceptor,
    _spool: tempfile::TempDir,
}

impl Fixture {
    async fn new(config: InterceptorConfig) -> Self {
        let spool = tempfile::tempdir().unwrap();
        let tasks = Tasks::default();
        let http = Http::new(&HttpConfig::default()).unwrap();
        let dir = spool.path().to_owned();
        let cache = Cache::new(dir, cache::Config::default(), http, tasks.clone()).unwrap();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let endpoint = Endpoint::bind(any, None, None, STALL_TIMEOUT, &tasks)
            .await
            .unwrap();
        Self {
            interceptor: BuildInterceptor::new(config, cache, endpoint, Arc::new(NoDaemon), tasks),
            _spool: spool,
        }
    }

    /// Sends a Solve and reads what buildkitd would get.
    async fn solve(&self, request: &[u8]) -> (SolveRequest, Box<dyn SolveCompletion>) {
        let solve = self
            .interceptor
            .solve(None, Bytes::copy_from_slice(request))
            .await;
        let solve = solve.map_err(|status| status.to_string()).unwrap();
        (
            rewrite::read_solve(&solve.request).unwrap(),
            solve.completion,
        )
    }

    /// What a Status stream of the build has of ours.
    fn seen(&self) -> StatusResponse {
        let request = StatusRequest {
            r#ref: "build".to_owned(),
        };
        let stream = self.interceptor.status(&request.encode_to_vec().into());
        let mut stream = stream.map_err(|status| status.to_string()).unwrap();
        let message = stream.finish().unwrap_or_default();
        StatusResponse::decode(message).unwrap()
    }

    fn rows(&self) -> Vec<String> {
        self.seen().statuses.into_iter().map(|row| row.id).collect()
    }

    /// The warnings that a Status stream of the build has.
    fn warnings(&self) -> Vec<String> {
        let response = self.seen();
        let shorts = response.warnings.into_iter().map(|warning| warning.short);
        shorts
            .map(|short| String::from_utf8(short).unwrap())
            .collect()
    }
}

fn token(permission: Permission) -> String {
    let soon = Timestamp::now() + SignedDuration::from_hours(1);
    let scopes = [Scope::new("refs/heads/main", permission)];
    token::mint(&scopes, soon).expose().to_owned()
}

fn gha(attrs: &[(&str, &str)]) -> Vec<u8> {
    let written = token(Permission::READ_WRITE);
    let mut all = BTreeMap::from([("url", NOWHERE), ("token", &written)]);
    all.extend(attrs.iter().copied());
    let attrs = all.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned()));
    let entry = CacheOptionsEntry {
        r#type: "gha".into(),
        attrs: attrs.collect(),
    };
    entry.encode_to_vec()
}

/// A Control.Solve request of the build "build" on the session "session".
fn request(exports: &[Vec<u8>], imports: &[Vec<u8>]) -> Vec<u8> {
    let mut cache = Vec::new();
    for export in exports {
        wire::append(&mut cache, 4, export);
    }
    for import in imports {
        wire::append(&mut cache, 5, import);
    }
    let mut request = Vec::new();
    wire::append(&mut request, 1, b"build");
    wire::append(&mut request, 5, b"session");
    wire::append(&mut request, 8, &cache);
    request
}

fn llb_request(imports: &[Vec<u8>]) -> Bytes {
    let mut request = Vec::new();
    for import in imports {
        wire::append(&mut request, 12, import);
    }
    request.into()
}

#[tokio::test]
async fn an_export_with_a_session_goes_to_a_store_that_lives_as_long_as_the_build() {
    let fixture = Fixture::new(config()).await;
    fixture.interceptor.session_up("session");
    let export = gha(&[("scope", "a"), ("mode", "max")]);
    let (sent, finish) = fixture.solve(&request(&[export], &[])).await;
    let [entry] = sent.exports.as_slice() else {
        panic!("{} exports", sent.exports.len());
    };
    assert_eq!(
        (entry.kind.as_str(), entry.attrs["mode"].as_str()),
        ("local", "max")
    );
    assert!(!entry.attrs.contains_key("token"));
    let store = attributes::store_id(&entry.attrs["dest"]);
    assert!(fixture.interceptor.content_host(&store).is_some());
    assert!(
        fixture
            .interceptor
            .content_host("local:of the user")
            .is_none()
    );
    drop(finish);
    assert!(fixture.interceptor.content_host(&store).is_none());
    assert_eq!(fixture.warnings(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn an_export_without_a_session_goes_to_the_endpoint() {
    let fixture = Fixture::new(config()).await;
    let (sent, _finish) = fixture.solve(&request(&[gha(&[])], &[])).await;
    let entry = &sent.exports[0];
    assert_eq!(entry.kind, "gha");
    assert!(entry.attrs["url"].starts_with("http://127.0.0.1:"));
    assert_ne!(entry.attrs["url"], NOWHERE);
    assert_eq!(entry.attrs["ignore-error"], "true");
}

#[tokio::test]
async fn an_export_of_a_buildkitd_that_signs_goes_to_the_endpoint() {
    let config = InterceptorConfig {
        signed: true,
        ..config()
    };
    let fixture = Fixture::new(config).await;
    fixture.interceptor.session_up("session");
    let (sent, _finish) = fixture.solve(&request(&[gha(&[])], &[])).await;
    assert_eq!(sent.exports[0].kind, "gha");
}

#[tokio::test]
async fn an_import_says_the_same_in_solve_and_llb_solve_and_hides_the_token() {
    let fixture = Fixture::new(config()).await;
    let import = gha(&[("scope", "a")]);
    let (sent, finish) = fixture.solve(&request(&[], from_ref(&import))).await;
    let llb = fixture
        .interceptor
        .llb_solve(Some("build"), llb_request(from_ref(&import)));
    let llb = llb.await.map_err(|status| status.to_string()).unwrap();
    assert_eq!(
        rewrite::read_llb_imports(&llb.request).unwrap(),
        sent.imports
    );
    let real = CacheOptionsEntry::decode(import.as_slice()).unwrap();
    assert_ne!(sent.imports[0].attrs["token"], real.attrs["token"]);
    assert!(sent.imports[0].attrs["url"].starts_with("http://127.0.0.1:"));

    drop(finish);
    let late = fixture
        .interceptor
        .llb_solve(Some("build"), llb_request(from_ref(&import)));
    let late = late.await.map_err(|status| status.to_string()).unwrap();
    assert_eq!(
        late.request,
        llb_request(&[import]),
        "no known build: passed as it is"
    );
}

#[tokio::test]
async fn what_cannot_be_used_is_left_out_with_one_warning() {
    for (export, word) in [
        (gha(&[("timeout", "soon")]), "timeout"),
        (gha(&[("token", "no JWT")]), "JWT"),
        (
            gha(&[("token", &token(Permission::READ))]),
            "refs/heads/main",
        ),
    ] {
        let fixture = Fixture::new(config()).await;
        let (sent, _finish) = fixture.solve(&request(&[export], &[])).await;
        assert_eq!(sent.exports, []);
        let warnings = fixture.warnings();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].contains(word), "{warnings:?}");
        assert!(!warnings[0].contains("no JWT"), "it may hold a secret");
    }
}

#[tokio::test]
async fn a_value_that_buildkit_overlooks_costs_no_export() {
    let fixture = Fixture::new(config()).await;
    fixture.interceptor.session_up("session");
    let entry = gha(&[("mode", "most"), ("compression", "lzma")]);
    let (sent, _finish) = fixture
        .solve(&request(from_ref(&entry), from_ref(&entry)))
        .await;
    assert_eq!(sent.exports[0].attrs["mode"], "min");
    assert!(!sent.exports[0].attrs.contains_key("compression"));
    assert_eq!(fixture.warnings().len(), 2, "{:?}", fixture.warnings());
}

#[tokio::test]
async fn a_service_that_steps_may_listen_to_is_told_of_once() {
    for (url, steps_share_network, told) in [
        (NOWHERE, true, 1),
        (NOWHERE, false, 0),
        ("https://127.0.0.1:9/", true, 0),
    ] {
        let config = InterceptorConfig {
            steps_share_network,
            ..config()
        };
        let fixture = Fixture::new(config).await;
        fixture.interceptor.session_up("session");
        let entry = gha(&[("url", url)]);
        let (_, _finish) = fixture
            .solve(&request(from_ref(&entry), from_ref(&entry)))
            .await;
        let rows = fixture.rows();
        let rows = rows.iter().filter(|row| row.contains("without TLS"));
        assert_eq!(rows.count(), told, "{url} {steps_share_network}");
    }
}

fn with_default_cache() -> InterceptorConfig {
    let attrs = [("scope", "app"), ("mode", "max")];
    InterceptorConfig {
        overrides: Overrides {
            service: OperatorService::Set {
                url: NOWHERE.parse().unwrap(),
                token: OperatorToken::Given(Secret::new(token(Permission::READ_WRITE))),
            },
            ..Overrides::default()
        },
        default_cache: Some(
            attrs
                .map(|(n, v)| (n.to_owned(), v.to_owned()))
                .into_iter()
                .collect(),
        ),
        ..config()
    }
}

#[tokio::test]
async fn a_build_without_a_cache_of_type_gha_has_the_default_one_in_all_its_calls() {
    let fixture = Fixture::new(with_default_cache()).await;
    fixture.interceptor.session_up("session");
    let registry = CacheOptionsEntry {
        r#type: "registry".into(),
        ..CacheOptionsEntry::default()
    };
    let (sent, _finish) = fixture
        .solve(&request(&[], &[registry.encode_to_vec()]))
        .await;
    assert_eq!(sent.exports[0].kind, "local");
    assert_eq!(sent.exports[0].attrs["mode"], "max");
    assert_eq!(sent.imports[0].kind, "registry");
    assert_eq!(sent.imports[1].attrs["scope"], "app");
    let mut llb = Vec::new();
    wire::append(&mut llb, 2, b"dockerfile.v0");
    let llb = fixture
        .interceptor
        .llb_solve(Some("build"), llb.into())
        .await;
    let llb = llb.map_err(|status| status.to_string()).unwrap();
    let imports = rewrite::read_llb_imports(&llb.request).unwrap();
    assert_eq!(imports, [sent.imports[1].clone(), sent.imports[1].clone()]);
    let notes = fixture.rows();
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(notes[0].contains("(mode=max,scope=app)"), "{notes:?}");
}

#[tokio::test]
async fn the_default_cache_is_for_no_other_build() {
    let named = request(&[], &[gha(&[("scope", "a")])]);
    let mut internal = request(&[], &[]);
    // SolveRequest.Internal
    internal.extend([11 << 3, 1]);
    for request in [named, internal] {
        let fixture = Fixture::new(with_default_cache()).await;
        fixture.interceptor.session_up("session");
        let (sent, _finish) = fixture.solve(&request).await;
        assert_eq!(sent.exports, []);
        assert!(sent.imports.iter().all(|e| e.attrs["scope"] == "a"));
        let llb = fixture
            .interceptor
            .llb_solve(Some("build"), Bytes::new())
            .await;
        assert!(llb.is_ok_and(|llb| llb.request.is_empty()));
        assert_eq!(fixture.rows(), [""; 0]);
    }
}

/// An address that takes connections and never answers.
fn silent() -> (std::net::TcpListener, String) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    (listener, url)
}

#[tokio::test(start_paused = true)]
async fn a_build_waits_for_its_indexes_once_however_often_it_asks() {
    let config = InterceptorConfig {
        index_wait: INDEX_WAIT,
        ..config()
    };
    let fixture = Fixture::new(config).await;
    let (_listener, url) = silent();
    let import = gha(&[("url", &url)]);
    let begun = tokio::time::Instant::now();
    let (_, _finish) = fixture.solve(&request(&[], from_ref(&import))).await;
    assert!(
        begun.elapsed() < INDEX_WAIT,
        "buildkitd asks for nothing yet"
    );
    for _ in 0..3 {
        let llb = llb_request(from_ref(&import));
        let llb = fixture.interceptor.llb_solve(Some("build"), llb).await;
        assert!(llb.is_ok());
    }
    assert_eq!(begun.elapsed().as_secs(), INDEX_WAIT.as_secs());
    let late = fixture.warnings();
    let late = late
        .iter()
        .filter(|warning| warning.contains("did not arrive"));
    assert_eq!(late.count(), 1, "{:?}", fixture.warnings());
}

#[tokio::test(start_paused = true)]
async fn a_solve_that_buildkitd_begins_with_waits_for_the_indexes() {
    for (field, value) in [(6, "dockerfile.v0"), (2, "")] {
        let config = InterceptorConfig {
            index_wait: INDEX_WAIT,
            ..config()
        };
        let fixture = Fixture::new(config).await;
        let (_listener, url) = silent();
        let mut request = request(&[], &[gha(&[("url", &url)])]);
        wire::append(&mut request, field, value.as_bytes());
        let begun = tokio::time::Instant::now();
        let (_, _finish) = fixture.solve(&request).await;
        assert_eq!(begun.elapsed().as_secs(), INDEX_WAIT.as_secs());
    }
}

#[tokio::test]
async fn what_cannot_be_used_is_an_error_where_the_user_wants_errors() {
    let fixture = Fixture::new(config()).await;
    let export = gha(&[("timeout", "soon"), ("ignore-error", "false")]);
    let refused = fixture
        .interceptor
        .solve(None, request(&[export], &[]).into())
        .await;
    let status = refused.err().expect("the Solve is refused");
    assert_eq!(status.code, Code::InvalidArgument);
    assert!(status.message.contains("timeout"), "{}", status.message);
}

#[tokio::test]
async fn an_unknown_attribute_is_one_warning_for_the_whole_build() {
    let fixture = Fixture::new(config()).await;
    fixture.interceptor.session_up("session");
    let entry = gha(&[("colour", "red")]);
    let (_, _finish) = fixture
        .solve(&request(from_ref(&entry), from_ref(&entry)))
        .await;
    let warnings = fixture.warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("colour"));
}

#[tokio::test]
async fn the_operators_url_and_token_win() {
    let overrides = Overrides {
        service: OperatorService::new(
            Url::parse("http://127.0.0.1:10/").ok(),
            Some(OperatorToken::Given(token(Permission::READ).into())),
        ),
        ..Overrides::default()
    };
    let config = InterceptorConfig {
        overrides,
        ..config()
    };
    let fixture = Fixture::new(config).await;
    let notes = || {
        fixture
            .interceptor
            .builds
            .progress("build")
            .changes_since(0)
            .1
            .statuses
    };
    let (sent, finish) = fixture.solve(&request(&[gha(&[])], &[])).await;
    assert_eq!(sent.exports, [], "the operator's token may only read");
    assert_eq!(notes(), [], "the build names a cache");
    drop(finish);
    let (_, _finish) = fixture.solve(&request(&[], &[])).await;
    assert!(notes()[0].id.contains("no cache entry of type=gha"));
}

#[tokio::test]
async fn a_build_without_gha_entries_keeps_every_byte() {
    let fixture = Fixture::new(config()).await;
    let mut sent = request(&[], &[]);
    sent.extend([0xa0, 0x06, 0x81, 0x80, 0x00]); // an unknown field, oddly encoded
    let solve = fixture.interceptor.solve(None, sent.clone().into()).await;
    let solve = solve.map_err(|status| status.to_string()).unwrap();
    assert_eq!(solve.request, sent);
    let response = Bytes::from_static(b"\x0a\x00");
    assert_eq!(solve.completion.edit_response(response.clone()), response);
}

#[tokio::test]
async fn a_gateway_that_is_closed_waits_for_its_builds_and_takes_no_others() {
    let fixture = Fixture::new(config()).await;
    let request = request(&[], &[]);
    let (_, build) = fixture.solve(&request).await;
    fixture.interceptor.close();
    let Err(refused) = fixture.interceptor.solve(None, request.into()).await else {
        panic!("a closed interceptor takes no build");
    };
    assert!(refused.to_string().contains("shutting down"), "{refused}");
    assert_eq!(fixture.interceptor.activity().builds, 1);
    let mut idle = std::pin::pin!(fixture.interceptor.idle());
    assert!(futures_util::poll!(idle.as_mut()).is_pending());
    drop(build);
    idle.await;
    assert_eq!(fixture.interceptor.activity().builds, 0);
}
