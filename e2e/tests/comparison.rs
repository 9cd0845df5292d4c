//! Figures of stock and ours side by side, for what no test of the suite compares: `make compare`.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    harness::{Api, Build, Builder, Container, Context, Daemon, Engine, Image, Lab, Outcome, Site},
    proxy::{Link, Proxy},
};

/// Starts a daemon of this name.
type Start = fn(&Site, &str) -> Daemon;

/// buildkitd without and with the gateway.
const SIDES: [(&str, Start); 2] = [
    ("stock", |site, name| Daemon::stock(&site.lab, name)),
    ("ours", |site, name| Daemon::gateway(&site.lab, name)),
];

fn cache(proxy: &Proxy, token: &str, more: &str) -> String {
    let (url, token) = (Api::V2.attributes(&proxy.url()), token);
    format!("type=gha,{url},token={token}{more}")
}

fn link(rate: u32) -> Link {
    Link {
        in_all: Some(rate),
        ..Link::NONE
    }
}

fn stored(site: &Site) -> u64 {
    let entries = site.service.entries(&site.token, "");
    entries.iter().map(|entry| entry.size_in_bytes).sum()
}

/// From nothing to the end of the first build: what a job waits for before its steps run.
#[test]
#[ignore = "prints figures: make compare"]
fn cold_start() {
    const ROUNDS: usize = 7;
    let lab = Lab::new();
    let engine = Engine::shared();
    let context = Context::new(&lab, "small", "FROM scratch\nCOPY message /message\n");
    context.write("message", "hello\n");
    let sides = [("stock", Image::Base), ("ours", Image::Default)];
    let mut times = [Vec::new(), Vec::new()];
    // Images are made before the clock runs.
    for (_, image) in sides {
        engine.image(image);
    }
    for round in 0..ROUNDS {
        for ((side, image), times) in sides.iter().zip(&mut times) {
            let begun = Instant::now();
            let name = format!("cold-{side}-{round}");
            let container = Container::of(*image, (&lab, &engine, &name), |_| ());
            let ready = begun.elapsed();
            container.builder().build(&Build::new(&context)).ok();
            times.push((ready, begun.elapsed()));
        }
    }
    for ((side, _), times) in sides.iter().zip(&mut times) {
        times.sort_unstable();
        let (ready, built) = times[ROUNDS / 2];
        println!(
            "{side}: builder ready after {ready:.2?}, first build after {built:.2?} (median of {ROUNDS})"
        );
    }
}

/// A pull request exports what the default branch has.
#[test]
#[ignore = "prints figures: make compare"]
fn pull_requests() {
    for (side, daemon) in SIDES {
        let site = Site::new();
        let context = Context::new(
            &site.lab,
            "files",
            "FROM scratch\nCOPY one /one\nCOPY two /two\n",
        );
        for name in ["one", "two"] {
            let mut bytes = vec![0; 20_000_000];
            rand::fill(&mut bytes[..]);
            context.write(name, bytes);
        }
        let proxy = Proxy::start(&site.service);
        let pull = ["refs/pull/7/merge=rw", "refs/heads/main=r"];
        for (name, token) in [("main", &site.token), ("pull", &site.service.token(&pull))] {
            let (before, begun) = (stored(&site), Instant::now());
            proxy.restart_tally();
            let build = Build::new(&context).to(cache(&proxy, token, ",mode=max"));
            Builder::buildctl(&daemon(&site, name)).build(&build).ok();
            let (grown, tally) = (stored(&site) - before, proxy.tally());
            println!(
                "{side}, {name}: {grown} bytes stored, {} reserved, {} bytes sent, {:.1?}",
                tally.reserved,
                tally.up,
                begun.elapsed()
            );
        }
    }
}

/// Bytes per second of a slow link.
const SLOW: u32 = 900_000;
const LAYERS: &str = "
RUN head -c 2500000 /dev/urandom > /one
RUN head -c 2500000 /dev/urandom > /two
";

/// How much of a build is cached on a fresh builder.
fn cached(site: &Site, daemon: Start, build: &Build, scope: &str) -> String {
    let daemon = daemon(site, &format!("reads-{scope}"));
    let from = site.gha(Api::V2, &format!(",scope={scope}"));
    let outcome = Builder::buildctl(&daemon)
        .build(&build.clone().from(from))
        .ok();
    let all = outcome.dockerfile_steps().count();
    let cached = outcome
        .dockerfile_steps()
        .filter(|step| step.cached)
        .count();
    format!("{cached} of {all} steps cached")
}

/// An export whose link is slower than its timeout.
#[test]
#[ignore = "prints figures: make compare"]
fn export_timeout() {
    for (side, daemon) in SIDES {
        let site = Site::new();
        let proxy = Proxy::with_link(&site.service, link(SLOW));
        let context = Context::with_shell(&site.lab, "layers", LAYERS);
        let build = Build::new(&context);
        let (writes, begun) = (daemon(&site, "writes"), Instant::now());
        let to = cache(&proxy, &site.token, ",mode=max,scope=slow,timeout=3s");
        let outcome = Builder::buildctl(&writes).build(&build.clone().to(to));
        println!(
            "{side}, timeout=3s: success {}, {:.1?}, {} bytes stored, {} warnings, then {}",
            outcome.success,
            begun.elapsed(),
            stored(&site),
            outcome.warnings.len(),
            cached(&site, daemon, &build, "slow"),
        );
    }
}

