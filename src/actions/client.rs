//! The client as others see it: one function per call.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;
use tracing::Instrument as _;
use url::Url;

use super::{
    Api, ClientConfig, Deadline, Entry, Error, Identity, Kind, Priority, Reserved, RestTarget,
    Target, Token,
    allowance::Allowance,
    answer::Answer,
    governor::Lane,
    http::{Call, Http, Request, Side},
    outage::Caller,
    rest, retry, v1, v2,
};
use crate::{protocol, telemetry::spans};

/// Why there is no REST API.
const NO_REST: &str = "no repository and GitHub token were given (repository, ghtoken)";

/// What is said of a signed URL that fails where TLS was lost on the way to it.
const PLAIN_URL: &str = "the service is reached over https, but its signed URLs begin with http://: if it is \
     buildkit-gha serve behind a proxy with TLS, start it with --base-url https://… or \
     --trusted-proxy and the proxy's address";

/// Calls one service with one token. A clone shares all but the deadline and the weight.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
    deadline: Option<Deadline>,
    priority: Priority,
    /// Which attempt of a call it makes, from 1.
    attempt: u32,
    insists: bool,
}

struct Shared {
    http: Http,
    target: Target,
    identity: Identity,
    config: ClientConfig,
    lane: Arc<Lane>,
    caller: Caller,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("identity", self.identity())
            .field("deadline", &self.deadline())
            .finish_non_exhaustive()
    }
}

impl Client {
    /// A client without a deadline.
    pub fn new(http: Http, target: Target, config: ClientConfig) -> Self {
        let identity = Identity::new(&target.api, &target.token);
        let (Api::V1(url) | Api::V2(url)) = &target.api;
        let lane = http.lane(url, target.token.subject());
        let shared = Shared {
            http,
            target,
            identity,
            config,
            lane,
            caller: Caller::default(),
        };
        Self {
            shared: Arc::new(shared),
            deadline: None,
            priority: Priority::default(),
            attempt: 1,
            insists: false,
        }
    }

    /// The same client, whose calls and waits all end by `deadline`, with [`Kind::Timeout`]. A
    /// wait that would end later is not begun.
    #[must_use]
    pub fn with_deadline(&self, deadline: impl Into<Deadline>) -> Self {
        Self {
            deadline: Some(deadline.into()),
            ..self.clone()
        }
    }

    /// The same client, whose calls are made and repeated whatever is remembered of the service: for
    /// bytes that were promised, so that a build fails without them.
    #[must_use]
    pub fn insisting(&self) -> Self {
        Self {
            insists: true,
            ..self.clone()
        }
    }

    /// A deadline at `end` that does not fall while uploads to this service move, for `overtime` at
    /// most. What stands still for as long as a transfer may does not move.
    pub fn while_moving(&self, end: Instant, overtime: Duration) -> Deadline {
        let last_progress = Arc::clone(&self.lane().last_progress);
        Deadline::while_moving(end, last_progress, self.config().no_progress, overtime)
    }

    /// The same client, whose calls are served by this weight where not all can be.
    #[must_use]
    pub fn with_priority(&self, weight: &Priority) -> Self {
        Self {
            priority: weight.clone(),
            ..self.clone()
        }
    }

    /// How much its calls are worth.
    pub fn priority(&self) -> &Priority {
        &self.priority
    }

    /// The token that calls are made with.
    pub fn token(&self) -> &Token {
        &self.shared.target.token
    }

    /// Whose entries this client sees.
    pub fn identity(&self) -> &Identity {
        &self.shared.identity
    }

    /// Finds the entry with this key, or else the newest whose key begins with it.
    pub async fn lookup(&self, key: &str, version: &str) -> Result<Option<Entry>, Error> {
        self.lookup_first(&[key], version).await
    }

    /// As [`Client::lookup`], for several keys in order of preference and in one call. Each scope
    /// is asked for all of them before the next one.
    pub async fn lookup_first(&self, keys: &[&str], version: &str) -> Result<Option<Entry>, Error> {
        self.retrying(Call::Lookup, |client| async move {
            match self.api() {
                Api::V1(base) => v1::lookup(&client, base, keys, version).await,
                Api::V2(base) => v2::lookup(&client, base, keys, version).await,
            }
        })
        .await
    }

    /// Reserves a key.
    pub async fn reserve(&self, key: &str, version: &str) -> Result<Reserved, Error> {
        let in_doubt = &AtomicBool::new(false);
        let attempt = |client: Self| async move {
            let outcome = match self.api() {
                Api::V1(base) => v1::reserve(&client, base, key, version).await,
                Api::V2(base) => v2::reserve(&client, base, key, version).await,
            };
            outcome.inspect_err(|error| {
                in_doubt.fetch_or(error.kind.leaves_doubt(), Ordering::Relaxed);
            })
        };
        match self.retrying(Call::Reserve, attempt).await {
            Ok(reservation) => Ok(Reserved::Created(reservation)),
            Err(error) if error.kind == Kind::AlreadyExists => {
                Ok(if in_doubt.load(Ordering::Relaxed) {
                    Reserved::ExistsAfterDoubt
                } else {
                    Reserved::Exists
                })
            }
            Err(error) => Err(error),
        }
    }

