//! Warnings on their way to buildkitd, which tells all who watch the build and keeps them in its history.
//!
//! `LLBBridge.Warn` is taken from the first `LLBBridge` call of a build until its Solve is at its end, its
//! exports included (solver/llbsolver/solver.go of v0.34.2 takes the build out of its register when it
//! returns). A build that its client describes with LLB has no bridge, and buildkitd waits three seconds
//! for one: it is not asked.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use prost::Message as _;

use crate::{
    gateway::interceptor::{Code, Daemon, GrpcStatus},
    lifecycle::Tasks,
    proto::control::{VertexWarning, WarnRequest},
};

const WARN: &str = "/moby.buildkit.v1.frontend.LLBBridge/Warn";

/// The metadata that ties a call to a build.
const BUILD_ID: &str = "buildkit-controlapi-buildid";

/// How long buildkitd may take: it answers in a millisecond, and no build waits for it.
const TIME: Duration = Duration::from_secs(1);

/// buildkitd, as far as warnings need it.
#[derive(Clone)]
pub(in crate::gateway::build) struct WarningTarget {
    pub daemon: Arc<dyn Daemon>,
    pub tasks: Tasks,
}

/// The way of one build's warnings to buildkitd.
pub(super) struct DaemonWarnings {
    target: WarningTarget,
    build_ref: String,
    /// The build's client drives it over the bridge.
    bridged: AtomicBool,
    /// A task of [`super::BuildProgress`] is going to tell what is held.
    pub scheduled: AtomicBool,
}

impl DaemonWarnings {
    pub fn new(target: WarningTarget, build_ref: &str) -> Self {
        Self {
            target,
            build_ref: build_ref.to_owned(),
            bridged: AtomicBool::new(false),
            scheduled: AtomicBool::new(false),
        }
    }

    pub fn tasks(&self) -> &Tasks {
        &self.target.tasks
    }

    pub fn set_bridged(&self) {
        self.bridged.store(true, Ordering::Relaxed);
    }

    pub fn is_bridged(&self) -> bool {
        self.bridged.load(Ordering::Relaxed)
    }

    /// Hands a warning over, on a vertex that buildkitd knows.
    pub async fn tell(&self, warning: &VertexWarning) -> Result<(), GrpcStatus> {
        if !self.is_bridged() {
            let words = "the build is not driven over the bridge";
            return Err(GrpcStatus::new(Code::FailedPrecondition, words));
        }
        let warning = warning.clone();
        let request = WarnRequest {
            digest: warning.vertex,
            level: warning.level,
            short: warning.short,
            detail: warning.detail,
            url: warning.url,
            info: warning.info,
            ranges: warning.ranges,
        };
        let metadata = [(BUILD_ID, self.build_ref.as_str())];
        let call = (self.target.daemon).call(WARN, &metadata, request.encode_to_vec().into());
        let answered = tokio::time::timeout(TIME, call).await;
        let late = |_| {
            let words = "buildkitd took too long";
            GrpcStatus::new(Code::DeadlineExceeded, words)
        };
        answered.map_err(late)?.map(drop)
    }
}
