//! When an index is written, and when it is not.

use std::time::Duration;

use rustix::process::Signal;

use crate::{
    harness::{Api, BUILD, Build, Builder, Context, Daemon, Site},
    proxy::{Fault, Operation, Proxy, Rule, Subject, When},
};

/// How soon a client that was told to end must have done so.
const PROMPTLY: Duration = Duration::from_secs(30);

/// An export that takes long enough to be interrupted.
const LARGE: &str = "
RUN head -c 400000000 /dev/urandom > /large
";

/// The configuration that BuildKit marshals differs from run to run when steps change nothing;
/// the graph does not.
#[test]
fn an_unchanged_graph_is_written_once() {
    let site = Site::new();
    let daemon = Daemon::gateway(&site.lab, "gateway");
    let builder = Builder::buildctl(&daemon);
    for (api, scope) in [(Api::V1, "one"), (Api::V2, "two")] {
        let cache = site.gha(api, &format!(",mode=max,scope={scope}"));
        let build = Build::new(&site.context).to(cache);
        for _ in 0..3 {
            builder.build(&build).ok().no_warnings();
            let keys = site.keys(&format!("index-{scope}-"));
            assert_eq!(keys.len(), 1, "{api:?}: {keys:?}");
        }
    }
}

#[test]
fn a_cancelled_build_leaves_no_index() {
    let site = Site::new();
    let daemon = Daemon::gateway(&site.lab, "gateway");
    let builder = Builder::buildctl(&daemon);
    let context = Context::with_shell(&site.lab, "large", LARGE);
    let build = Build::new(&context).to(site.gha(Api::V2, ",mode=max"));
    for signal in [Signal::INT, Signal::KILL] {
        let mut client = builder.start(&build);
        client.until("the export begins", BUILD, |log| {
            log.contains("uploading layers").then_some(())
        });
        client.signal(signal);
        client.wait(PROMPTLY);
        assert_eq!(site.keys("index-"), Vec::<String>::new(), "{signal:?}");
    }
    // The keys that the cancelled uploads had reserved stay taken. The next build steps over them.
    builder.build(&build).ok().no_warnings();
    assert_eq!(site.keys("index-").len(), 1);
    builder.prune();
    builder
        .build(&build.from(site.gha(Api::V2, "")))
        .ok()
        .no_warnings()
        .all_cached();
}

/// As stock, which asks for no more than the number of the newest one.
#[test]
fn an_index_that_cannot_be_read_stops_no_later_export() {
    let site = Site::new();
    let daemon = Daemon::gateway(&site.lab, "gateway");
    let builder = Builder::buildctl(&daemon);
    let proxy = Proxy::start(&site.service);
    let (url, token) = (proxy.url(), &site.token);
    let cache = format!("type=gha,url_v2={url},version=2,token={token},mode=max");
    let build = Build::new(&site.context).to(cache);
    builder.build(&build).ok().no_warnings();
    let gone = Rule::new(Fault::Status(404), When::Always);
    proxy.rule(gone.on(Operation::Read).about(Subject::Index));
    for written in [2, 3] {
        site.context.write("message", format!("{written}\n"));
        let warnings = builder.build(&build).ok().warnings;
        let said = |warning: &String| warning.contains("could not be read");
        assert!(warnings.iter().any(said), "{warnings:?}");
        assert_eq!(site.keys("index-").len(), written);
    }
    proxy.clear();
    builder.prune();
    let import = build.from(site.gha(Api::V2, ""));
    builder.build(&import).ok().no_warnings().all_cached();
}
