//! The cache heals: what was evicted, abandoned or damaged is whole again after the next export.

use std::thread;

use rustix::process::Signal;

use crate::harness::{Api, BUILD, Build, Builder, Context, Daemon, Entry, Outcome, Site};

/// Layers that are the same whoever makes them, so that an export meets what is stored: no
/// directory is made on the way. The first is too large to be fetched whole by a probe.
const SAME: &str = r"
FROM scratch
COPY busybox /busybox
COPY message /message
";

/// An export that takes long enough to lose its client.
const LARGE: &str = "
RUN head -c 300000000 /dev/urandom > /large
";

struct Fixture {
    site: Site,
    context: Context,
}

impl Fixture {
    /// A cache that a gateway of its own has filled.
    fn new() -> Self {
        let site = Site::new();
        let context = Context::new(&site.lab, "same", SAME);
        context.write("message", "hello\n");
        let fixture = Self { site, context };
        fixture.export("first", "").ok().no_warnings();
        fixture
    }

    /// On a builder that knows nothing: a gateway and a buildkitd of its own.
    fn fresh(&self, name: &str, build: &Build) -> Outcome {
        let daemon = Daemon::gateway(&self.site.lab, name);
        Builder::buildctl(&daemon).build(build)
    }

    fn export(&self, name: &str, more: &str) -> Outcome {
        let to = self.site.gha(Api::V2, &format!(",mode=max{more}"));
        self.fresh(name, &Build::new(&self.context).to(to))
    }

    fn import(&self, name: &str, more: &str) -> Outcome {
        let from = self.site.gha(Api::V2, more);
        let tar = self.site.tar(name);
        self.fresh(name, &Build::new(&self.context).from(from).tar(tar))
    }

    fn blobs(&self) -> Vec<Entry> {
        self.site
            .service
            .entries(&self.site.token, "buildkit-blob-")
    }

    /// The layer that is too large for a probe, and that all others stand upon.
    fn largest(&self) -> Entry {
        let blobs = self.blobs().into_iter();
        blobs
            .max_by_key(|entry| entry.size_in_bytes)
            .expect("a blob")
    }

    fn evict(&self) -> Vec<Entry> {
        let evicted = self.blobs();
        assert!(!evicted.is_empty());
        for entry in &evicted {
            self.site.service.delete(&self.site.token, entry);
        }
        evicted
    }
}

#[test]
fn an_evicted_layer_is_uploaded_again() {
    let fixture = Fixture::new();
    let daemon = Daemon::gateway(&fixture.site.lab, "same");
    let builder = Builder::buildctl(&daemon);
    let cache = |more| fixture.site.gha(Api::V2, more);
    let export = Build::new(&fixture.context).to(cache(",mode=max"));
    builder.build(&export).ok().no_warnings();
    // The gateway has proofs of what is gone; its own import revokes them.
    fixture.evict();
    builder.prune();
    // BuildKit says of a layer that is gone "cached" and "not found" both; it runs the step.
    builder.build(&export.from(cache(""))).ok();
    fixture
        .import("after-the-same", "")
        .ok()
        .no_warnings()
        .all_cached();

    fixture.evict();
    fixture.export("another", "").ok().no_warnings();
    fixture
        .import("after-another", "")
        .ok()
        .no_warnings()
        .all_cached();
}

#[test]
fn a_reservation_that_nobody_finishes_is_stepped_over() {
    let fixture = Fixture::new();
    let evicted = fixture.evict();
    for entry in &evicted {
        fixture.site.service.abandon(&fixture.site.token, entry);
    }
    let outcome = fixture.export("second", "").ok().no_warnings();
    assert!(
        outcome
            .output
            .contains("waiting for another job to finish its upload")
    );
    for entry in &evicted {
        assert_eq!(fixture.site.keys(&entry.key), [format!("{}#1", entry.key)]);
    }
    fixture.import("ours", "").ok().no_warnings().all_cached();
    let stock = Daemon::stock(&fixture.site.lab, "stock");
    let from = fixture.site.gha(Api::V2, "");
    let import = Build::new(&fixture.context)
        .from(from)
        .tar(fixture.site.tar("stock"));
    Builder::buildctl(&stock).build(&import).ok().all_cached();
    fixture.site.same("ours", "stock");
}

