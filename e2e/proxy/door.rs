//! The listener of a proxy, which can be closed for a while: connections are then refused.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpSocket},
    sync::watch,
    task::JoinSet,
    time::sleep,
};

use super::{Shared, line};

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;

/// For how long one fault keeps the door closed: longer than it takes to try again at once,
/// shorter than the second try of a client that waits.
const CLOSED_FOR: Duration = Duration::from_millis(300);

/// For whom and how long the door is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closing {
    /// Everybody, until the door is opened again: a service that is gone.
    ForGood,
    /// Everybody for a while: a service that is started again.
    ForNow,
    /// Who comes anew, for a while. Those inside stay, or each fault would be one for all
    /// requests under way: measured, 5 of them were 81 failures of 150 requests.
    ToNewcomers,
}

/// The state of the door.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Closed(Closing),
}

/// The port of a proxy, and whether it listens.
pub(super) struct Door {
    address: SocketAddr,
    state: watch::Sender<State>,
    /// Bound and never listening: it keeps the port ours while the door is closed.
    _port: TcpSocket,
}

impl Door {
    /// Takes a free port and listens.
    pub fn open() -> io::Result<(Self, TcpListener)> {
        let port = socket()?;
        port.bind(([127, 0, 0, 1], 0).into())?;
        let address = port.local_addr()?;
        let door = Self {
            address,
            state: watch::Sender::new(State::Open),
            _port: port,
        };
        Ok((door, listen(address)?))
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no new connections.
    pub fn close(&self, closing: Closing) {
        self.state.send_replace(State::Closed(closing));
    }

    pub fn reopen(&self) {
        self.state.send_replace(State::Open);
    }
}

fn socket() -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    Ok(socket)
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket()?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Between two tries to listen.
const TRY_AGAIN: Duration = Duration::from_millis(5);

/// The most tries: a program is started in far less time.
const TRIES: usize = 2000;

/// Listens on a port that is ours. A program that the test is starting at this moment has copies
/// of all descriptors, that of the closed listener too, until it is executed.
async fn listen_again(address: SocketAddr) -> TcpListener {
    for _ in 0..TRIES {
        match listen(address) {
            Ok(listener) => return listener,
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => sleep(TRY_AGAIN).await,
            Err(error) => panic!("cannot listen on {address}: {error}"),
        }
    }
    panic!("{address} is not free again");
}

/// Serves connections while the door is open.
pub(super) async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut state = shared.door.state.subscribe();
    let mut listener = listener;
    // Dropped with this task: the connections end with the proxy.
    let mut connections = JoinSet::new();
    loop {
        let closing = loop {
            tokio::select! {
                Ok((stream, _)) = listener.accept() => {
                    connections.spawn(line::serve(stream, Arc::clone(&shared)));
                }
                Some(_) = connections.join_next() => {}
                Ok(closed) = state.wait_for(|state| *state != State::Open) => {
                    if let State::Closed(closing) = *closed {
                        break closing;
                    }
                }
            }
        };
        drop(listener);
        if closing != Closing::ToNewcomers {
            connections.shutdown().await;
        }
        closed(&shared.door, &mut state).await;
        listener = listen_again(shared.door.address).await;
    }
}

/// Until the door is open again.
async fn closed(door: &Door, state: &mut watch::Receiver<State>) {
    let for_good = |state: &State| *state == State::Closed(Closing::ForGood);
    if !for_good(&state.borrow()) {
        let reopened = state.wait_for(|state| *state == State::Open);
        let _ = tokio::time::timeout(CLOSED_FOR, reopened).await;
        door.state.send_if_modified(|state| {
            let over = !for_good(state);
            *state = if over { State::Open } else { *state };
            over
        });
    }
    // An error means that the proxy is gone, and this task with it.
    let _ = state.wait_for(|state| *state == State::Open).await;
}
