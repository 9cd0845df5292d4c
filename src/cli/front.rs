//! The flags of `serve` that say what stands in front of it and behind it.

use clap::Args;

use crate::service::config::{Network, UpstreamUrl};

/// Proxies in front of the service, and the results service behind it.
#[derive(Debug, Args)]
pub(super) struct FrontFlags {
    /// A proxy whose X-Forwarded-Proto, -Host and -For are believed: an address or a network
    /// (10.0.0.0/8); may be repeated, or be a list with commas.
    #[arg(
        long,
        env = "BUILDKIT_GHA_TRUSTED_PROXY",
        value_name = "NETWORK",
        value_delimiter = ','
    )]
    pub(super) trusted_proxy: Vec<Network>,

    /// A proxy whose connections begin with a header of the PROXY protocol, version 1 or 2, which names the client: an
    /// address or a network; may be repeated, or be a list with commas. Without the header it is refused.
    #[arg(
        long,
        env = "BUILDKIT_GHA_PROXY_PROTOCOL",
        value_name = "NETWORK",
        value_delimiter = ','
    )]
    pub(super) proxy_protocol: Vec<Network>,

    /// The results service to which everything goes that is not the cache, such as artifacts, for runners whose
    /// `ACTIONS_RESULTS_URL` leads here: `https://results-receiver.actions.githubusercontent.com` (default: that is
    /// answered with 404).
    #[arg(
        long,
        env = "BUILDKIT_GHA_UPSTREAM_RESULTS_URL",
        value_name = "URL",
        value_parser = UpstreamUrl::parse
    )]
    pub(super) upstream_results_url: Option<UpstreamUrl>,
}
