//! The client as others see it: one function per call. Uploads and reads are in files of their
//! own.

use std::{fmt, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    Api, Call, ClientConfig, Deadline, Entry, Error, Http, Identity, Kind, Priority, Reserved,
    RestClient, Target, Token, policy::CallPolicy, v1, v2,
};
use crate::protocol;

/// Why there is no REST API.
const NO_REST: &str = "no repository and GitHub token were given (repository, ghtoken)";

/// Calls one service with one token. A clone shares all but the deadline and the priority.
#[derive(Clone)]
pub struct Client {
    service: Arc<Service>,
    pub(super) policy: CallPolicy,
    rest: Option<RestClient>,
}

struct Service {
    api: Api,
    token: Token,
    identity: Identity,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("identity", self.identity())
            .field("deadline", &self.policy.deadline())
            .finish_non_exhaustive()
    }
}

impl Client {
    /// A client without a deadline.
    pub fn new(http: Http, target: Target, config: ClientConfig) -> Self {
        let Target { api, token, rest } = target;
        let rest = rest.map(|rest| RestClient::new(http.clone(), rest, config.clone()));
        let expires = Some(token.expires());
        let policy = CallPolicy::new(http, config, api.url(), token.subject(), expires);
        let identity = Identity::new(&api, &token);
        Self {
            service: Arc::new(Service {
                api,
                token,
                identity,
            }),
            policy,
            rest,
        }
    }

    /// The same client, whose calls and waits all end by `deadline`, with [`Kind::Timeout`]. A
    /// wait that would end later is not begun.
    #[must_use]
    pub fn with_deadline(&self, deadline: impl Into<Deadline>) -> Self {
        let deadline = deadline.into();
        let rest = self.rest.as_ref();
        Self {
            service: Arc::clone(&self.service),
            rest: rest.map(|rest| rest.with_deadline(deadline.clone())),
            policy: self.policy.with_deadline(deadline),
        }
    }

    /// The same client, whose calls are made and repeated whatever is remembered of the service: for
    /// bytes that were promised, so that a build fails without them.
    #[must_use]
    pub fn ignoring_outages(&self) -> Self {
        Self {
            service: Arc::clone(&self.service),
            rest: self.rest.as_ref().map(RestClient::ignoring_outages),
            policy: self.policy.ignoring_outages(),
        }
    }

    /// The same client, whose calls are served by this priority where not all can be.
    #[must_use]
    pub fn with_priority(&self, priority: &Priority) -> Self {
        let rest = self.rest.as_ref();
        Self {
            service: Arc::clone(&self.service),
            rest: rest.map(|rest| rest.with_priority(priority)),
            policy: self.policy.with_priority(priority.clone()),
        }
    }

    /// A deadline at `end` that does not fall while uploads to this service move, for `overtime` at
    /// most. What stands still for as long as a transfer may does not move.
    pub fn while_moving(&self, end: Instant, overtime: Duration) -> Deadline {
        let last_activity = Arc::clone(&self.policy.limiter().last_activity);
        let grace = self.policy.config().no_progress;
        Deadline::while_moving(end, last_activity, grace, overtime)
    }

    /// The token that calls are made with.
    pub fn token(&self) -> &Token {
        &self.service.token
    }

    /// Whose entries this client sees.
    pub fn identity(&self) -> &Identity {
        &self.service.identity
    }

    /// Finds the entry with this key, or else the newest whose key begins with it.
    pub async fn lookup(&self, key: &str, version: &str) -> Result<Option<Entry>, Error> {
        self.lookup_first(&[key], version).await
    }

    /// As [`Client::lookup`], for several keys in order of preference and in one call. Each scope
    /// is asked for all of them before the next one.
    pub async fn lookup_first(&self, keys: &[&str], version: &str) -> Result<Option<Entry>, Error> {
        let (policy, token) = (&self.policy, self.token());
        match self.api() {
            Api::V1(base) => {
                let request = v1::lookup(base, token, keys, version);
                policy
                    .call(request, |response| v1::read_lookup(response, version))
                    .await
            }
            Api::V2(base) => {
                let request = v2::lookup(base, token, keys, version);
                policy
                    .call(request, |response| v2::read_lookup(response, version))
                    .await
            }
        }
    }

    /// Reserves a key.
    pub async fn reserve(&self, key: &str, version: &str) -> Result<Reserved, Error> {
        let token = self.token();
        let request = &match self.api() {
            Api::V1(base) => v1::reserve(base, token, key, version),
            Api::V2(base) => v2::reserve(base, token, key, version),
        };
        let decode = |response| async move {
            match self.api() {
                Api::V1(_) => v1::read_reserve(response, key, version).await,
                Api::V2(_) => v2::read_reserve(response, key, version).await,
            }
        };
        self.policy
            .retrying(Call::Reserve, |attempt| async move {
                match attempt.exchange(request.clone(), decode).await {
                    Ok(reservation) => Ok(Reserved::Created(reservation)),
                    Err(error) if error.kind != Kind::AlreadyExists => Err(error),
                    Err(_) if attempt.after_doubt => Ok(Reserved::ExistsAfterDoubt),
                    Err(_) => Ok(Reserved::Exists),
                }
            })
            .await
    }

    /// All entries of the repository whose keys begin with `prefix`, through the REST API.
    pub async fn list(&self, prefix: &str) -> Result<Vec<protocol::rest::Cache>, Error> {
        match &self.rest {
            Some(rest) => rest.list(prefix).await,
            None => Err(self.error(Call::List, Kind::Denied, NO_REST)),
        }
    }

    /// Deletes the entry with this id through the REST API. One that is gone already is a success.
    pub async fn delete(&self, id: i64) -> Result<(), Error> {
        match &self.rest {
            Some(rest) => rest.delete(id).await,
            None => Err(self.error(Call::Delete, Kind::Denied, NO_REST)),
        }
    }

    /// True if there is a REST API to list and delete with.
    pub fn has_rest(&self) -> bool {
        self.rest.is_some()
    }

    pub(super) fn api(&self) -> &Api {
        &self.service.api
    }

    /// An error of this client's own.
    pub(crate) fn error(&self, call: Call, kind: Kind, message: &str) -> Error {
        self.policy.error(call, kind, message.to_owned())
    }
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
}
