//! What the tests stand on: real daemons and clients, each in a directory of its own.
//!
//! Everything here is plain blocking code. Every wait has a deadline, and a test that fails
//! shows the logs of all programs that it started.

mod admin;
mod build;
mod collector;
mod container;
mod context;
mod daemon;
mod docker;
mod eavesdropper;
mod gate;
mod git;
mod http;
mod lab;
mod page;
mod process;
mod progress;
mod prometheus;
mod rapid_reset;
mod registry;
mod repeater;
mod secret;
mod service;
mod site;
mod terminal;
mod tls;
pub mod version;
mod vitals;

pub use build::{Build, Builder};
pub use collector::{CollectedSpan, Collector};
pub use container::{Container, Running};
pub use context::Context;
pub use daemon::Daemon;
pub use docker::{Engine, Image};
pub use eavesdropper::{Captured, Eavesdropper, READY, printed};
pub use gate::Gate;
pub use git::Repository;
pub use http::{Answer, Http};
pub use lab::{Lab, mount_tmpfs};
pub use page::{Section, Workstation};
pub use process::{Finished, Process, command, run};
pub use progress::{Outcome, Step};
pub use prometheus::{Prometheus, check_metrics};
pub use rapid_reset::RapidReset;
pub use registry::Registry;
pub use repeater::Repeater;
pub use secret::{Secret, files_with};
pub use service::{Api, Entry, PROGRAM, Service, listening};
pub use site::Site;
pub use terminal::{Screens, Terminal};
pub use tls::{Certificate, TlsFront};
pub use vitals::Vitals;

use std::time::Duration;

/// How long a program may take to come up or to do one small thing.
pub const SOON: Duration = Duration::from_mins(1);

/// How long one build may take: machines that run tests can be slow and shared.
pub const BUILD: Duration = Duration::from_mins(5);