    /// All entries of the repository whose keys begin with `prefix`, through the REST API.
    pub async fn list(&self, prefix: &str) -> Result<Vec<protocol::rest::Cache>, Error> {
        let Some(target) = self.rest() else {
            return Err(self.error(Call::List, Kind::Denied, NO_REST));
        };
        rest::list(self, target, prefix).await
    }

    /// Deletes the entry with this id through the REST API. One that is gone already is a success.
    pub async fn delete(&self, id: i64) -> Result<(), Error> {
        let Some(target) = self.rest() else {
            return Err(self.error(Call::Delete, Kind::Denied, NO_REST));
        };
        rest::delete(self, target, id).await
    }

    /// True if there is a REST API to list and delete with.
    pub fn has_rest(&self) -> bool {
        self.rest().is_some()
    }

    pub(super) fn api(&self) -> &Api {
        &self.shared.target.api
    }

    pub(super) fn rest(&self) -> Option<&RestTarget> {
        self.shared.target.rest.as_ref()
    }

    pub(super) fn config(&self) -> &ClientConfig {
        &self.shared.config
    }

    pub(super) fn http(&self) -> &Http {
        &self.shared.http
    }

    /// One attempt of a call.
    pub(super) async fn call(&self, mut request: Request) -> Result<Answer, Error> {
        let (call, side) = (request.call, request.side);
        // What is sent again is no progress.
        if call == Call::UploadPart && self.attempt == 1 {
            request.last_progress = Some(Arc::clone(&self.lane().last_progress));
        }
        let limit = retry::limit(self.config(), call, self.attempt);
        let lost_tls = side == Side::Blob && self.loses_tls(request.url.expose());
        let span = spans::remote_call(&self.config().span, call.words());
        let answer = self.reach(request, limit).instrument(span).await;
        let answer = answer.map_err(|error| if lost_tls { hinting(error) } else { error })?;
        if side == Side::Api
            && let Some(allowance) = Allowance::of(answer.headers())
        {
            self.lane().told(call, Instant::now(), allowance);
        }
        Ok(answer)
    }

    /// True if the service speaks https and this URL of it does not.
    fn loses_tls(&self, signed: &Url) -> bool {
        let (Api::V1(base) | Api::V2(base)) = self.api();
        base.scheme() == "https" && signed.scheme() == "http"
    }

    /// The client of the `attempt`-th attempt of a call.
    pub(super) fn nth(&self, attempt: u32) -> Self {
        Self {
            attempt,
            ..self.clone()
        }
    }

    /// The deadline of its calls.
    pub(super) fn deadline(&self) -> Option<&Deadline> {
        self.deadline.as_ref()
    }

    pub(super) fn insists(&self) -> bool {
        self.insists
    }

    pub(super) fn caller(&self) -> &Caller {
        &self.shared.caller
    }

    pub(super) fn lane(&self) -> &Lane {
        &self.shared.lane
    }

    /// An error of this client's own.
    pub(crate) fn error(&self, call: Call, kind: Kind, message: &str) -> Error {
        let (Api::V1(url) | Api::V2(url)) = self.api();
        Error {
            kind,
            call: call.words(),
            origin: url.origin().ascii_serialization(),
            message: message.to_owned(),
        }
    }
}

/// The error with a word on its cause, where plain HTTP may have been answered by something else
/// than the service.
fn hinting(mut error: Error) -> Error {
    use Kind::{Incomplete, Protocol, Rejected, Timeout, Transport, Unreachable};
    if let Unreachable(_) | Transport | Timeout | Incomplete | Rejected(_) | Protocol = error.kind {
        error.message = format!("{} ({PLAIN_URL})", error.message);
    }
    error
}

/// A URL below `base`, whose path may or may not end with a slash.
pub(super) fn below(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}/{path}", base.path().trim_end_matches('/')));
    url.set_query(None);
    url.set_fragment(None);
    url
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actions::{Reservation, Source};

    /// Exports and imports run in tasks, which only futures that are `Send` can; the compiler
    /// checks that here rather than far from the cause.
    #[allow(dead_code, reason = "it is enough that it compiles")]
    fn calls_can_run_in_tasks(client: &Client, entry: &Entry, reservation: &Reservation) {
        fn send<T: Send>(_: T) {}
        struct Nothing;
        #[async_trait::async_trait]
        impl Source for Nothing {
            async fn read(&self, _: std::ops::Range<u64>) -> std::io::Result<bytes::Bytes> {
                Ok(bytes::Bytes::new())
            }
        }
        send(client.lookup("", ""));
        send(client.lookup_first(&[], ""));
        send(client.delete(0));
        send(client.reserve("", ""));
        send(client.list(""));
        send(client.probe(entry, 0));
        send(client.read(entry, 0..1));
        send(client.read_all(entry, 0));
        send(client.upload(reservation, 0, Arc::new(Nothing), Arc::new(|_| {})));
        send(client.upload_bytes(reservation, bytes::Bytes::new()));
    }

    #[test]
    fn paths_are_joined_with_one_slash() {
        for base in [
            "http://h:1/a/b",
            "http://h:1/a/b/",
            "http://h:1/a/b//?x=y#z",
        ] {
            let url = below(&Url::parse(base).unwrap(), "c/d");
            assert_eq!(url.as_str(), "http://h:1/a/b/c/d");
        }
    }
}
