//! A gateway with its daemon and a service, which run cells one after another.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
    time::Instant,
};

use super::{
    cell::{Cell, Shape, Side},
    remote::{Remote, SCOPE},
    seen::{Seen, Verdict},
};
use crate::{
    harness::{Api, Build, Builder, Context, Daemon, Lab, Outcome, Service},
    proxy::{Proxy, RuleHandle, When},
};

/// How long an export may take in all where a fault stays, in seconds: it ends soon.
pub const TIMEOUT: u64 = 20;

/// The same where the fault passes: nothing but a hang reaches it, however slow the machine is.
const LONG_TIMEOUT: u64 = 120;

/// How long a call may take and a transfer go without progress, in seconds.
pub const SILENCE: u64 = 3;

/// The attribute `scope` of all cells; repositories keep them apart.
const CACHE_SCOPE: &str = "faults";

/// What the gateway calls BuildKit's row for an export.
const EXPORT_ROW: &str = "exporting to GitHub Actions Cache";

/// Content of layers. The first bytes are replaced, which makes layers differ.
static RANDOM: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let largest = Shape::Large.layers().into_iter().max().unwrap_or_default();
    let mut bytes = vec![0; largest];
    let mut random = fs::File::open("/dev/urandom").expect("a source of random bytes");
    std::io::Read::read_exact(&mut random, &mut bytes).expect("random bytes");
    bytes
});

/// Where cells run.
pub struct Lane {
    service: Service,
    daemon: Daemon,
    lab: Arc<Lab>,
    cells: usize,
}

/// One cell's own corner of a lane.
struct Corner<'a> {
    lane: &'a Lane,
    name: String,
    context: Context,
    contents: Vec<Vec<u8>>,
    entry: String,
    remote: Remote,
    proxy: Proxy,
}

impl Lane {
    /// Starts everything.
    pub fn start() -> Self {
        let lab = Lab::new();
        let daemon = Daemon::gateway_with(&lab, "gateway", |gateway| {
            for limit in ["NO_PROGRESS", "CALL_TIMEOUT"] {
                gateway.env(format!("BUILDKIT_GHA_{limit}"), format!("{SILENCE}s"));
            }
        });
        Self {
            service: Service::start(&lab),
            daemon,
            lab,
            cells: 0,
        }
    }

    /// How many cells it has run.
    pub fn cells(&self) -> usize {
        self.cells
    }

    /// How long a build of this kind takes when nothing goes wrong.
    pub fn undisturbed(&mut self, (api, side, shape): (Api, Side, Shape)) -> f64 {
        let corner = self.corner(api, shape, LONG_TIMEOUT);
        let seen = corner.run(side, |_| None);
        corner.assert_whole(&seen);
        seen.seconds
    }

    /// Runs a cell: the disturbed build, a look at the cache, and the next run.
    pub fn run(&mut self, cell: &Cell) -> Seen {
        let timeout = match cell.when {
            When::Always => TIMEOUT,
            When::First(_) | When::Percent(..) => LONG_TIMEOUT,
        };
        let corner = self.corner(cell.api, cell.shape, timeout);
        let mut seen = corner.run(cell.side, |proxy| Some(proxy.rule(cell.rule())));
        corner.next_run(&mut seen);
        seen
    }

    fn corner(&mut self, api: Api, shape: Shape, timeout: u64) -> Corner<'_> {
        self.cells += 1;
        Corner::new(self, api, shape, timeout)
    }
}

impl<'a> Corner<'a> {
    fn new(lane: &'a Lane, api: Api, shape: Shape, timeout: u64) -> Self {
        let name = format!("cell-{}", lane.cells);
        let scope = format!("{SCOPE}=rw");
        let token = lane.service.token_of(&format!("faults/{name}"), &[&scope]);
        let proxy = Proxy::start(&lane.service);
        let entry = format!(
            "type=gha,{},token={token},scope={CACHE_SCOPE},timeout={timeout}s,\
             compression=uncompressed",
            api.attributes(&proxy.url()),
        );
        let contents = contents(&shape.layers());
        let remote = Remote::new(&lane.service, &token, CACHE_SCOPE);
        remote.put_older_index();
        Self {
            context: context(&lane.lab, &name, &contents),
            lane,
            name,
            contents,
            entry,
            remote,
            proxy,
        }
    }

    /// The build of one side, with the rule that is made right before it.
    fn run(&self, side: Side, disturb: impl FnOnce(&Proxy) -> Option<RuleHandle>) -> Seen {
        let build = Build::of(&self.context);
        let (mut seen, rule) = match side {
            Side::Export => {
                let rule = disturb(&self.proxy);
                let (outcome, seconds) = self.timed(&build.to(&self.entry));
                (self.judge_export(&outcome, seconds), rule)
            }
            Side::Import => {
                let (exported, seconds) = self.timed(&build.clone().to(&self.entry));
                self.assert_whole(&self.judge_export(&exported, seconds));
                self.builder().prune();
                let rule = disturb(&self.proxy);
                let result = self.result("disturbed");
                let (outcome, seconds) = self.timed(&with_result(build, &result).from(&self.entry));
                (self.judge_import(&outcome, seconds, &result), rule)
            }
        };
        seen.hits = rule.map_or(0, |rule| rule.hits());
        self.proxy.clear();
        seen
    }

