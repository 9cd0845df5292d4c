//! How imports reach buildkitd: what the endpoint shows, and what build steps may hear of it.

use url::Url;

use super::error::BuildError;
use crate::{
    config::{Buildkitd, GatewayConfig},
    gateway::{ImportTransport, endpoint::tls::Identity},
};

/// How imports reach buildkitd, and who else may listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ImportPlan {
    pub transport: ImportTransport,
    /// What passes through the endpoint passes in clear where build steps may listen.
    pub overheard: bool,
}

/// What the endpoint shows: a certificate of the operator's, or one that a buildkitd which we start is
/// told to trust. Under another URL whoever named that knows what stands there.
pub(super) fn identity(config: &GatewayConfig) -> Result<Option<Identity>, BuildError> {
    let imports = &config.imports;
    let identity = match (&imports.tls, &config.buildkitd) {
        (Some(files), _) => Identity::from_files(files),
        (None, Buildkitd::Child { .. }) if imports.url.is_none() => {
            Identity::ephemeral(imports.listen.ip())
        }
        _ => return Ok(None),
    };
    identity.map(Some).map_err(BuildError::Tls)
}

/// Chooses the transport where nobody has: the session, if the endpoint can be overheard (ADR 41).
pub(super) fn choose(
    said: Option<ImportTransport>,
    endpoint: &Url,
    steps_share: bool,
) -> ImportPlan {
    let overheard = steps_share && endpoint.scheme() != "https";
    let transport = said.unwrap_or(if overheard {
        ImportTransport::Content
    } else {
        ImportTransport::Loopback
    });
    ImportPlan {
        transport,
        overheard,
    }
}

/// Says at the start what build steps may hear.
pub(super) fn warn(config: &GatewayConfig, plan: ImportPlan, steps_share: bool) {
    if plan.overheard {
        let imports = match plan.transport {
            ImportTransport::Loopback => "imports pass there in clear, as BUILDKIT_GHA_IMPORT says",
            ImportTransport::Content => "imports go over the session instead",
        };
        tracing::warn!(
            "build steps share buildkitd's network and may listen to the import endpoint: {imports}; \
             exports that BuildKit makes itself pass there in clear. Give the gateway a certificate that \
             buildkitd trusts (--import-tls-cert, --import-tls-key), or steps a network of their own \
             (buildkitd --oci-worker-net=bridge)"
        );
    }
    let url = config.modules.interceptor.overrides.service.url();
    if steps_share && url.is_some_and(|url| url.scheme() != "https") {
        tracing::warn!(
            "BUILDKIT_GHA_URL is plain http, and build steps share buildkitd's network: where that is \
             also the gateway's, they may read the token of the cache and use it. Give the service TLS \
             (serve --tls-cert, --tls-key), or steps a network of their own"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_overheard_is_not_said_unless_somebody_wants_it_so() {
        use ImportTransport::{Content, Loopback};
        let plain = "http://127.0.0.1:1/".parse().unwrap();
        let private = "https://127.0.0.1:1/".parse().unwrap();
        for (said, url, steps_share, transport, overheard) in [
            (None, &plain, true, Content, true),
            (None, &plain, false, Loopback, false),
            (None, &private, true, Loopback, false),
            (None, &private, false, Loopback, false),
            (Some(Loopback), &plain, true, Loopback, true),
            (Some(Content), &private, true, Content, false),
        ] {
            let plan = choose(said, url, steps_share);
            assert_eq!(
                plan,
                ImportPlan {
                    transport,
                    overheard,
                },
                "{said:?} {url} {steps_share}"
            );
        }
    }
}
