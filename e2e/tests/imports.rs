//! Imports that stock is good at: slow links, and many of them on one daemon.

use std::{fmt::Write as _, fs::File, io::Read as _, time::Duration};

use rustix::process::Signal;

use crate::{
    harness::{Api, Build, Builder, Context, Daemon, SOON, Site},
    proxy::{Link, Proxy},
};

/// A layer that takes three seconds at [`SLOW`], and a step that needs it.
const LARGE: &str = "
RUN head -c 6000000 /dev/urandom > /large
RUN cp /large /copy
";

/// Bytes per second of the slow link.
const SLOW: u32 = 2_000_000;

#[test]
fn a_slow_link_fails_no_build_whatever_the_timeout() {
    let site = Site::new();
    let context = Context::with_shell(&site.lab, "large", LARGE);
    let first = Daemon::gateway(&site.lab, "first");
    let export = Build::new(&context).to(site.gha(Api::V2, ",mode=max"));
    Builder::buildctl(&first).build(&export).ok().no_warnings();

    let link = Link {
        in_all: Some(SLOW),
        ..Link::NONE
    };
    let proxy = Proxy::with_link(&site.service, link);
    let fresh = Daemon::gateway(&site.lab, "fresh");
    let from = format!(
        "type=gha,url_v2={},version=2,token={},timeout=1s",
        proxy.url(),
        site.token
    );
    let import = Build::new(&context).from(from).tar(site.tar("slow"));
    let outcome = Builder::buildctl(&fresh).build(&import);
    outcome.ok().no_warnings().all_cached();
}

/// Layers of one import, each small enough to be read with the look that promises it.
const LAYERS: usize = 60;
const LAYER: usize = 200 << 10;

/// Imports beside one long build; they bring twice [`MEMORY`] in all.
const IMPORTS: usize = 16;

/// What the gateway may have at most.
const MEMORY: u64 = 96 << 20;

const LONG: &str = "
RUN echo begun && sleep 600
";

#[test]
fn ended_builds_leave_nothing_in_memory_beside_a_long_one() {
    let site = Site::new();
    let daemon = Daemon::gateway(&site.lab, "gateway");
    let builder = Builder::buildctl(&daemon);
    let mut steps = "FROM scratch\n".to_owned();
    for layer in 0..LAYERS {
        writeln!(steps, "COPY {layer} /{layer}").expect("a string");
    }
    let context = Context::new(&site.lab, "many", &steps);
    let mut random = File::open("/dev/urandom").expect("random bytes");
    for layer in 0..LAYERS {
        let mut bytes = vec![0; LAYER];
        random.read_exact(&mut bytes).expect("random bytes");
        context.write(&layer.to_string(), bytes);
    }
    let build = Build::new(&context);
    let export = build.clone().to(site.gha(Api::V2, ",mode=max"));
    builder.build(&export).ok().no_warnings();

    let long = Context::with_shell(&site.lab, "long", LONG);
    let mut long = builder.start(&Build::new(&long));
    let begun = |log: &str| log.contains("begun").then_some(());
    long.until("the long build is in its step", SOON, begun);
    for _ in 0..IMPORTS {
        builder.prune();
        // Without a result no layer is pulled: what was read to promise them is all that there is.
        let import = build.clone().from(site.gha(Api::V2, ""));
        builder.build(&import).ok().no_warnings().nothing_ran();
    }
    let peak = daemon.process.peak_memory();
    long.signal(Signal::KILL);
    long.ended_within(Duration::from_secs(10));
    assert!(peak < MEMORY, "{peak} bytes");
}
