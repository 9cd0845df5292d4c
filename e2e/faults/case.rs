//! What one cell has for itself: a repository of the service, a proxy in front of it, and content that
//! no other cell has.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
    time::Instant,
};

use super::{
    cell::{Cell, Options, Shape, Side},
    environment::Environment,
    expectation::holds_index_reads_back,
    observation::{Observation, Verdict},
    remote::{Remote, SCOPE},
};
use crate::{
    harness::{Api, Build, Builder, Context, Daemon, Lab, Outcome},
    proxy::{Fault, Proxy, RuleHandle, When},
};

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

/// Where one cell runs.
pub(super) struct Case<'a> {
    environment: &'a Environment,
    name: String,
    options: Options,
    context: Context,
    contents: Vec<Vec<u8>>,
    /// The cache as it stands in every build.
    cache: String,
    /// What an import says besides.
    import_options: String,
    remote: Remote,
    proxy: Proxy,
}

/// A gateway of the cell's own, which ends with it, or that of the environment.
struct Builds {
    builder: Builder,
    _own: Option<Daemon>,
}

impl<'a> Case<'a> {
    pub fn new(
        environment: &'a Environment,
        name: String,
        (api, shape, options): (Api, Shape, Options),
        timeout: u64,
    ) -> Self {
        let repository = format!("faults/{name}");
        let token = environment
            .service
            .token_of(&repository, &[&format!("{SCOPE}=rwd")]);
        let proxy = Proxy::start(&environment.service);
        let contents = contents(&shape.layers());
        let remote = Remote::new(&environment.service, &token, CACHE_SCOPE);
        remote.put_older_index();
        Self {
            context: context(&environment.lab, &name, &contents),
            environment,
            name,
            options,
            contents,
            cache: format!(
                "type=gha,{},token={token},scope={CACHE_SCOPE},timeout={timeout}s,\
                 compression=uncompressed",
                api.attributes(&proxy.url()),
            ),
            import_options: match options {
                Options::Verified => ",import-verify=full".to_owned(),
                Options::Deleting => format!(",repository={repository},ghtoken={token}"),
                Options::Plain | Options::Strict | Options::Fresh => String::new(),
            },
            remote,
            proxy,
        }
    }

    /// An export, with the rule that is made right before it.
    pub fn export(&self, disturb: impl FnOnce(&Proxy) -> Option<RuleHandle>) -> Observation {
        let rule = disturb(&self.proxy);
        let strict = match self.options {
            Options::Strict => ",ignore-error=false",
            _ => "",
        };
        let mut seen = self.exported(&format!("{}{strict}", self.cache));
        seen.hits = rule.map_or(0, |rule| rule.hits());
        seen
    }

    fn exported(&self, cache: &str) -> Observation {
        let build = Build::new(&self.context).to(cache);
        let (outcome, seconds) = timed(&self.environment.builder(), &build);
        self.judge_export(&outcome, seconds)
    }

    /// An export, and its import with the rule that is made right before it.
    pub fn import(&self, disturb: impl FnOnce(&Proxy) -> Option<RuleHandle>) -> Observation {
        self.assert_whole(&self.exported(&self.cache));
        let builds = self.builds("first");
        let rule = disturb(&self.proxy);
        let result = self.result("disturbed");
        let (outcome, seconds) = timed(&builds.builder, &self.importing(&result));
        let mut seen = self.judge_import(&outcome, seconds, &result);
        seen.hits = rule.map_or(0, |rule| rule.hits());
        seen
    }

    fn importing(&self, result: &Path) -> Build {
        let from = format!("{}{}", self.cache, self.import_options);
        let output = format!("--output=type=local,dest={}", result.display());
        Build::new(&self.context).from(from).arg(output)
    }

    /// Where builds run that are to find nothing but the cache.
    fn builds(&self, name: &str) -> Builds {
        let environment = self.environment;
        let own = self.options.are_fresh().then(|| {
            let name = format!("{}-{name}", self.name);
            environment.fresh(&name, self.proxy.url().trim_end_matches('/'))
        });
        let builder = own.as_ref().map(Builder::buildctl);
        Builds {
            builder: builder.unwrap_or_else(|| pruned(environment.builder())),
            _own: own,
        }
    }

    fn judge_export(&self, outcome: &Outcome, seconds: f64) -> Observation {
        let mut seen = Observation::new(outcome, seconds);
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
        seen.message = seen.message.or_else(|| outcome.error_of(EXPORT_ROW));
        if seen.verdict != Verdict::Whole && seen.message.is_none() {
            seen.wrong.push("the user was told nothing".to_owned());
        }
        if seen.verdict == Verdict::Failed
            && !seen
                .message
                .as_ref()
                .is_some_and(|message| message.contains(" at http"))
        {
            seen.wrong
                .push("the error names no call of the cache".to_owned());
        }
        seen
    }

