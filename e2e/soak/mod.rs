//! Many builds through one gateway, with faults, kills and evictions: each that is not killed
//! succeeds with the right content, and the gateway holds in the end what it held at first.
//!
//! `make soak` runs 200 builds, `make test` a short edition of it. `SOAK_BUILDS`, `SOAK_PARALLEL`
//! and `SOAK_SEED` change it; the seed decides what each build does and which requests go wrong.
//!
//! An eviction waits for the builds in flight. An entry that goes after it was promised to
//! BuildKit and before it is read fails that build once, whatever a cache does.

mod chance;
mod faults;
mod project;
mod table;

use std::{
    sync::{
        Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rustix::process::Signal;

use self::{chance::Chance, faults::Faults, project::Project, table::Table};
use crate::{
    harness::{Api, BUILD, Builder, Daemon, Http, Service, Site, Vitals},
    proxy::Proxy,
};

/// What runs unless the environment says otherwise: short enough for every `make test`.
const BUILDS: u64 = 12;

/// Builds at the same time.
const PARALLEL: u64 = 4;

/// How many of a hundred builds are killed, begin with a prune, and end with an eviction.
const KILLED: u64 = 10;
const PRUNED: u64 = 30;
const EVICTED: u64 = 10;

/// A build is killed in the first so many milliseconds of its life, which most outlive.
const LIFE: u64 = 4000;

/// One run is bounded, whatever goes wrong.
const LONGEST: Duration = Duration::from_mins(45);

/// What the memory may grow by from the warm-up to the end: the allocator keeps what it once had,
/// and with four builds that is some buffers of each.
const MEMORY_SLACK: u64 = 48 << 20;

/// What it may grow by in the second half of a long run, when it has had whatever there is to be
/// kept: noise, and so much for each build. A board, a job or a buffer that is lost with each
/// build is more.
const LATE_SLACK: u64 = 4 << 20;
const LATE_SLACK_PER_BUILD: u64 = 32 << 10;

/// Blocking threads come and go with disk work.
const THREAD_SLACK: u64 = 8;

/// Connections that are open at a moment without any build: what pools on both sides keep, which
/// is not the same twice. A connection lost with each build would be ten times as many.
const SOCKET_SLACK: u64 = 16;

/// How long idle threads and pooled connections may take to go (10 s and 90 s). The short edition
/// does not wait for them.
const IDLE: Duration = Duration::from_mins(2);

#[test]
fn soak() {
    let soak = Soak::new(number("SOAK_SEED", 1));
    let (builds, parallel) = (
        number("SOAK_BUILDS", BUILDS),
        number("SOAK_PARALLEL", PARALLEL),
    );
    println!(
        "soak: {builds} builds, {parallel} at a time, seed {}",
        soak.seed
    );
    let mut daemon = soak.daemon();
    let builder = Builder::buildctl(&daemon);
    // All that is made once and kept is made now.
    soak.run(&builder, &daemon, 0..2 * parallel, parallel);
    let first = Vitals::ask(&mut daemon.process).come_back(&mut daemon.process);
    let begun = Instant::now();
    let (start, half) = (2 * parallel, 2 * parallel + builds / 2);
    soak.run(&builder, &daemon, start..half, parallel);
    let middle = first.come_back(&mut daemon.process);
    soak.run(&builder, &daemon, half..start + builds, parallel);
    let took = begun.elapsed();
    let mut last = first.come_back(&mut daemon.process);
    if builds > BUILDS {
        last = quiet(&mut daemon, &first);
    }

    let vitals = [&first, &middle, &last];
    soak.tally.print(took, soak.faults.hits(), vitals);
    let failures = soak.tally.failures();
    assert!(
        failures.is_empty(),
        "seed {}:\n{}",
        soak.seed,
        failures.join("\n")
    );
    assert!(!daemon.process.log().contains("panic"), "a panic");
    no_more(&last, &first);
    if builds > BUILDS {
        let late = LATE_SLACK + builds / 2 * LATE_SLACK_PER_BUILD;
        assert!(
            last.memory <= middle.memory + late,
            "memory grows: {} after half of the builds, {} in the end",
            middle.memory,
            last.memory
        );
    }
}

struct Soak {
    seed: u64,
    site: Site,
    proxy: Proxy,
    faults: Faults,
    projects: Vec<Project>,
    /// Builds read, evictions write.
    quiet: RwLock<()>,
    tally: Table,
    deadline: Instant,
}

impl Soak {
    fn new(seed: u64) -> Self {
        let site = Site::new();
        let proxy = Proxy::start(&site.service);
        let faults = Faults::make(&proxy, seed);
        Self {
            seed,
            projects: Project::all(&site.lab),
            site,
            proxy,
            faults,
            quiet: RwLock::default(),
            tally: Table::default(),
            deadline: Instant::now() + LONGEST,
        }
    }

    fn daemon(&self) -> Daemon {
        // One arena: with several, what one thread frees does not serve another, and the memory
        // grows for a while without anything being kept.
        Daemon::gateway_with(&self.site.lab, "gateway", |gateway| {
            gateway.env("MALLOC_ARENA_MAX", "1");
        })
    }

    fn run(&self, builder: &Builder, daemon: &Daemon, builds: std::ops::Range<u64>, parallel: u64) {
        let next = AtomicU64::new(builds.start);
        thread::scope(|scope| {
            for _ in 0..parallel {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= builds.end {
                            return;
                        }
                        assert!(Instant::now() < self.deadline, "not within {LONGEST:?}");
                        self.one(builder, Chance::new(self.seed, number), number);
                        self.tally.sample(&daemon.process);
                    }
                });
            }
        });
    }

    /// One build, and what chance has for it.
    fn one(&self, builder: &Builder, mut chance: Chance, number: u64) {
        {
            let _not_quiet = self.quiet.read().unwrap_or_else(PoisonError::into_inner);
            if chance.percent(PRUNED) {
                builder.prune();
            }
            let project = chance.one_of(&self.projects);
            let next = project.next_build(&mut chance, &self.site.lab, number);
            let cache = self.cache(number, &project.name);
            let mut client = builder.start(&next.build.clone().from(&cache).to(&cache));
            if chance.percent(KILLED) {
                let signal = chance.one_of(&[Signal::KILL, Signal::INT, Signal::TERM]);
                // The moment is what is tried, not what is waited for.
                if client
                    .ended_within(chance.below_milliseconds(LIFE))
                    .is_none()
                {
                    client.signal(*signal);
                    client.wait(BUILD);
                    return self.tally.killed();
                }
            }
            let status = client.wait(BUILD);
            let found = status.success().then(|| next.check());
            self.tally.built(number, found.as_ref(), &client.log());
        }
        if chance.percent(EVICTED) {
            self.evict(&mut chance);
        }
    }

    /// One entry for both directions. The protocols take turns, and share what is stored.
    fn cache(&self, number: u64, scope: &str) -> String {
        let api = if number.is_multiple_of(2) {
            Api::V2
        } else {
            Api::V1
        };
        let (api, token) = (api.attributes(&self.proxy.url()), &self.site.token);
        format!("type=gha,{api},token={token},mode=max,compression=uncompressed,scope={scope}")
    }

    /// Removes a layer from the cache, between builds.
    fn evict(&self, chance: &mut Chance) {
        let _quiet = self.quiet.write().unwrap_or_else(PoisonError::into_inner);
        let keys = self.site.keys("buildkit-blob-");
        if keys.is_empty() {
            return;
        }
        // A `#` would end the query.
        let key = utf8_percent_encode(chance.one_of::<String>(&keys), NON_ALPHANUMERIC);
        let path = format!("/repos/{}/actions/caches?key={key}", Service::REPOSITORY);
        let http = Http::new(self.site.service.address()).token(&self.site.token);
        let answer = http
            .send("DELETE", &path, b"")
            .expect("the service answers");
        assert_eq!(answer.status, 200, "{answer:?}");
        self.tally.evicted();
    }
}

