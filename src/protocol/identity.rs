//! How a service of this program says who it is. Proxies replace `Server`, and pass on what they do not know.

use http::{HeaderName, HeaderValue};

/// A header of its answer on `/healthz`.
pub const SERVICE: HeaderName = HeaderName::from_static("x-buildkit-gha");

/// What it says.
pub const SERVE: HeaderValue = HeaderValue::from_static("serve");
