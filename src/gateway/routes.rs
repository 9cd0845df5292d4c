//! Which calls are looked into; all others pass as they are.

/// The package and service of BuildKit's control API.
const CONTROL: &str = "/moby.buildkit.v1.Control/";
/// The package and service of the API that a build's frontend uses.
const LLB_BRIDGE: &str = "/moby.buildkit.v1.frontend.LLBBridge/";
/// The call by which clients hand over their traces.
const TRACE: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
/// The package and service of content stores inside a session.
const CONTENT: &str = "/containerd.services.content.v1.Content/";

/// The methods of a content store.
const CONTENT_METHODS: [&str; 9] = [
    "Info",
    "Update",
    "List",
    "Delete",
    "Read",
    "Status",
    "ListStatuses",
    "Write",
    "Abort",
];

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    /// It passes as it is.
    Pass,
    /// `Control.Solve`.
    Solve,
    /// `LLBBridge.Solve`.
    LlbSolve,
    /// `Control.Status`.
    Status,
    /// `Control.Session`.
    Session,
    /// `TraceService.Export`.
    Trace,
}

impl Route {
    /// The route of a call's path.
    pub(super) fn of(path: &str) -> Self {
        if let Some(method) = path.strip_prefix(CONTROL) {
            match method {
                "Solve" => Self::Solve,
                "Status" => Self::Status,
                "Session" => Self::Session,
                _ => Self::Pass,
            }
        } else if path.strip_prefix(LLB_BRIDGE) == Some("Solve") {
            Self::LlbSolve
        } else if path == TRACE {
            Self::Trace
        } else {
            Self::Pass
        }
    }
}

/// Whether a call inside a session is one to a content store.
pub(super) fn is_content(path: &str) -> bool {
    path.starts_with(CONTENT)
}

/// The paths of all methods of a content store.
pub(super) fn content_paths() -> impl Iterator<Item = String> {
    CONTENT_METHODS
        .iter()
        .map(|method| format!("{CONTENT}{method}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_calls_that_are_changed_are_looked_into() {
        let routes = [
            ("/moby.buildkit.v1.Control/Solve", Route::Solve),
            ("/moby.buildkit.v1.Control/Status", Route::Status),
            ("/moby.buildkit.v1.Control/Session", Route::Session),
            ("/moby.buildkit.v1.Control/ListWorkers", Route::Pass),
            (
                "/moby.buildkit.v1.frontend.LLBBridge/Solve",
                Route::LlbSolve,
            ),
            ("/moby.buildkit.v1.frontend.LLBBridge/Ping", Route::Pass),
            (TRACE, Route::Trace),
            ("/grpc.health.v1.Health/Check", Route::Pass),
            ("/", Route::Pass),
        ];
        for (path, route) in routes {
            assert_eq!(Route::of(path), route, "{path}");
        }
    }
}
