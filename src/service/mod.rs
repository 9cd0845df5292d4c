//! The embedded Actions cache service: what GitHub's does, on a disk of one's own.
//!
//! | module | what it does |
//! |---|---|
//! | `surface` | one file per protocol (v1, v2, Azure blobs, REST): parse, call, answer |
//! | `api_error` | the one error, which each protocol words in its own way |
//! | `entries` | the rules, without protocol, database and file |
//! | `upload`, `active_uploads` | uploads in progress: which parts have come |
//! | `store` | two traits for metadata and content; SQLite or PostgreSQL, and files or a bucket behind them |
//! | `stores`, `store_locations`, `pairing`, `stores_error`, `open_error` | which of these a service has, that both belong together, and why it has none |
//! | `budgets`, `crossed_budgets`, `evictor` | what entries may take, who waits for room, what is evicted when |
//! | `sharer` | joins equal contents of several scopes |
//! | `migration` | moves all entries from one pair of stores to another |
//! | `lease`, `replica` | say that this process is still there, and where others reach it |
//! | `quotas`, `rate_limits` | what one repository or one scope may take of the service, at once and in a minute |
//! | `token`, `grant`, `sign`, `key` | tokens and signed URLs, from one secret |
//! | `token_registry`, `revocations` | tokens that were made, and those that were revoked |
//! | `auth`, `rights` | who calls, and what of a repository it may list and delete |
//! | `issuer` | tokens of GitHub, verified with its public keys |
//! | `forgejo`, `forgejo_error` | jobs for which the proxy of Forgejo's runner speaks |
//! | `gitea` | jobs of which Gitea's runner has told |
//! | `audit` | what was deleted, and who was refused |
//! | `authenticate`, `auth_error` | which of both a token is, and why it is refused |
//! | `disk_space` | how much room a disk has |
//! | `data_dir` | whose the data directory is, and what stands in it |
//! | `transfer` | bodies of requests into the store |
//! | `blocking` | the one place that leaves the async threads |
//! | `instance` | an open service: all of this together |
//! | `drain` | the end of a process whose uploads go on |
//! | `gc`, `metrics`, `server` | garbage, counters, connections |
//! | `metered`, `engine_metrics` | stores that tell how long they take |
//! | `tls` | the certificate, read again when it changes |
//! | `peers` | who connects, and for whom a proxy does |
//! | `network` | addresses of trusted proxies |
//! | `upstream` | the results service that gets what is not the cache |
//!
//! [`Service::open`] and [`serve`] are all that a program or a test needs.

mod active_uploads;
mod api_error;
mod audit;
mod auth;
mod auth_error;
mod authenticate;
mod blocking;
mod budgets;
mod clock;
pub mod config;
mod crossed_budgets;
mod data_dir;
mod disk_space;
mod drain;
mod engine_metrics;
mod entries;
mod evictor;
mod forgejo;
mod forgejo_error;
mod gc;
mod gitea;
mod grant;
mod http2;
mod instance;
mod issuer;
mod key;
mod lease;
mod metered;
mod metrics;
mod migration;
mod network;
mod open_error;
mod pairing;
mod peers;
mod periodic;
mod quotas;
mod rate_limits;
mod replica;
mod revocations;
mod rights;
mod server;
mod sharer;
mod sign;
mod store;
mod store_locations;
mod stored_metrics;
mod stores;
mod stores_error;
mod surface;
#[cfg(test)]
mod tests;
mod tls;
mod token;
mod token_registry;
mod transfer;
mod upload;
mod upstream;

pub use self::{
    api_error::{ApiError, ErrorKind},
    clock::{Clock, system as system_clock},
    config::Config,
    grant::{Grant, Role},
    instance::Service,
    metrics::Metrics,
    migration::{
        Migration, MigrationError, MigrationReport, Moved, OnProgress, Progress, Side, SideRole,
    },
    open_error::OpenError,
    server::{serve, warn_if_in_clear, warn_if_open},
    store::TokenRecord,
    tls::TlsError,
    token::{DEFAULT_REPOSITORY, MintError, Minted, NewToken},
    token_registry::{RegistryError, TokenRegistry},
    upstream::UpstreamLoop,
};