    fn timed(&self, build: &Build) -> (Outcome, f64) {
        let begun = Instant::now();
        let outcome = self.builder().build(build);
        (outcome, begun.elapsed().as_secs_f64())
    }

    fn judge_export(&self, outcome: &Outcome, seconds: f64) -> Seen {
        let mut seen = Seen::of(outcome, seconds);
        let index = self.remote.index();
        let Some(index) = index else {
            seen.wrong.push("the older index is gone".to_owned());
            return seen;
        };
        seen.wrong.extend(self.remote.lies(&index));
        if outcome.success {
            seen.verdict = match index.layers.len() {
                _ if index.number == 1 => Verdict::OlderKept,
                all if all == self.contents.len() => Verdict::Whole,
                _ => Verdict::LeftOut,
            };
        }
        // An index that cannot be written is the error of BuildKit's own row.
        seen.told = seen.told.or_else(|| outcome.error_of(EXPORT_ROW));
        if seen.verdict != Verdict::Whole && seen.told.is_none() {
            seen.wrong.push("the user was told nothing".to_owned());
        }
        seen
    }

    fn judge_import(&self, outcome: &Outcome, seconds: f64, result: &Path) -> Seen {
        let mut seen = Seen::of(outcome, seconds);
        if !outcome.success {
            let told = seen.told.as_deref().unwrap_or_default();
            if !(told.contains("sha256:") && told.contains("the next build")) {
                let wrong = "the error names no layer, or not what to do";
                seen.wrong.push(wrong.to_owned());
            }
            return seen;
        }
        if ran(outcome) {
            seen.verdict = Verdict::Miss;
            if seen.told.is_none() {
                seen.wrong.push("the user was told nothing".to_owned());
            }
        }
        seen.wrong.extend(self.wrong_bytes(result));
        seen
    }

    /// A fresh daemon state and no fault: the build succeeds, from whatever the cache has.
    fn next_run(&self, seen: &mut Seen) {
        self.builder().prune();
        let result = self.result("next");
        let build = with_result(Build::of(&self.context), &result);
        let (outcome, _) = self.timed(&build.from(&self.entry));
        if !outcome.success {
            seen.wrong.push(format!(
                "the next run failed: {:?}",
                Seen::of(&outcome, 0.0).told
            ));
            return;
        }
        let wrong = self.wrong_bytes(&result);
        seen.wrong
            .extend(wrong.map(|wrong| format!("next run: {wrong}")));
        // What an export says to have saved is used.
        if seen.verdict == Verdict::Whole && ran(&outcome) {
            seen.wrong
                .push("the next run did not use the cache".to_owned());
        }
        let _ = fs::remove_dir_all(self.context.dir());
    }

    fn wrong_bytes(&self, result: &Path) -> Option<String> {
        let wrong = self.contents.iter().enumerate().find(|(number, content)| {
            let file = fs::read(result.join(format!("data{number}")));
            !file.is_ok_and(|file| file == **content)
        });
        let _ = fs::remove_dir_all(result);
        wrong.map(|(number, _)| format!("layer {number} of the result has other bytes"))
    }

    fn assert_whole(&self, seen: &Seen) {
        assert!(
            seen.verdict == Verdict::Whole && seen.wrong.is_empty(),
            "{}, without a fault: {seen:#?}",
            self.name
        );
    }

    fn builder(&self) -> Builder {
        Builder::buildctl(&self.lane.daemon)
    }

    fn result(&self, name: &str) -> PathBuf {
        self.lane.lab.path(format!("{}-{name}", self.name))
    }
}

/// Whether a step ran, although it may have been said to be cached: BuildKit says so before it
/// looks for the layer, and takes it back by an error of the step.
fn ran(outcome: &Outcome) -> bool {
    let mut steps = outcome.dockerfile_steps();
    steps.any(|step| !step.cached || step.error.is_some())
}

fn with_result(build: Build, result: &Path) -> Build {
    build.arg(format!("--output=type=local,dest={}", result.display()))
}

/// Content that no other cell has.
fn contents(sizes: &[usize]) -> Vec<Vec<u8>> {
    let differing = |size: &usize| {
        let mut content = RANDOM[..*size].to_vec();
        content[..16].copy_from_slice(&rand::random::<u128>().to_le_bytes());
        content
    };
    sizes.iter().map(differing).collect()
}

/// One step for each layer. Copies need no program, and their bytes are known.
fn context(lab: &Lab, name: &str, contents: &[Vec<u8>]) -> Context {
    let steps = (0..contents.len()).map(|number| format!("COPY data{number} /data{number}\n"));
    let dockerfile = format!("FROM scratch\n{}", steps.collect::<String>());
    let context = Context::new(lab, name, &dockerfile);
    for (number, content) in contents.iter().enumerate() {
        context.write(&format!("data{number}"), content);
    }
    context
}