#[test]
fn damage_behind_the_probe_fails_one_build() {
    for rest in [false, true] {
        let fixture = Fixture::new();
        let damaged = fixture.largest();
        fixture.site.service.damage(&damaged);
        let more = if rest {
            format!(",repository=local/cache,ghtoken={}", fixture.site.token)
        } else {
            String::new()
        };
        // A full check makes it a miss, and writes nothing.
        let checked = fixture.import("checked", ",import-verify=full").ok();
        let mut warnings = checked.warnings.iter();
        assert!(warnings.any(|w| w.contains("cannot be used")));

        let import = |name: &str| {
            let lab = &fixture.site.lab;
            let api = fixture.site.service.url();
            let daemon = Daemon::gateway_with(lab, name, |gateway| {
                gateway.env("GITHUB_API_URL", api);
            });
            let from = fixture.site.gha(Api::V2, &more);
            let to = fixture.site.gha(Api::V2, &format!(",mode=max{more}"));
            let build = Build::new(&fixture.context).from(from).to(to);
            Builder::buildctl(&daemon).build(&build.tar(fixture.site.tar(name)))
        };
        let failed = import("fails");
        assert!(!failed.success, "{}", failed.output);
        let digest = damaged.key.trim_start_matches("buildkit-blob-1-");
        let said = failed
            .warnings
            .iter()
            .any(|w| w.contains("could not be fetched"));
        assert!(said && failed.output.contains(digest), "{}", failed.output);
        import("succeeds").ok();
        import("is-whole").ok().no_warnings().all_cached();
        // The one was made here, with times that layers do not keep.
        fixture.site.same_files("succeeds", "is-whole");
        let replaced = fixture.site.keys(&format!("{}#", damaged.key));
        assert_eq!(replaced.is_empty(), rest, "{replaced:?}");
    }
}

#[test]
fn a_layer_goes_on_when_the_build_that_began_it_is_killed() {
    let site = Site::new();
    let context = Context::with_shell(&site.lab, "large", LARGE);
    let daemon = Daemon::gateway(&site.lab, "gateway");
    let builder = Builder::buildctl(&daemon);
    let build = |scope: &str| {
        let to = site.gha(Api::V2, &format!(",mode=max,scope={scope}"));
        Build::new(&context).to(to)
    };
    let mut first = builder.start(&build("first"));
    let mut second = builder.start(&build("second"));
    first.until("the export begins", BUILD, |log| {
        log.contains("sending cache export").then_some(())
    });
    first.signal(Signal::KILL);
    first.wait(BUILD);
    assert!(second.wait(BUILD).success(), "{}", second.log());
    assert!(second.log().contains(", 0 left out;"), "{}", second.log());
    builder.prune();
    let from = site.gha(Api::V2, ",scope=second");
    let import = Build::new(&context).from(from);
    builder.build(&import).ok().no_warnings().all_cached();
}

#[test]
fn two_exports_to_one_scope_at_once() {
    let site = Site::new();
    let daemon = Daemon::gateway(&site.lab, "gateway");
    let builder = &Builder::buildctl(&daemon);
    let contexts = ["one", "two"].map(|name| Context::multi_stage(&site.lab, name));
    thread::scope(|scope| {
        for context in &contexts {
            let build = Build::new(context).to(site.gha(Api::V2, ",mode=max"));
            scope.spawn(move || {
                // The one that ends last says what it takes the place of.
                let warnings = builder.build(&build).ok().warnings;
                let replaces = |warning: &String| warning.contains("replaces the index");
                assert!(warnings.iter().all(replaces), "{warnings:?}");
            });
        }
    });
    assert_eq!(site.keys("index-").len(), 2);
    builder.prune();
    // The newer one counts: one of the two is whole, and the other one builds.
    let whole = contexts.iter().filter(|context| {
        let import = Build::new(context).from(site.gha(Api::V2, ""));
        let outcome = builder.build(&import).ok().no_warnings();
        outcome.dockerfile_steps().all(|step| step.cached)
    });
    assert!(whole.count() >= 1);
}
