//! An index within the bounds of its size that costs its reader many times as much memory.

use std::{
    fmt::Write as _,
    fs,
    time::{Duration, Instant},
};

use buildkit_gha::protocol::key::IndexKey;

use super::{Row, seconds};
use crate::harness::{Api, Build, Builder, Context, Daemon, Site};

/// A chain without layers, so many times: 8.3 MiB.
const EMPTY: usize = 2_900_000;

/// Layers on top of each other, each a result of its own.
const DEEP: usize = 2_000;

/// What such an index did to a builder.
#[derive(Debug)]
pub struct Import {
    /// How long the build took.
    pub took: Duration,
    /// By how many bytes the most memory that buildkitd ever had grew.
    pub grew: u64,
    /// What its user was told.
    pub warnings: Vec<String>,
}

/// One record with so many results without layers.
pub fn empty_chains(count: usize) -> String {
    let chains = "{},".repeat(count);
    let (layer, chains) = (layer(0), chains.trim_end_matches(','));
    format!(r#"{{"layers":[{layer}],"records":[{{"digest":"x","chains":[{chains}]}}]}}"#)
}

/// So many layers, each upon the one before and each a result.
pub fn deep(count: usize) -> String {
    let (mut layers, mut records) = (String::new(), String::new());
    for at in 0..count {
        let comma = if at == 0 { "" } else { "," };
        let _ = write!(layers, "{comma}{}", layer(at));
        let digest = format!("sha256:{at:064x}");
        let _ = write!(
            records,
            r#"{comma}{{"layers":[{{"layer":{at}}}],"digest":"{digest}"}}"#
        );
    }
    format!(r#"{{"layers":[{layers}],"records":[{records}]}}"#)
}

fn layer(at: usize) -> String {
    let parent = i64::try_from(at).expect("a small number") - 1;
    format!(
        r#"{{"blob":"sha256:{at:064x}","parent":{parent},"annotations":{{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","diffID":"sha256:{at:064x}","size":100,"createdAt":"2026-02-03T04:05:06Z"}}}}"#
    )
}

/// Stores the index and has a build import it, on stock or on the gateway.
pub fn import(stock: bool, index: &str) -> Import {
    let site = Site::new();
    let key = IndexKey::new("buildkit", "refs/heads/main", false).entry(1);
    site.service.save(&site.token, &key, index.as_bytes());
    let daemon = if stock {
        Daemon::stock(&site.lab, "stock")
    } else {
        Daemon::gateway(&site.lab, "gateway")
    };
    // What a daemon allocates for its first build is none of the index.
    super::honest_build(&daemon, "before");
    let before = memory_of_buildkitd(&daemon, stock);
    let context = Context::with_shell(&site.lab, "imports", "RUN echo made > /made");
    let build = Build::new(&context).from(site.gha(Api::V2, ",scope=buildkit"));
    let began = Instant::now();
    let outcome = Builder::buildctl(&daemon).build(&build).ok();
    Import {
        took: began.elapsed(),
        grew: memory_of_buildkitd(&daemon, stock) - before,
        warnings: outcome.warnings,
    }
}

/// The most that buildkitd has had: the daemon itself, or the child of the gateway.
fn memory_of_buildkitd(daemon: &Daemon, stock: bool) -> u64 {
    if stock {
        return daemon.process.peak_memory();
    }
    let children = daemon.process.children();
    let [buildkitd] = children[..] else {
        panic!("buildkitd is the only child: {children:?}")
    };
    let status = format!("/proc/{}/status", buildkitd.as_raw_nonzero());
    let status = fs::read_to_string(status).expect("it runs");
    let mut lines = status.lines();
    let peak = lines.find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.and_then(|peak| peak.split_whitespace().next()?.parse::<u64>().ok());
    peak.expect("the kernel says it") * 1024
}

/// Nothing, many times.
pub fn empty() -> Row {
    row(
        "an index of 2.9 million empty chains is imported",
        &empty_chains(EMPTY),
    )
}

/// Results upon results.
pub fn layered() -> Row {
    row(
        "an index of 2,000 layers on top of each other, each a result, is imported",
        &deep(DEEP),
    )
}

fn row(attack: &'static str, index: &str) -> Row {
    let (ours, stock) = (import(false, index), import(true, index));
    let say = |import: &Import| {
        let grew = import.grew >> 20;
        format!("build {}; buildkitd +{grew} MiB", seconds(import.took))
    };
    let told = ours.warnings.first().map(String::as_str);
    let told = told.unwrap_or("no warning: it is dropped");
    Row {
        attack,
        result: format!("{}; {told}", say(&ours)),
        stock: say(&stock),
        held: ours.grew < stock.grew,
    }
}
