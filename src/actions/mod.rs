//! The client of the Actions cache: calls that are encoded, decoded, and made by one policy.
//!
//! A [`Client`] talks to one service with one token, a [`RestClient`] to GitHub's REST API. They know
//! keys, entries, parts and byte ranges, and nothing of BuildKit.
//!
//! | file | what |
//! |---|---|
//! | `client`, `rest_client`, `upload`, `download` | the calls as others see them, and what takes several |
//! | `v1`, `v2`, `azure`, `rest`, `ranges` | how each remote call is encoded and its response decoded: exact bytes |
//! | `policy` | how calls are made: where all layers below are put together |
//! | `deadline`, `retry`, `time_limit` | when a call must be over, whether it is made again, how long an attempt may take |
//! | `rate_limiter`, `throttle`, `priority`, `rate_limit_headers` | who may call and when: one budget for each service and token |
//! | `circuit_breaker` | services that cannot be reached, and for how long that is remembered |
//! | `instrument` | what is noted of every request |
//! | `transport`, `tls`, `connect`, `resolve`, `body` | the one send |
//! | `request`, `response`, `min_throughput`, `error_response`, `error_context`, `redactor` | what goes out and comes back, and errors in the service's own words |
//! | `http` | what the clients of the process share |
//! | `adaptive_concurrency`, `plan` | how many transfers run side by side, and how an entry is cut into parts |
//! | `call`, `config`, `entry`, `error`, `location`, `source`, `target`, `token` | what they say |

mod adaptive_concurrency;
mod azure;
mod body;
mod call;
mod circuit_breaker;
mod client;
mod config;
mod connect;
mod deadline;
mod download;
mod entry;
mod error;
mod error_context;
mod error_response;
mod http;
mod instrument;
mod location;
mod measured;
mod min_throughput;
pub mod plan;
mod policy;
mod priority;
mod ranges;
mod rate_limit_headers;
mod rate_limiter;
mod redactor;
mod request;
mod resolve;
mod response;
mod rest;
mod rest_client;
mod retry;
mod source;
mod target;
mod throttle;
mod time_limit;
mod tls;
mod token;
mod transport;
mod upload;
mod v1;
mod v2;

// What the program's tests, benches and fuzz targets use as well.
pub use call::Call;
pub use client::Client;
pub use config::{
    Budgets, ClientConfig, Hold, HttpConfig, Observer, PART_BYTES, PerMinute, RetryPolicy,
    WaitGuard,
};
pub use entry::{Entry, Reservation, Reserved};
pub use error::{Error, Kind, NoConnection};
pub use http::Http;
pub use rest_client::RestClient;
pub use source::Source;
pub use target::{Api, RestTarget, Target};
pub use token::Token;

pub(crate) use adaptive_concurrency::{AdaptiveConcurrency, Permit};
pub(crate) use circuit_breaker::OUTAGE_TIME;
pub(crate) use deadline::{Deadline, TimeoutReason};
pub(crate) use download::Probe;
pub(crate) use location::Location;
pub(crate) use min_throughput::min_bytes;
pub(crate) use priority::Priority;
pub(crate) use source::Progress;
pub(crate) use target::Identity;
pub(crate) use token::TokenError;
pub(crate) use transport::HttpError;
