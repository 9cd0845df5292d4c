//! HTTP/2 and gRPC's framing between a client and buildkitd, and none of BuildKit's messages.
//!
//! A client's connection comes in at a [`listener`]; [`connection`] reads it no faster than its
//! calls are accepted ([`read_pacing`], [`reset_limiter`]) and [`serve`]s each of them. [`routes`] tells from
//! a call's path what becomes of it, [`proxy`] passes it as it is, [`intercept`] lets the
//! [`Interceptor`](crate::gateway::interceptor::Interceptor) change its messages. [`pump`] moves the
//! bytes of all of them, and [`upstream`] is the way to buildkitd, which [`unary`] calls for the gateway itself.

pub(crate) mod connection;
mod edit_response;
pub mod frame;
pub(crate) mod grpc;
pub(crate) mod head;
pub(crate) mod http2;
pub(crate) mod intercept;
mod io;
pub(crate) mod listener;
pub(crate) mod proxy;
pub(crate) mod pump;
mod read_pacing;
pub(crate) mod reset_limiter;
pub(crate) mod routes;
pub(crate) mod serve;
pub(crate) mod unary;
pub(crate) mod upstream;
