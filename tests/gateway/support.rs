//! A gateway between a client and a buildkitd that are bare HTTP/2.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use buildkit_gha::{
    content,
    gateway::{
        Config, Gateway, GrpcStatus, Interceptor, RewrittenSolve, SolveCompletion, StatusEditor,
        Tracer,
    },
    lifecycle::{TaskGuard, Tasks},
    net::{Address, Owner},
    proto::control::StatusRequest,
};
use bytes::{BufMut as _, Bytes, BytesMut};
use h2::{RecvStream, SendStream, client::SendRequest, server::SendResponse};
use http::Request;
use prost::Message as _;
use tokio::{
    net::{UnixListener, UnixStream},
    sync::mpsc,
    task::JoinSet,
};

/// More than any test has under way.
const QUEUE: usize = 16;

pub struct Fixture {
    pub client: SendRequest<Bytes>,
    pub upstream: Upstream,
    pub probe: Watch,
    pub tasks: Tasks,
    socket: PathBuf,
    connection: Option<TaskGuard>,
    _gateway: TaskGuard,
    _dir: tempfile::TempDir,
}

impl Fixture {
    pub async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let own = Tasks::default();
        let tasks = Tasks::default();
        let upstream = Upstream::start(dir.path().join("d.sock"), &own);
        let (probe, watch) = Probe::watched();
        let socket = dir.path().join("g.sock");
        let config = Config {
            listen: vec![Address::Unix(socket.clone())],
            owner: Owner::default(),
            tls: None,
            upstream: Address::Unix(upstream.path.clone()),
            tracer: Tracer::default(),
        };
        let gateway = Gateway::bind(config, Arc::new(probe), tasks.clone());
        let gateway = gateway.await.unwrap();
        let gateway = own.spawn_guarded("gateway", gateway.run());
        let io = UnixStream::connect(&socket).await.unwrap();
        let (client, connection) = h2::client::handshake(io).await.unwrap();
        let connection = own.spawn_guarded("client", async move {
            let _ = connection.await;
        });
        Self {
            client,
            upstream,
            probe: watch,
            tasks,
            socket,
            connection: Some(connection),
            _gateway: gateway,
            _dir: dir,
        }
    }

    /// Another connection to the gateway, on which nothing has been said.
    #[allow(dead_code, reason = "not every test floods")]
    pub async fn connect(&self) -> UnixStream {
        UnixStream::connect(&self.socket).await.unwrap()
    }

    /// The client's connection is gone without a word.
    pub fn hang_up(&mut self) {
        self.connection.take();
    }
}

/// What buildkitd sees.
pub struct Upstream {
    path: PathBuf,
    calls: mpsc::Receiver<Call>,
    serving: Option<TaskGuard>,
}

type Call = (Request<RecvStream>, SendResponse<Bytes>);