    fn judge_import(&self, outcome: &Outcome, seconds: f64, result: &Path) -> Observation {
        let mut seen = Observation::new(outcome, seconds);
        if !outcome.success {
            let message = seen.message.as_deref().unwrap_or_default();
            if !(message.contains("sha256:") && message.contains("the next build")) {
                let wrong = "the error names no layer, or not what to do";
                seen.wrong.push(wrong.to_owned());
            }
            return seen;
        }
        if ran(outcome) {
            seen.verdict = Verdict::Miss;
            if seen.message.is_none() {
                seen.wrong.push("the user was told nothing".to_owned());
            }
        }
        seen.wrong.extend(self.wrong_bytes(result));
        seen
    }

    /// The build succeeds, from whatever the cache has, on a daemon that has nothing: without the
    /// fault, or in spite of it where it has failed a build. The answer is how long it took if
    /// it was without.
    pub fn next_run(&self, cell: &Cell, seen: &mut Observation) -> Option<f64> {
        let stays = stays(cell, seen);
        if !stays {
            self.proxy.clear();
        }
        // What an export has left out of the index must not disturb anybody else who reads it.
        seen.stock_read = seen.verdict == Verdict::LeftOut;
        let builds = if seen.stock_read {
            Builds {
                builder: pruned(self.environment.stock()),
                _own: None,
            }
        } else {
            self.builds("next")
        };
        let result = self.result("next");
        let (outcome, seconds) = timed(&builds.builder, &self.importing(&result));
        if !outcome.success {
            let message = Observation::new(&outcome, 0.0).message;
            seen.wrong.push(format!("the next run failed: {message:?}"));
            return None;
        }
        seen.denied = stays;
        let wrong = self.wrong_bytes(&result);
        seen.wrong
            .extend(wrong.map(|wrong| format!("next run: {wrong}")));
        if !stays && !holds_index_reads_back(cell) {
            self.judge_use(&outcome, seen);
        }
        let _ = fs::remove_dir_all(self.context.dir());
        (!stays).then_some(seconds)
    }

    /// What an export says to have saved is used.
    fn judge_use(&self, next: &Outcome, seen: &mut Observation) {
        let unused = match seen.verdict {
            Verdict::Whole => ran(next),
            Verdict::LeftOut => {
                let named = self.remote.index().map_or(0, |index| index.layers.len());
                let used = next.dockerfile_steps().filter(|step| step.cached);
                used.count() < named
            }
            Verdict::OlderKept | Verdict::Miss | Verdict::Failed => false,
        };
        if unused {
            let wrong = "the next run did not use all that the index names";
            seen.wrong.push(wrong.to_owned());
        }
    }

    fn wrong_bytes(&self, result: &Path) -> Option<String> {
        let wrong = self.contents.iter().enumerate().find(|(number, content)| {
            let file = fs::read(result.join(format!("data{number}")));
            !file.is_ok_and(|file| file == **content)
        });
        let _ = fs::remove_dir_all(result);
        wrong.map(|(number, _)| format!("layer {number} of the result has other bytes"))
    }

    pub fn assert_whole(&self, seen: &Observation) {
        assert!(
            seen.verdict == Verdict::Whole && seen.wrong.is_empty(),
            "{}, without a fault: {seen:#?}",
            self.name
        );
    }

    fn result(&self, name: &str) -> PathBuf {
        self.environment.lab.path(format!("{}-{name}", self.name))
    }
}

/// Whether the entry itself is wrong, and not only the way to it.
fn is_damage(fault: Fault) -> bool {
    matches!(
        fault,
        Fault::Flip
            | Fault::Truncate
            | Fault::Short
            | Fault::Empty
            | Fault::Long
            | Fault::Another
            | Fault::Status(404)
    )
}

/// Whether the next run must do with the fault, too. A fresh gateway learns from the cache what is
/// damaged; nothing in the cache says that a service answers probes and no downloads.
fn stays(cell: &Cell, seen: &Observation) -> bool {
    let known = match cell.options {
        Options::Fresh => is_damage(cell.fault),
        Options::Deleting => true,
        Options::Plain | Options::Strict | Options::Verified => cell.when == When::Always,
    };
    cell.side == Side::Import && seen.verdict == Verdict::Failed && known
}

fn timed(builder: &Builder, build: &Build) -> (Outcome, f64) {
    let begun = Instant::now();
    let outcome = builder.build(build);
    (outcome, begun.elapsed().as_secs_f64())
}

fn pruned(builder: Builder) -> Builder {
    builder.prune();
    builder
}

/// Whether a step ran, although it may have been said to be cached: BuildKit says so before it
/// looks for the layer, and takes it back by an error of the step.
fn ran(outcome: &Outcome) -> bool {
    let mut steps = outcome.dockerfile_steps();
    steps.any(|step| !step.cached || step.error.is_some())
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
