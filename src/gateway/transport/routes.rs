//! Which calls are looked into; all others pass as they are.

use super::intercept::Method;

/// The package and service of BuildKit's control API.
const CONTROL: &str = "/moby.buildkit.v1.Control/";
/// The package and service of the API that a build's frontend uses.
const LLB_BRIDGE: &str = "/moby.buildkit.v1.frontend.LLBBridge/";
/// The package and service of gRPC's health checks.
const HEALTH: &str = "/grpc.health.v1.Health/";
/// The call by which clients hand over their traces.
const TRACE: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    /// It passes as it is.
    Pass,
    /// `Control.Session`.
    Session,
    /// The gateway answers it for itself and for buildkitd.
    Health(Health),
    /// The interceptor may change it.
    Intercept(Method),
}

/// A health check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Health {
    /// One answer.
    Check,
    /// An answer whenever it is another one.
    Watch,
}

impl Route {
    /// The route of a call's path.
    pub(crate) fn from_path(path: &str) -> Self {
        if let Some(method) = path.strip_prefix(CONTROL) {
            match method {
                "Solve" => Self::Intercept(Method::Solve),
                "Status" => Self::Intercept(Method::Status),
                "Session" => Self::Session,
                _ => Self::Pass,
            }
        } else if path.strip_prefix(LLB_BRIDGE) == Some("Solve") {
            Self::Intercept(Method::LlbSolve)
        } else if let Some(method) = path.strip_prefix(HEALTH) {
            match method {
                "Check" => Self::Health(Health::Check),
                "Watch" => Self::Health(Health::Watch),
                _ => Self::Pass,
            }
        } else if path == TRACE {
            Self::Intercept(Method::Trace)
        } else {
            Self::Pass
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_calls_that_are_changed_are_looked_into() {
        let routes = [
            (
                "/moby.buildkit.v1.Control/Solve",
                Route::Intercept(Method::Solve),
            ),
            (
                "/moby.buildkit.v1.Control/Status",
                Route::Intercept(Method::Status),
            ),
            ("/moby.buildkit.v1.Control/Session", Route::Session),
            ("/moby.buildkit.v1.Control/ListWorkers", Route::Pass),
            (
                "/moby.buildkit.v1.frontend.LLBBridge/Solve",
                Route::Intercept(Method::LlbSolve),
            ),
            ("/moby.buildkit.v1.frontend.LLBBridge/Ping", Route::Pass),
            (TRACE, Route::Intercept(Method::Trace)),
            ("/grpc.health.v1.Health/Check", Route::Health(Health::Check)),
            ("/grpc.health.v1.Health/Watch", Route::Health(Health::Watch)),
            ("/grpc.health.v1.Health/List", Route::Pass),
            ("/", Route::Pass),
        ];
        for (path, route) in routes {
            assert_eq!(Route::from_path(path), route, "{path}");
        }
    }
}