impl Upstream {
    fn start(path: PathBuf, tasks: &Tasks) -> Self {
        let listener = UnixListener::bind(&path).unwrap();
        let (send, calls) = mpsc::channel(QUEUE);
        let serving = tasks.spawn_guarded("upstream", async move {
            let mut connections = JoinSet::new();
            loop {
                let (io, _) = listener.accept().await.unwrap();
                let send = send.clone();
                connections.spawn(async move {
                    let Ok(mut connection) = h2::server::handshake(io).await else {
                        return;
                    };
                    while let Some(Ok(call)) = connection.accept().await {
                        if send.send(call).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self {
            path,
            calls,
            serving: Some(serving),
        }
    }

    /// The next call that came through.
    pub async fn call(&mut self) -> Call {
        self.calls.recv().await.expect("a call comes through")
    }

    /// Ends it; the path that nobody answers at any more.
    pub fn leave(&mut self) -> PathBuf {
        self.serving.take();
        std::fs::remove_file(&self.path).unwrap();
        self.path.clone()
    }
}

/// Changes messages visibly and reports the calls of its methods.
struct Probe {
    events: mpsc::Sender<String>,
    injected: Mutex<Option<mpsc::Receiver<Bytes>>>,
    closed: Arc<AtomicBool>,
}

/// The test's side of a [`Probe`].
pub struct Watch {
    events: mpsc::Receiver<String>,
    inject: mpsc::Sender<Bytes>,
    closed: Arc<AtomicBool>,
}

impl Watch {
    /// The next thing that happened.
    pub async fn event(&mut self) -> String {
        self.events.recv().await.expect("something happens")
    }

    /// Builds are refused from now on.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    /// Adds a message to the status stream.
    pub async fn inject(&self, message: &'static str) {
        self.inject
            .send(Bytes::from_static(message.as_bytes()))
            .await
            .unwrap();
    }
}

impl Probe {
    fn watched() -> (Self, Watch) {
        let (send, events) = mpsc::channel(QUEUE);
        let (inject, injected) = mpsc::channel(QUEUE);
        let closed = Arc::<AtomicBool>::default();
        let probe = Self {
            events: send,
            injected: Mutex::new(Some(injected)),
            closed: Arc::clone(&closed),
        };
        let watch = Watch {
            events,
            inject,
            closed,
        };
        (probe, watch)
    }

    fn report(&self, event: impl Into<String>) {
        let _ = self.events.try_send(event.into());
    }

    fn on_drop(&self, event: &'static str) -> OnDrop {
        OnDrop(self.events.clone(), event)
    }
}

/// Reports its event when it is dropped.
struct OnDrop(mpsc::Sender<String>, &'static str);

impl Drop for OnDrop {
    fn drop(&mut self) {
        let _ = self.0.try_send(self.1.into());
    }
}

#[async_trait]
impl Interceptor for Probe {
    async fn solve(&self, _: Option<&str>, request: Bytes) -> Result<RewrittenSolve, GrpcStatus> {
        Ok(RewrittenSolve {
            request: append(&request, ", changed"),
            completion: Box::new(Finisher(self.on_drop("dropped"))),
        })
    }

    async fn llb_solve(
        &self,
        build_ref: Option<&str>,
        _: Bytes,
    ) -> Result<RewrittenSolve, GrpcStatus> {
        let _guard = self.on_drop("let go");
        self.report(format!("holding for {}", build_ref.unwrap_or("nobody")));
        std::future::pending().await
    }

    fn trace(&self, request: Bytes) -> Bytes {
        request
    }

    fn status(&self, request: &Bytes) -> Result<Box<dyn StatusEditor>, GrpcStatus> {
        let request = StatusRequest::decode(request.as_ref()).unwrap();
        self.report(format!("status of {}", request.r#ref));
        let injected = self.injected.lock().unwrap().take();
        Ok(Box::new(Editor(injected.expect("one status stream"))))
    }

    fn content_host(&self, _: &str) -> Option<Arc<dyn content::Host>> {
        None
    }

    fn session_up(&self, session_id: &str) {
        self.report(format!("{session_id} up"));
    }

    fn session_down(&self, session_id: &str) {
        self.report(format!("{session_id} down"));
    }

    fn takes_builds(&self) -> bool {
        !self.closed.load(Ordering::Relaxed)
    }
}

struct Finisher(OnDrop);

impl SolveCompletion for Finisher {
    fn edit_response(mut self: Box<Self>, message: Bytes) -> Bytes {
        self.0.1 = "finished";
        append(&message, ", edited")
    }
}

struct Editor(mpsc::Receiver<Bytes>);

#[async_trait]
impl StatusEditor for Editor {
    fn edit(&mut self, message: Bytes) -> Option<Bytes> {
        Some(append(&message, ", edited"))
    }

    async fn next(&mut self) -> Bytes {
        match self.0.recv().await {
            Some(message) => message,
            None => std::future::pending().await,
        }
    }

    fn finish(&mut self) -> Option<Bytes> {
        Some(Bytes::from_static(b"last"))
    }
}

fn append(message: &[u8], more: &str) -> Bytes {
    [message, more.as_bytes()].concat().into()
}

/// A message in its gRPC frame.
pub fn frame(message: &str) -> Bytes {
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(message.len().try_into().unwrap());
    frame.put(message.as_bytes());
    frame.freeze()
}

/// The messages of a body.
pub fn messages(mut body: &[u8]) -> Vec<String> {
    let mut messages = Vec::new();
    while let Some((prefix, rest)) = body.split_first_chunk::<5>() {
        let length = u32::from_be_bytes(prefix[1..].try_into().unwrap());
        let (message, rest) = rest.split_at(length.try_into().unwrap());
        messages.push(String::from_utf8(message.to_vec()).unwrap());
        body = rest;
    }
    messages
}

/// The next message of a body; the gateway sends each in one frame of HTTP/2.
pub async fn next_message(body: &mut RecvStream) -> String {
    let data = body.data().await.expect("a message").unwrap();
    body.flow_control().release_capacity(data.len()).unwrap();
    messages(&data).remove(0)
}

/// All of a body.
pub async fn read_all(body: &mut RecvStream) -> Result<Bytes, h2::Error> {
    let mut all = BytesMut::new();
    while let Some(data) = body.data().await {
        let data = data?;
        all.extend_from_slice(&data);
        let _ = body.flow_control().release_capacity(data.len());
    }
    Ok(all.freeze())
}

/// Sends all of `data` and ends the body.
pub async fn send_all(to: &mut SendStream<Bytes>, mut data: Bytes) -> Result<(), h2::Error> {
    while !data.is_empty() {
        to.reserve_capacity(data.len());
        while to.capacity() == 0 {
            let capacity = std::future::poll_fn(|cx| to.poll_capacity(cx)).await;
            capacity.expect("the stream is open")?;
        }
        let piece = data.split_to(to.capacity().min(data.len()));
        to.send_data(piece, data.is_empty())?;
    }
    Ok(())
}
