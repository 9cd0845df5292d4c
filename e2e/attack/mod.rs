//! Attacks on a running gateway, a running buildkitd and a running `serve`: each is bounded in count
//! and time, and returns one row with its outcome. `make attack` runs all, and `make test` some of their
//! parts.
//!
//! | file | who attacks |
//! |---|---|
//! | `step` | a build step that shares the network of its daemon |
//! | `socket` | a client of the socket |
//! | `index` | a client that may write to the cache |
//! | `tokens` | a client that names a URL; a pull request |
//! | `crowd` | whoever reaches the port of `serve`, without a token |
//! | `entries` | one token among many of `serve` |
//! | `planted` | a local user who gets there first |
//!
//! `make test` tries what somebody without a token can do to `serve`, and what can be planted in its data
//! directory, in `tests/service/crowd.rs` and `tests/service/files.rs`.

pub mod crowd;
pub mod entries;
pub mod index;
pub mod planted;
mod row;
pub mod socket;
pub mod step;
pub mod tokens;

pub use row::{Row, document, seconds};

use std::time::{Duration, Instant};

use crate::harness::{Build, Builder, Context, Daemon};

/// A build or an answer beside an attack takes as long as alone, or it waits for time limits of half
/// a minute and more.
pub const BESIDE: Duration = Duration::from_secs(20);

/// A name to choose it by, and what makes it.
pub type Attack = (&'static str, fn() -> Row);

/// All attacks, in the order of the table.
pub const ALL: [Attack; 18] = [
    ("step::listens", step::listens),
    ("step::replays", step::replays),
    ("step::holds_the_endpoint", step::holds_the_endpoint),
    ("socket::rapid_reset", socket::rapid_reset),
    ("socket::idle_clients", socket::idle_clients),
    ("index::empty", index::empty),
    ("index::layered", index::layered),
    ("tokens::operators_token", tokens::operators_token),
    ("tokens::pull_request", tokens::pull_request),
    ("crowd::idle_sockets", crowd::idle_sockets),
    ("crowd::slow_bodies", crowd::slow_bodies),
    ("entries::reservations", entries::reservations),
    ("entries::one_byte", entries::one_byte),
    ("entries::repeated_block", entries::repeated_block),
    ("entries::late_put", entries::late_put),
    ("planted::secret_for_all", planted::secret_for_all),
    ("planted::linked_lock", planted::linked_lock),
    ("planted::pipe", planted::pipe),
];

/// How long an honest build takes now. No two names on one daemon may be the same.
pub fn honest_build(daemon: &Daemon, name: &str) -> Duration {
    let context = Context::with_shell(daemon.lab(), name, &format!("RUN echo {name} > /made"));
    let began = Instant::now();
    Builder::buildctl(daemon).build(&Build::new(&context)).ok();
    began.elapsed()
}