/// What the gateway holds when it has no more threads and sockets than at `first`, or after
/// [`IDLE`] if it keeps them.
fn quiet(daemon: &mut Daemon, first: &Vitals) -> Vitals {
    let deadline = Instant::now() + IDLE;
    loop {
        let now = first.come_back(&mut daemon.process);
        let gone = now.threads <= first.threads && now.sockets <= first.sockets;
        if gone || Instant::now() >= deadline {
            return now;
        }
        daemon.process.ended_within(Duration::from_secs(1));
    }
}

/// Fails if the gateway holds more than before, beyond what the slacks explain.
fn no_more(last: &Vitals, first: &Vitals) {
    for (name, first, last, slack) in [
        ("memory", first.memory, last.memory, MEMORY_SLACK),
        ("threads", first.threads, last.threads, THREAD_SLACK),
        (
            "sockets",
            first.sockets as u64,
            last.sockets as u64,
            SOCKET_SLACK,
        ),
    ] {
        assert!(
            last <= first + slack,
            "{name}: {last}, {first} after the warm-up"
        );
    }
}

/// A number from the environment.
fn number(name: &str, default: u64) -> u64 {
    #[allow(
        clippy::disallowed_methods,
        reason = "what a test is told from outside"
    )]
    let value = std::env::var(name);
    value.map_or(default, |value| {
        value
            .parse()
            .unwrap_or_else(|_| panic!("{name}={value:?} is no number"))
    })
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
