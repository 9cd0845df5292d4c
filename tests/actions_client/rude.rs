//! A peer on a bare socket that answers every connection with the same bytes, HTTP or not.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use buildkit_gha::{
    actions::{Api, Client, ClientConfig, RetryPolicy},
    lifecycle::{TaskGuard, Tasks},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};
use url::Url;

use crate::fake::{client, quick};

/// What follows the first bytes.
#[derive(Clone, Copy)]
pub enum Then {
    /// The connection ends.
    Close,
    /// The same bytes again and again, as fast as they are taken.
    Repeat(&'static [u8]),
    /// One byte now and then.
    Dribble(u8),
}

/// The time between two bytes of a [`Then::Dribble`]: often enough that no pause looks long.
const DRIBBLE: Duration = Duration::from_millis(20);

/// The peer.
pub struct Rude {
    pub base: Url,
    state: Arc<State>,
    _task: TaskGuard,
}

#[derive(Default)]
struct State {
    connections: AtomicUsize,
    written: AtomicU64,
    open: watch::Sender<usize>,
}

impl Rude {
    pub async fn start(first: impl Into<Vec<u8>>, then: Then) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}/", listener.local_addr().unwrap());
        let state = Arc::new(State::default());
        let serve = serve(listener, first.into(), then, Arc::clone(&state));
        Self {
            base: base.parse().unwrap(),
            state,
            _task: Tasks::default().spawn_guarded("rude", serve),
        }
    }

    /// A client for version 1.
    pub fn client(&self, limit: Duration) -> Client {
        client(Api::V1(self.base.clone()), impatient(limit))
    }

    /// How many connections there were.
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// Waits until the other side has left all connections; how many bytes it took.
    pub async fn taken(&self) -> u64 {
        let mut open = self.state.open.subscribe();
        open.wait_for(|open| *open == 0).await.unwrap();
        self.state.written.load(Ordering::SeqCst)
    }
}

/// Waits no longer than `limit` for an answer or a move, and asks twice at most.
pub fn impatient(limit: Duration) -> ClientConfig {
    ClientConfig {
        call_timeout: limit,
        no_progress: limit,
        retry: RetryPolicy {
            attempts: 2,
            ..quick().retry
        },
        ..quick()
    }
}

async fn serve(listener: TcpListener, first: Vec<u8>, then: Then, state: Arc<State>) {
    let mut connections = JoinSet::new();
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        state.connections.fetch_add(1, Ordering::SeqCst);
        state.open.send_modify(|open| *open += 1);
        let (first, state) = (first.clone(), Arc::clone(&state));
        connections.spawn(async move {
            // It ends with an error where the other side leaves.
            let _ = talk(socket, &first, then, &state.written).await;
            state.open.send_modify(|open| *open -= 1);
        });
    }
}

async fn talk(
    mut socket: TcpStream,
    first: &[u8],
    then: Then,
    written: &AtomicU64,
) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(socket.read_u8().await?);
    }
    socket.write_all(first).await?;
    loop {
        let more = match &then {
            Then::Close => return socket.shutdown().await,
            Then::Repeat(bytes) => *bytes,
            Then::Dribble(byte) => {
                tokio::time::sleep(DRIBBLE).await;
                std::slice::from_ref(byte)
            }
        };
        socket.write_all(more).await?;
        written.fetch_add(more.len() as u64, Ordering::SeqCst);
    }
}
