//! Exports that outlive their builds (`async=true`), and what waits for them.

use std::thread;

use rustix::process::Signal;

use crate::{
    harness::{Api, BUILD, Build, Builder, Context, Daemon, SOON, Site},
    proxy::{Fault, Link, Operation, Proxy, Rule, Subject, When},
};

/// Two layers that do not compress.
const LAYERS: &str = "
RUN mkdir /out && head -c 1500000 /dev/urandom > /out/one
RUN head -c 1500000 /dev/urandom > /out/two && touch -d @1000000000 /out/* /out
";

/// What of them is the result: layers keep no more of a time than whole seconds.
const RESULT: &str = "
FROM scratch
COPY --from=base /out /
";

/// One more step.
const CHANGED: &str = "
RUN head -c 300000 /dev/urandom > /three
";

/// Bytes per second: the layers take about five seconds.
const RATE: u32 = 600_000;

/// A gateway before a service, and a proxy between them.
struct Fixture {
    site: Site,
    proxy: Proxy,
    daemon: Daemon,
}

impl Fixture {
    fn new(link: Link) -> Self {
        let site = Site::new();
        Self {
            proxy: Proxy::with_link(&site.service, link),
            daemon: Daemon::gateway(&site.lab, "gateway"),
            site,
        }
    }

    /// An export through the proxy that does not hold its build.
    fn cache(&self) -> String {
        let (url, token) = (self.proxy.url(), &self.site.token);
        format!("type=gha,url_v2={url},version=2,token={token},mode=max,async=true")
    }

    /// No layer of any build gets a reservation from now on.
    fn hang(&self) {
        let hang = Rule::new(Fault::Hang, When::Always).on(Operation::Create);
        self.proxy.rule(hang.about(Subject::Layer));
    }

    fn pending(&self) -> u64 {
        let pending = &self.daemon.stats()["pending_exports"];
        pending.as_u64().expect("a number")
    }

    /// What `stats` says of the export of the build that began so many builds ago.
    fn state(&self, ago: usize) -> String {
        let state = &self.daemon.stats()["builds"][ago]["exports"][0]["state"];
        state.as_str().unwrap_or_default().to_owned()
    }

    fn indexes(&self) -> usize {
        self.site.keys("index-").len()
    }
}

/// On a slow link the build ends long before its upload; whoever drains waits for that.
#[test]
fn a_build_does_not_wait_for_its_upload() {
    let fixture = Fixture::new(Link {
        in_all: Some(RATE),
        ..Link::NONE
    });
    let context = Context::with_shell(&fixture.site.lab, "layers", &format!("{LAYERS}{RESULT}"));
    let build = Build::new(&context);
    let builder = Builder::remote(&fixture.daemon, "slow");
    let export = build.clone().to(fixture.cache());
    let outcome = builder.build(&export.tar(fixture.site.tar("exported")));
    let outcome = outcome.ok().no_warnings();
    assert!(
        outcome
            .output
            .contains("cache goes on after the build (async=true)"),
        "{}",
        outcome.output
    );
    assert_eq!((fixture.pending(), fixture.indexes()), (1, 0));
    assert_eq!(fixture.state(0), "pending");
    // The same scope, while it is on its way, on the same builder.
    let again = build.clone().from(fixture.cache()).to(fixture.cache());
    builder.build(&again).ok().no_warnings().all_cached();
    let drained = fixture.daemon.ask(&["drain"]);
    assert!(drained.stderr.contains("waiting for"), "{}", drained.stderr);
    assert_eq!(drained.ok("drain"), "all cache exports are written\n");
    assert_eq!((fixture.pending(), fixture.indexes()), (0, 1));
    // They have the same layers: whichever is done first, the index is written once.
    let ends = [fixture.state(1), fixture.state(0)];
    let is_one_of = [["written", "unchanged"], ["skipped", "written"]]
        .contains(&[ends[0].as_str(), ends[1].as_str()]);
    assert!(is_one_of, "{ends:?}");
    // Another builder has all of it.
    let second = Daemon::gateway(&fixture.site.lab, "second");
    let import = build.from(fixture.site.gha(Api::V2, ""));
    let import = import.tar(fixture.site.tar("imported"));
    let builder = Builder::remote(&second, "second");
    builder.build(&import).ok().no_warnings().all_cached();
    fixture.site.same("exported", "imported");
}

/// The index that was there before serves on.
#[test]
fn a_gateway_that_is_killed_before_leaves_the_cache_as_it_was() {
    let mut fixture = Fixture::new(Link::NONE);
    let lab = fixture.site.lab.clone();
    let before = Build::new(&Context::with_shell(
        &lab,
        "before",
        &format!("{LAYERS}{RESULT}"),
    ));
    let export = before.clone().to(fixture.site.gha(Api::V2, ",mode=max"));
    let export = export.tar(fixture.site.tar("before"));
    Builder::buildctl(&fixture.daemon)
        .build(&export)
        .ok()
        .no_warnings();
    fixture.hang();
    let changed = Context::with_shell(&lab, "changed", &format!("{LAYERS}{CHANGED}{RESULT}"));
    let changed = Build::new(&changed).to(fixture.cache());
    Builder::buildctl(&fixture.daemon)
        .build(&changed)
        .ok()
        .no_warnings();
    assert_eq!((fixture.pending(), fixture.indexes()), (1, 1));
    fixture.daemon.process.signal(Signal::KILL);
    fixture.daemon.process.wait(SOON);
    assert_eq!(fixture.indexes(), 1);

    let second = Daemon::gateway(&lab, "second");
    let import = before.from(fixture.site.gha(Api::V2, ""));
    let import = import.tar(fixture.site.tar("after"));
    let builder = Builder::buildctl(&second);
    builder.build(&import).ok().no_warnings().all_cached();
    fixture.site.same("before", "after");
    // The socket that the killed one left behind is nobody's.
    let next = Daemon::gateway(&lab, "gateway");
    assert_eq!(next.stats()["pending_exports"], 0);
}

#[test]
fn a_signal_waits_for_pending_exports() {
    let mut fixture = Fixture::new(Link::NONE);
    let slow = Rule::new(Fault::Throttled(Some(4)), When::First(1)).on(Operation::Create);
    fixture.proxy.rule(slow.about(Subject::Layer));
    let builder = Builder::buildctl(&fixture.daemon);
    let build = Build::new(&fixture.site.context).to(fixture.cache());
    builder.build(&build).ok();
    assert_eq!((fixture.pending(), fixture.indexes()), (1, 0));
    fixture.daemon.process.signal(Signal::TERM);
    let waits = "waiting for 0 builds, 0 cache exports, 1 cache export of builds that have ended";
    fixture
        .daemon
        .process
        .until(waits, SOON, |log| log.contains(waits).then_some(()));
    let unready = fixture.daemon.admin("GET", "/readyz").expect("an answer");
    assert_eq!(
        (unready.status, &*unready.body),
        (503, &b"it is shutting down\n"[..])
    );
    let status = fixture.daemon.process.wait(SOON);
    assert_eq!(status.code(), Some(1), "as buildkitd ends");
    assert_eq!(fixture.indexes(), 1);
    assert!(!fixture.daemon.admin_socket().exists());
}

/// It gives up, says what is left, and stops no build.
#[test]
fn a_drain_ends_in_time_and_builds_go_on() {
    let fixture = Fixture::new(Link::NONE);
    fixture.hang();
    let builder = Builder::buildctl(&fixture.daemon);
    let build = Build::new(&fixture.site.context).to(fixture.cache() + ",scope=stuck");
    builder.build(&build).ok();
    thread::scope(|scope| {
        let drain = scope.spawn(|| fixture.daemon.ask(&["drain", "--timeout", "5s"]));
        let ready = || fixture.daemon.admin("GET", "/readyz").expect("an answer");
        let mut unready = ready();
        while unready.status == 200 {
            unready = ready();
        }
        assert_eq!(
            (unready.status, &*unready.body),
            (503, &b"it is being drained\n"[..])
        );
        let other = Context::with_shell(&fixture.site.lab, "other", CHANGED);
        builder.build(&Build::new(&other)).ok().no_warnings();
        let drained = drain.join().expect("a drain");
        assert_eq!(drained.status.code(), Some(1), "{}", drained.stderr);
        assert!(
            drained
                .stderr
                .contains("not drained within 5s: 1 cache export: stuck ("),
            "{}",
            drained.stderr
        );
        assert_eq!(ready().status, 200);
    });
    assert_eq!(fixture.pending(), 1);
}

/// There is nobody any more whose log could have it.
#[test]
fn what_fails_after_the_build_stands_in_the_log_and_in_stats() {
    let mut fixture = Fixture::new(Link::NONE);
    let denied = Rule::new(Fault::WriteDenied, When::Always).on(Operation::Create);
    fixture.proxy.rule(denied.about(Subject::Index));
    let build = Build::new(&fixture.site.context).to(fixture.cache());
    Builder::buildctl(&fixture.daemon).build(&build).ok();
    let why = "cache write denied: injected by the test";
    fixture
        .daemon
        .process
        .until(why, BUILD, |log| log.contains(why).then_some(()));
    let drained = fixture.daemon.ask(&["drain", "-o", "json"]);
    assert_eq!(drained.status.code(), Some(1), "{}", drained.stderr);
    let words = "1 cache export has failed; `buildkit-gha stats` says why";
    assert!(drained.stderr.contains(words), "{}", drained.stderr);
    assert!(
        drained.stdout.contains("\"failed\":1"),
        "{}",
        drained.stdout
    );
    fixture.daemon.ask(&["drain"]).ok("a drain after that");
    assert_eq!((fixture.indexes(), &*fixture.state(0)), (0, "failed"));
    let warnings = &fixture.daemon.stats()["builds"][0]["warnings"];
    assert!(warnings.to_string().contains(why), "{warnings}");
}