/// Two builds write the same layers at once, one of them with a short timeout.
#[test]
#[ignore = "prints figures: make compare"]
fn shared_transfers() {
    for (side, daemon) in SIDES {
        let site = Site::new();
        let proxy = Proxy::with_link(&site.service, link(SLOW));
        let context = Context::with_shell(&site.lab, "layers", LAYERS);
        let build = Build::new(&context);
        let writes = daemon(&site, "writes");
        let builder = &Builder::buildctl(&writes);
        builder.build(&build).ok();
        let (proxy, site, build) = (&proxy, &site, &build);
        thread::scope(|scope| {
            for (name, timeout) in [("short", "6s"), ("long", "10m")] {
                scope.spawn(move || {
                    let more = format!(",mode=max,scope={name},timeout={timeout}");
                    let to = cache(proxy, &site.token, &more);
                    let begun = Instant::now();
                    let outcome = builder.build(&build.clone().to(to));
                    println!(
                        "{side}, timeout={timeout}: success {}, {:.1?}, {} warnings",
                        outcome.success,
                        begun.elapsed(),
                        outcome.warnings.len()
                    );
                });
            }
        });
        println!(
            "{side}: {} bytes stored, {} sent; {} and {}",
            stored(site),
            proxy.tally().up,
            cached(site, daemon, build, "short"),
            cached(site, daemon, build, "long"),
        );
    }
}

/// An export of what is there, by a daemon that was started again and imports nothing: over a link
/// as that to GitHub.
#[test]
#[ignore = "prints figures: make compare"]
fn restarted() {
    const LAYERS: usize = 60;
    for (side, daemon) in SIDES {
        let site = Site::new();
        let copies = (0..LAYERS).map(|n| format!("COPY {n} /{n}\n"));
        let steps = format!("FROM scratch\n{}", copies.collect::<String>());
        let context = Context::new(&site.lab, "many", &steps);
        for n in 0..LAYERS {
            let mut bytes = vec![0; 300 << 10];
            rand::fill(&mut bytes[..]);
            context.write(&n.to_string(), bytes);
        }
        let link = Link {
            api: Duration::from_millis(120),
            blob: Duration::from_millis(25),
            ..Link::NONE
        };
        let proxy = Proxy::with_link(&site.service, link);
        let build = Build::new(&context).to(cache(&proxy, &site.token, ",mode=max"));
        for state in ["first", "restarted"] {
            let daemon = daemon(&site, side);
            proxy.restart_tally();
            let begun = Instant::now();
            Builder::buildctl(&daemon).build(&build).ok();
            let (took, tally) = (begun.elapsed(), proxy.tally());
            println!(
                "{side}, {state}: {took:.1?}, {} API calls, {} blob calls",
                tally.api, tally.blob
            );
        }
    }
}

/// Four layers of 1 GB over a link that takes longer for them than the default timeout of 10
/// minutes. Both sides run at once, each with a link of its own.
const LARGE: &str = "
RUN head -c 1000000000 /dev/urandom > /one
RUN head -c 1000000000 /dev/urandom > /two
RUN head -c 1000000000 /dev/urandom > /three
RUN head -c 1000000000 /dev/urandom > /four
ARG TURN
RUN echo $TURN && ls -l /one /two /three /four
";
const RATE: u32 = 6_000_000;
const LONG: Duration = Duration::from_mins(20);

#[test]
#[ignore = "takes a quarter of an hour and 40 GB of disk: make compare"]
fn four_large_pulls() {
    let site = Site::new();
    let context = Context::with_shell(&site.lab, "large", LARGE);
    let build = |turn: &str| Build::new(&context).arg(format!("--opt=build-arg:TURN={turn}"));
    {
        let first = Daemon::gateway(&site.lab, "first");
        let builder = Builder::buildctl(&first);
        let to = site.gha(Api::V2, ",mode=max,compression=uncompressed");
        builder.build(&build("first").to(to)).ok().no_warnings();
        builder.prune();
    }
    let (site, build) = (&site, &build);
    let succeeded = thread::scope(|scope| {
        let sides = SIDES.map(|(side, daemon)| {
            scope.spawn(move || {
                let proxy = Proxy::with_link(&site.service, link(RATE));
                let daemon = daemon(site, side);
                let import = build("again").from(cache(&proxy, &site.token, ""));
                let begun = Instant::now();
                let outcome =
                    Outcome::from_client(Builder::buildctl(&daemon).start(&import).finish(LONG));
                let large = |name: &str| name.contains("head -c 1000000000");
                let pulled = outcome.dockerfile_steps();
                let pulled = pulled
                    .filter(|step| large(&step.name) && step.cached)
                    .count();
                println!(
                    "{side}: success {}, {pulled} of 4 cached, {} bytes, {:.0?}, warnings {:?}",
                    outcome.success,
                    proxy.tally().down,
                    begun.elapsed(),
                    outcome.warnings
                );
                outcome.success && pulled == 4
            })
        });
        sides.map(|side| side.join().expect("a side"))
    });
    let [_, ours] = succeeded;
    assert!(ours);
}
