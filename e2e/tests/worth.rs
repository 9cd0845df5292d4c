//! What the cache was worth: the time that cached steps took, and why others were not cached, in the build's
//! log.

use std::collections::BTreeSet;

use regex::Regex;
use serde::Deserialize;

use crate::harness::{Api, BUILD, Build, Builder, Context, Daemon, Outcome, Site, command, run};

/// Two stages, with two steps whose time shows: 1.6 s and 0.8 s. No step leaves an empty layer, and no two
/// steps end at one time: whose layer is whose is known of them by their times alone.
const SLOW: &str = "
FROM base AS tool
COPY tool.txt /tool.txt
RUN sleep 1.6 && cat /tool.txt /proc/sys/kernel/random/uuid > /tool

FROM base
RUN sleep 0.8 && cat /proc/sys/kernel/random/uuid > /made
COPY message /message
COPY --from=tool /tool /tool
RUN cat /made /tool > /end
";

/// The steps that take so long, in seconds.
const SLOW_STEPS: f64 = 2.4;

/// All steps of it.
const STEPS: usize = 8;

struct Fixture {
    site: Site,
    context: Context,
    daemon: Daemon,
}

/// What the log says of the cache's worth.
#[derive(Debug)]
struct Worth {
    cached: usize,
    total: usize,
    saved: Option<f64>,
    /// The lines below, without `not cached: `.
    missed: BTreeSet<String>,
}

impl Fixture {
    fn new() -> Self {
        let site = Site::new();
        let context = Context::with_shell(&site.lab, "slow", SLOW);
        context.write("message", "hello\n");
        context.write("tool.txt", "a tool\n");
        let daemon = Daemon::gateway(&site.lab, "gateway");
        Self {
            site,
            context,
            daemon,
        }
    }

    fn cache(&self, more: &str) -> String {
        self.site.gha(Api::V2, more)
    }

    /// Builds on a builder that has nothing.
    fn build(&self, edit: impl FnOnce(Build) -> Build) -> Outcome {
        let builder = Builder::buildctl(&self.daemon);
        builder.prune();
        builder.build(&edit(Build::new(&self.context)))
    }

    fn export(&self, mode: &str) {
        let to = self.cache(&format!(",mode={mode}"));
        let outcome = self.build(|build| build.to(to)).ok();
        let rows = rows(&outcome);
        assert!(!rows.iter().any(|row| row.contains("cached")), "{rows:#?}");
    }

    fn import(&self) -> Worth {
        let from = self.cache("");
        worth(self.build(|build| build.from(from)))
    }

    fn rewrite(&self, from: &str, to: &str) {
        let path = self.context.dir().join("Dockerfile");
        let text = std::fs::read_to_string(path).expect("the Dockerfile");
        assert!(text.contains(from), "{text}");
        self.context.write("Dockerfile", text.replace(from, to));
    }

    /// Takes the layers that an import asked for out of the cache that this picks by size.
    fn evict(&self, size: impl Fn(u64) -> bool) {
        let blobs = self
            .site
            .service
            .entries(&self.site.token, "buildkit-blob-");
        let mut evicted = blobs
            .iter()
            .filter(|blob| size(blob.size_in_bytes))
            .peekable();
        assert!(evicted.peek().is_some());
        evicted.for_each(|entry| self.site.service.delete(&self.site.token, entry));
    }
}

/// What the log of a build says; it must succeed.
fn worth(outcome: Outcome) -> Worth {
    let outcome = outcome.ok();
    let rows = rows(&outcome);
    let headline = Regex::new(r"^(\d+) of (\d+) steps cached(?:, saved ([0-9.]+)s)?$");
    let headline = headline.expect("a pattern");
    let mut found = rows.iter().filter_map(|row| headline.captures(row));
    let said = found
        .next()
        .unwrap_or_else(|| panic!("no line in {rows:#?}"));
    let number = |at: usize| said[at].parse().expect("a number");
    let missed = rows
        .iter()
        .filter_map(|row| row.strip_prefix("not cached: "));
    let of_build = rows.iter().filter(|row| row.starts_with("no step could"));
    Worth {
        cached: number(1),
        total: number(2),
        saved: said
            .get(3)
            .map(|saved| saved.as_str().parse().expect("seconds")),
        missed: missed.map(String::from).chain(of_build.cloned()).collect(),
    }
}

/// The rows of a build's log.
fn rows(outcome: &Outcome) -> BTreeSet<String> {
    #[derive(Deserialize)]
    struct Line {
        #[serde(default)]
        statuses: Vec<Row>,
    }
    #[derive(Deserialize)]
    struct Row {
        id: String,
    }
    let lines = outcome.output.lines();
    let lines = lines.filter_map(|line| serde_json::from_str::<Line>(line).ok());
    lines
        .flat_map(|line| line.statuses)
        .map(|row| row.id)
        .collect()
}

fn lines<const N: usize>(lines: [&str; N]) -> BTreeSet<String> {
    lines.map(str::to_owned).into()
}

