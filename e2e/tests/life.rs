//! Life and death: whatever ends in the middle of a build, no other build notices, nothing is
//! left behind, and the next build works.

use std::{
    fs,
    path::PathBuf,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use crate::{
    harness::{Api, BUILD, Build, Builder, Context, Daemon, Lab, Process, Site, Vitals},
    proxy::Proxy,
};

mod clients;
mod deaths;
mod disk;
mod drain;
mod stall;

/// Where the gateway's spool is, in the test's directory.
const SPOOL: &str = "spool";

/// Some layers that do not compress, each larger than what a lookup fetches.
const LAYERS: &str = "
RUN mkdir /out && echo NAME > /out/name && head -c 3000000 /dev/urandom > /out/1
RUN head -c 3000000 /dev/urandom > /out/2
RUN head -c 3000000 /dev/urandom > /out/3 && touch -d @1000000000 /out/* /out
FROM scratch
COPY --from=base /out /
";

/// What runs beside a build that is ended: each time another step that runs, and one that a cache
/// may have.
const BESIDE: &str = "
RUN head -c 500000 /dev/urandom > /large
ARG TURN
RUN echo $TURN > /turn
";

/// A gateway with a proxy before its cache, which has been used and is idle.
struct Fixture {
    site: Site,
    proxy: Proxy,
    daemon: Daemon,
    /// What an idle gateway holds.
    idle: Vitals,
}

impl Fixture {
    fn new() -> Self {
        Self::with(&Site::new, |_| ())
    }

    /// With more settings of the gateway.
    fn with(site: &dyn Fn() -> Site, edit: impl FnOnce(&mut Command)) -> Self {
        let site = site();
        let mut daemon = start(&site, edit);
        let builder = Builder::buildctl(&daemon);
        let warm = Build::new(&site.context).to(site.gha(Api::V2, ",scope=warm"));
        builder.build(&warm).ok();
        let idle = Vitals::ask(&mut daemon.process);
        let idle = idle.clone().come_back(&mut daemon.process);
        Self {
            proxy: Proxy::start(&site.service),
            site,
            daemon,
            idle,
        }
    }

    /// Starts a gateway on the state of the one that has ended.
    fn restart(&mut self) {
        self.daemon.wait_for_root();
        self.daemon = start(&self.site, |_| ());
    }

    /// A cache entry that goes through the proxy.
    fn gha(&self, more: &str) -> String {
        let (url, token) = (self.proxy.url(), &self.site.token);
        format!("type=gha,url_v2={url},version=2,token={token}{more}")
    }

    fn builder(&self) -> Builder {
        Builder::buildctl(&self.daemon)
    }

    fn layers(&self, name: &str) -> Context {
        Context::with_shell(&self.site.lab, name, &LAYERS.replace("NAME", name))
    }

    /// Runs `work` while other builds export and import, none of which may notice.
    fn beside<T>(&self, work: impl FnOnce() -> T) -> T {
        let context =
            Context::with_shell(&self.site.lab, &unique(&self.site.lab, "beside"), BESIDE);
        let (builder, stop) = (self.builder(), AtomicBool::new(false));
        thread::scope(|scope| {
            let others = scope.spawn(|| {
                let cache = self.site.gha(Api::V2, ",scope=beside,mode=max");
                let mut turn = 0;
                while turn == 0 || !stop.load(Ordering::Relaxed) {
                    turn += 1;
                    let build = Build::new(&context).from(&cache).to(&cache);
                    let build = build.arg(format!("--opt=build-arg:TURN={turn}"));
                    builder.build(&build).ok().no_warnings();
                }
            });
            // The other builds must end if the work fails, or the scope would wait for ever.
            let stop = StopOnDrop(&stop);
            let done = work();
            drop(stop);
            others.join().expect("the builds beside it");
            done
        })
    }

    /// Fails unless nothing is left of any build and the next ones export and import.
    fn works(&mut self, name: &str) {
        self.idle.come_back(&mut self.daemon.process);
        self.nothing_in_spool();
        self.proxy.clear();
        let context = self.layers(name);
        let scope = format!(",mode=max,scope={name}");
        let builder = self.builder();
        let exported = format!("exported-{name}");
        let export = Build::new(&context).to(self.gha(&scope));
        let export = export.tar(self.site.tar(&exported));
        builder.build(&export).ok().no_warnings();
        builder.prune();
        let imported = format!("imported-{name}");
        let import = Build::new(&context).from(self.gha(&scope));
        let import = import.tar(self.site.tar(&imported));
        builder.build(&import).ok().no_warnings().all_cached();
        self.site.same(&exported, &imported);
        self.no_panic();
    }

    fn no_panic(&self) {
        let log = self.daemon.process.log();
        assert!(!log.contains("panic"), "a panic:\n{log}");
    }

    fn nothing_in_spool(&self) {
        let names = fs::read_dir(spool(&self.site.lab)).expect("the spool directory");
        let names: Vec<_> = names.flatten().map(|entry| entry.path()).collect();
        assert!(names.is_empty(), "{names:?}");
    }
}

fn start(site: &Site, edit: impl FnOnce(&mut Command)) -> Daemon {
    Daemon::gateway_with(&site.lab, "gateway", |gateway| {
        gateway.env("BUILDKIT_GHA_SPOOL_DIR", spool(&site.lab));
        edit(gateway);
    })
}

fn spool(lab: &Lab) -> PathBuf {
    lab.path(SPOOL)
}

fn unique(lab: &Arc<Lab>, name: &str) -> String {
    let free = (0..).map(|n| format!("{name}-{n}"));
    let mut free = free.filter(|name| !lab.path(name).exists());
    free.next().expect("there are many names")
}

struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Waits until a client shows this in its raw progress.
fn shows(client: &mut Process, text: &str) {
    client.until(text, BUILD, |log| log.contains(text).then_some(()));
}

/// Waits until the log has the row of an export that waits for its last layers.
fn holds(client: &mut Process) {
    let row = regex::Regex::new(r"uploading \d+ of \d+ layers").expect("a pattern");
    client.until("the export waits", BUILD, |log| {
        row.is_match(log).then_some(())
    });
}
