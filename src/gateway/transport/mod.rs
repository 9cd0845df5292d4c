//! HTTP/2 and gRPC's framing between a client and buildkitd, and none of BuildKit's messages.
//!
//! A client's connection comes in at a [`listener`]; [`connection`] reads it no faster than its
//! calls are taken up ([`intake`], [`resets`]) and [`serve`]s each of them. [`routes`] tells from
//! a call's path what becomes of it, [`proxy`] passes it as it is, [`intercept`] lets the
//! [`Interceptor`](crate::gateway::interceptor::Interceptor) change its messages. [`pump`] moves the
//! bytes of all of them, and [`upstream`] is the way to buildkitd.

pub(crate) mod connection;
mod edit;
pub mod frame;
pub(crate) mod grpc;
pub(crate) mod head;
pub(crate) mod http2;
mod intake;
pub(crate) mod intercept;
mod io;
pub(crate) mod listener;
pub(crate) mod proxy;
pub(crate) mod pump;
pub(crate) mod resets;
pub(crate) mod routes;
pub(crate) mod serve;
pub(crate) mod upstream;