#[test]
fn cached_steps_save_the_time_that_they_took_whoever_ran_them() {
    let fixture = Fixture::new();
    fixture.export("max");
    let warm = fixture.import();
    assert_eq!((warm.cached, warm.total), (STEPS, STEPS), "{warm:?}");
    let saved = warm.saved.expect("a time");
    assert!((SLOW_STEPS..SLOW_STEPS + 60.0).contains(&saved), "{warm:?}");
    assert!(warm.missed.is_empty(), "{warm:?}");

    // Another build runs some of the steps and writes the next index; the times of the others are in it.
    fixture.context.write("message", "another\n");
    let both = fixture.cache(",mode=max");
    let changed = worth(fixture.build(|build| build.to(both.clone()).from(both)));
    assert_eq!(changed.cached, STEPS - 3, "{changed:?}");
    assert!(
        (SLOW_STEPS..=saved).contains(&changed.saved.expect("a time")),
        "{changed:?}"
    );
    let warm = fixture.import();
    assert_eq!(warm.cached, STEPS, "{warm:?}");
    let saved = warm.saved.expect("a time");
    assert!((SLOW_STEPS..SLOW_STEPS + 60.0).contains(&saved), "{warm:?}");

    // Stock reads the index as its own.
    let stock = Daemon::stock(&fixture.site.lab, "stock");
    let import = Build::new(&fixture.context).from(fixture.cache(""));
    Builder::buildctl(&stock)
        .build(&import)
        .ok()
        .no_warnings()
        .all_cached();
    let keys = fixture.site.keys("index-buildkit");
    let index = fixture.site.service.read(&fixture.site.token, &keys[0]);
    let index = String::from_utf8(index).expect("JSON");
    assert!(
        index.contains(r#""buildkit-gha:steps":{"mode":"max""#),
        "{index}"
    );
}

/// Layers that are the same whoever makes them: no directory is made on the way.
const SAME: &str = "
FROM scratch
COPY busybox /busybox
COPY message /message
";

#[test]
fn other_times_alone_write_no_index() {
    let mut fixture = Fixture::new();
    fixture.context = Context::new(&fixture.site.lab, "same", SAME);
    fixture.context.write("message", "hello\n");
    fixture.export("max");
    fixture.export("max");
    assert_eq!(fixture.site.keys("index-buildkit").len(), 1);
}

#[test]
fn steps_that_ran_say_why() {
    let fixture = Fixture::new();
    let absent = fixture.import();
    // The import's own row says why.
    assert_eq!((absent.cached, absent.missed), (0, lines([])));
    fixture.export("max");

    fixture.context.write("message", "another\n");
    let content = fixture.import();
    let step = "[stage-2 2/4] COPY message /message: its content changed";
    assert_eq!(content.missed, lines([step, "2 steps after these"]));
    fixture.context.write("message", "hello\n");

    fixture.rewrite("sleep 0.8", "sleep 0.9");
    let command = fixture.import();
    let step = "[stage-2 1/4] RUN sleep 0.9 && cat /proc/sys/kernel/random/uuid > /made: \
                its command is new or has changed";
    assert_eq!(command.missed, lines([step, "3 steps after these"]));
    fixture.rewrite("sleep 0.9", "sleep 0.8");

    // The largest layer is busybox, which everything stands upon.
    fixture.evict(|size| size > 500_000);
    let gone = fixture.import();
    let step = "[base 1/2] COPY busybox /bin/busybox: its layer is gone from the cache";
    assert!(gone.missed.contains(step), "{gone:?}");
    assert_eq!(gone.missed.len(), 2, "{gone:?}");
}

#[test]
fn steps_that_were_not_exported_say_so() {
    let fixture = Fixture::new();
    fixture.export("min");
    // The tool stage runs again when what it feeds does.
    fixture.context.write("tool.txt", "another tool\n");
    let min = fixture.import();
    let stage = "[tool 1/2] COPY tool.txt /tool.txt";
    let not_exported = min.missed.iter().find(|line| line.contains("(mode=min)"));
    let not_exported = not_exported.unwrap_or_else(|| panic!("{min:?}"));
    assert!(not_exported.starts_with(stage), "{min:?}");
    assert!(
        min.missed.iter().all(|line| !line.contains("content")),
        "{min:?}"
    );
}

#[test]
fn other_clients_and_ways_say_it_too() {
    let fixture = Fixture::new();
    let solve = |export: &str, import: &str| {
        let mut solve = command(&fixture.site.lab, "solve");
        solve
            .arg(fixture.daemon.address())
            .arg("llb")
            .arg(fixture.context.dir());
        solve.args([export, import]);
        Outcome::from_client(run(&fixture.site.lab, "build", solve, BUILD))
    };
    let cache = fixture.cache(",mode=max,scope=llb");
    Builder::buildctl(&fixture.daemon).prune();
    solve(&cache, "").ok();
    Builder::buildctl(&fixture.daemon).prune();
    let warm = worth(solve("", &cache));
    assert_eq!((warm.cached, warm.total), (3, 3), "{warm:?}");
    assert!(warm.saved.is_some(), "{warm:?}");

    // Over the session, where layers are looked up before the build.
    fixture.export("max");
    let stock = Daemon::stock(&fixture.site.lab, "stock");
    let daemon = Daemon::in_front_of(&stock, "content", |gateway| {
        gateway.arg("--import=content");
    });
    let builder = Builder::remote(&daemon, "remote");
    fixture.context.write("message", "another\n");
    let build = Build::new(&fixture.context).from(fixture.cache(""));
    let content = worth(builder.build(&build));
    let step = "[stage-2 2/4] COPY message /message: its content changed";
    assert_eq!(content.missed, lines([step, "2 steps after these"]));
}
