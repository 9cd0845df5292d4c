//! The client's limits and defaults, each with its reason, and what is injected into it.

use std::{sync::Arc, time::Duration};

use tracing::Span;

use super::Call;
use crate::telemetry::{Metrics, trace::TraceParent};

/// How long a connection may take to be made, TLS included: a healthy server needs well below
/// a second, a dropped packet is sent again after 1 and 3 seconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long one API call may take at most. GitHub answers in a fraction of a second; its front end
/// gives up by itself after 60 seconds at the latest.
const CALL_TIMEOUT: Duration = Duration::from_mins(1);

/// How long a transfer may go without moving one byte. A transfer has no limit in all: a slow
/// link is no fault.
const NO_PROGRESS: Duration = Duration::from_secs(30);

/// Size of an upload's parts. At 60 MB/s and 25 ms a part takes 95 ms, three quarters of which
/// are its bytes; ten such connections fill 400 MB/s. Smaller parts lose less when one must be sent
/// again, and larger ones would hold more memory.
pub const PART_BYTES: u64 = 4 << 20;

/// Parts in flight at most, over all uploads; [`super::AdaptiveConcurrency`] finds how many there
/// should be. It is as many connections as one blob store address serves well.
const MOST_PARTS: usize = 16;

/// Bytes of parts that all uploads of the process together may hold in memory: the parts in flight.
/// It is what keeps the memory of the gateway flat whatever the size of a layer.
const PART_MEMORY: u64 = MOST_PARTS as u64 * PART_BYTES;

/// The first wait after a failure; doubled each time. What fails for a moment, such as a connection
/// that a load balancer drops, does not fail half a second later.
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// The longest wait that is not asked for by the service. The waits of [`ATTEMPTS`] stay below it: it
/// bounds those of a policy with more.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// How often a call is made before its failure counts, throttling apart: all waits of one call take
/// 7.5 s at most, which a build can bear.
const ATTEMPTS: u32 = 5;

/// For how long a throttled call is tried again where no deadline is set: stock's `timeout`.
const MAX_ELAPSED: Duration = Duration::from_mins(10);

/// Entries that github.com lets a repository create in a minute.
const GITHUB_CREATIONS: u32 = 200;

/// Lookups that github.com answers to a repository in a minute.
const GITHUB_LOOKUPS: u32 = 1500;

/// Deletions that are sent to github.com in a minute: it asks for a second between two calls that change
/// something, and counts each of them five times against 900 points a minute.
const GITHUB_DELETIONS: u32 = 60;

/// The shared part: connections and memory of the process.
#[derive(Debug, Clone)]
pub struct HttpConfig {
    /// How long a connection may take to be made.
    pub connect_timeout: Duration,
    /// Bytes of parts in flight, over all uploads.
    pub part_memory: u64,
    /// Parts in flight at most, over all uploads.
    pub most_parts: usize,
    /// How many calls a service takes in a minute.
    pub budgets: Budgets,
    /// What the program calls itself.
    pub user_agent: String,
    /// Counts calls and bytes.
    pub metrics: Metrics,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            connect_timeout: CONNECT_TIMEOUT,
            part_memory: PART_MEMORY,
            most_parts: MOST_PARTS,
            budgets: Budgets::default(),
            user_agent: concat!("buildkit-gha/", env!("CARGO_PKG_VERSION")).to_owned(),
            metrics: Metrics::default(),
        }
    }
}

/// How many calls of a kind a service takes in a minute, as the operator says it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PerMinute {
    /// What is known of github.com; elsewhere as many as there are.
    #[default]
    Known,
    /// As many as there are.
    Unlimited,
    /// So many.
    Calls(u32),
}

/// The budgets that the operator set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Budgets {
    /// Reservations.
    pub creations: PerMinute,
    /// Lookups.
    pub lookups: PerMinute,
}

impl Budgets {
    /// How many calls of this kind may be made in a minute; `None`: as many as there are.
    pub(super) fn per_minute(self, call: Call, github: bool) -> Option<u32> {
        let (said, known) = match call {
            Call::Reserve => (self.creations, GITHUB_CREATIONS),
            Call::Lookup => (self.lookups, GITHUB_LOOKUPS),
            Call::Delete => (PerMinute::Known, GITHUB_DELETIONS),
            _ => return None,
        };
        match said {
            PerMinute::Known => github.then_some(known),
            PerMinute::Unlimited => None,
            PerMinute::Calls(calls) => Some(calls),
        }
    }
}

/// How calls are repeated.
#[derive(Debug, Clone, Copy)]
pub struct RetryPolicy {
    /// The first wait after a failure; doubled each time.
    pub first_wait: Duration,
    /// The longest wait that is not asked for by the service.
    pub longest_wait: Duration,
    /// How often a call is made before its failure counts, throttling apart.
    pub attempts: u32,
    /// How long all attempts and waits of one call may take together.
    pub max_elapsed: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            first_wait: FIRST_WAIT,
            longest_wait: LONGEST_WAIT,
            attempts: ATTEMPTS,
            max_elapsed: MAX_ELAPSED,
        }
    }
}

/// Gives numbers from 0 (included) to 1 (not included); random ones, but in tests.
pub type Jitter = Arc<dyn Fn() -> f64 + Send + Sync>;

/// What shows that a call waits, for as long as it is kept.
pub type WaitGuard = Option<Box<dyn Send + Sync>>;

/// What holds a call back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Hold {
    /// A limit of the service's on calls: its own answer or headers, or what is known of it.
    RateLimit {
        /// The service is github.com's.
        github: bool,
    },
    /// An attempt failed, and the next one follows after a while.
    Retry,
}

/// Learns what a client is doing: that it calls, and that it does not move.
pub trait Observer: Send + Sync {
    /// A request is sent.
    fn calling(&self, call: Call) {
        let _ = call;
    }

    /// A call waits at least for `wait`, held back because of `why`, before it is made (again).
    fn waiting(&self, call: Call, hold: Hold, wait: Duration, why: &str) -> WaitGuard;
}

/// An observer that looks away; the log still tells.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unobserved;

impl Observer for Unobserved {
    fn waiting(&self, _: Call, _: Hold, _: Duration, _: &str) -> WaitGuard {
        None
    }
}

/// How one client works.
#[derive(Clone)]
pub struct ClientConfig {
    /// How long one API call may take at most; first attempts have less.
    pub call_timeout: Duration,
    /// How long a transfer may go without moving one byte.
    pub no_progress: Duration,
    /// Size of an upload's parts; see [`super::plan::Plan`] for when they are larger.
    pub part_bytes: u64,
    /// How calls are repeated.
    pub retry: RetryPolicy,
    /// Spreads the waits, so that many clients do not come back at once.
    pub jitter: Jitter,
    /// Told of waits.
    pub observer: Arc<dyn Observer>,
    /// The job that its calls are part of, in the log.
    pub span: Span,
    /// The same in a trace.
    pub trace: TraceParent,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            call_timeout: CALL_TIMEOUT,
            no_progress: NO_PROGRESS,
            part_bytes: PART_BYTES,
            retry: RetryPolicy::default(),
            jitter: Arc::new(rand::random::<f64>),
            observer: Arc::new(Unobserved),
            span: Span::none(),
            trace: TraceParent::default(),
        }
    }
}
