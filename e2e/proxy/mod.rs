//! A proxy in front of the Actions cache that makes faults, and that can be a slow [`Link`].
//!
//! It speaks plain HTTP/1.1, knows which remote operation each request is, and lets a request pass
//! unless a [`Rule`] says otherwise. Signed URLs lead through it too, since the service names the
//! `Host` of the request in them. Any number of proxies can stand in front of one service: a test
//! that has its own is not disturbed by others.
//!
//! | file | what |
//! |---|---|
//! | `operation` | which remote operation a request is, and for which kind of entry |
//! | `fault`, `rule` | what goes wrong, and when |
//! | `listener` | the port, which can be closed for a while |
//! | `serve` | accepts connections, and serves each to its end |
//! | `connection` | how a request ends the connection that it came on |
//! | `upstream` | the connection to the service behind each of them |
//! | `forward` | one request: passed on, or what happens to it instead |
//! | `body` | bodies that stall, end or change on their way |
//! | `shaping` | the link: latency and bytes per second |
//! | `tally` | calls and bytes that have gone through |

mod body;
mod connection;
mod fault;
mod forward;
mod listener;
mod operation;
mod rule;
mod serve;
mod shaping;
mod tally;
mod upstream;

pub use fault::Fault;
pub use operation::{Operation, Subject};
pub use rule::{Rule, RuleHandle, When};
pub use shaping::Link;
pub use tally::Tally;

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, atomic::AtomicUsize},
};

use tokio::{runtime::Runtime, task::AbortHandle};

use self::{
    listener::ProxyPort, operation::Entries, rule::Rules, shaping::Direction, tally::InFlight,
};
use crate::harness::Service;

/// One runtime for all proxies of the test process: tests themselves are blocking code.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let builder = builder.worker_threads(2).thread_name("proxy").enable_all();
    builder.build().expect("a runtime for the proxies")
});

/// A running proxy. It ends with the value, and all its connections with it.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: AbortHandle,
}

/// What all connections of one proxy share.
struct Shared {
    upstream: SocketAddr,
    port: ProxyPort,
    rules: Rules,
    entries: Entries,
    link: Link,
    up: Arc<Direction>,
    down: Arc<Direction>,
    requests: Mutex<HashMap<(Operation, Subject), u64>>,
    in_flight: AtomicUsize,
    max_in_flight: AtomicUsize,
}

impl Proxy {
    /// Starts a proxy on a free port of loopback, as fast as it can be.
    pub fn start(service: &Service) -> Self {
        Self::with_link(service, Link::NONE)
    }

    /// As [`Proxy::start`], at the end of a link.
    pub fn with_link(service: &Service, link: Link) -> Self {
        let _runtime = RUNTIME.enter();
        let (port, listener) = ProxyPort::open().expect("a free port on loopback");
        let shared = Arc::new(Shared {
            upstream: service.address(),
            port,
            rules: Rules::default(),
            entries: Entries::default(),
            link,
            up: Direction::new(link.in_all),
            down: Direction::new(link.in_all),
            requests: Mutex::default(),
            in_flight: AtomicUsize::new(0),
            max_in_flight: AtomicUsize::new(0),
        });
        let serving = serve::accept(listener, Arc::clone(&shared));
        Self {
            address: shared.port.address(),
            acceptor: RUNTIME.spawn(serving).abort_handle(),
            shared,
        }
    }

    /// Where it listens, as a URL that ends with a slash.
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Adds a rule. A request that several rules fit gets the fault of the first.
    pub fn rule(&self, rule: Rule) -> RuleHandle {
        self.shared.rules.add(rule)
    }

    /// Forgets all rules and takes connections again. What hangs or stalls already stays so.
    pub fn clear(&self) {
        self.shared.rules.clear();
        self.shared.port.reopen();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
