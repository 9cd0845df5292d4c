//! The listener of a proxy, which can be closed for a while: connections are then refused.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    net::{TcpListener, TcpSocket},
    sync::watch,
    time::sleep,
};

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;

/// For how long one fault keeps the port closed: longer than it takes to try again at once,
/// shorter than the second try of a client that waits.
const CLOSED_FOR: Duration = Duration::from_millis(300);

/// For whom and how long the port is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closing {
    /// Everybody, until the port is opened again: a service that is gone.
    ForGood,
    /// Everybody for a while: a service that is started again.
    ForNow,
    /// New connections, for a while. Those that are open stay, or each fault would be one for all
    /// requests in flight: measured, 5 of them were 81 failures of 150 requests.
    NewConnections,
}

/// Whether the port listens.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Closed(Closing),
}

/// The port of a proxy, and whether it listens.
pub(super) struct ProxyPort {
    address: SocketAddr,
    state: watch::Sender<State>,
    /// Bound and never listening: it keeps the port ours while it is closed.
    _bound: TcpSocket,
}

impl ProxyPort {
    /// Takes a free port and listens.
    pub fn open() -> io::Result<(Self, TcpListener)> {
        let bound = socket()?;
        bound.bind(([127, 0, 0, 1], 0).into())?;
        let address = bound.local_addr()?;
        let port = Self {
            address,
            state: watch::Sender::new(State::Open),
            _bound: bound,
        };
        Ok((port, listen(address)?))
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

    /// Waits until the port is closed.
    pub async fn closed(&self) -> Closing {
        let mut state = self.state.subscribe();
        loop {
            if let State::Closed(closing) = *state.borrow_and_update() {
                return closing;
            }
            // The sender lives as long as `self`.
            let _ = state.changed().await;
        }
    }

    /// Waits until the port is open again, and listens.
    pub async fn reopened(&self) -> TcpListener {
        let mut state = self.state.subscribe();
        let for_good = |state: &State| *state == State::Closed(Closing::ForGood);
        let is_for_good = for_good(&state.borrow());
        if !is_for_good {
            let reopened = state.wait_for(|state| *state == State::Open);
            let _ = tokio::time::timeout(CLOSED_FOR, reopened).await;
            self.state.send_if_modified(|state| {
                let over = !for_good(state);
                *state = if over { State::Open } else { *state };
                over
            });
        }
        // The sender lives as long as `self`.
        let _ = state.wait_for(|state| *state == State::Open).await;
        listen_again(self.address).await
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
