//! An export that hangs with its spool full, and the imports beside it.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{Fixture, holds};
use crate::{
    harness::{Api, BUILD, Build, Builder, Context, Daemon, SOON, Site, Vitals},
    proxy::{Fault, Rule, When},
};

/// How often each is measured, in turns.
const ROUNDS: usize = 5;

/// A stall of the daemon's slots costs tens of seconds; a busy machine does not cost as much.
const NO_STALL: Duration = Duration::from_secs(8);

/// A hundred times less than what hangs.
const EXPORT_SPOOL: &str = "2MB";

/// Many layers, so that more than BuildKit's slots hold want to go out at once.
const MANY: usize = 24;

#[test]
fn an_export_that_hangs_does_not_slow_the_imports_of_others() {
    let mut fixture = Fixture::with(&Site::new, |gateway| {
        gateway.env("BUILDKIT_GHA_EXPORT_SPOOL", EXPORT_SPOOL);
    });
    let hanging = many(&fixture);
    let builder = fixture.builder();
    // Built before, so that what is measured is the export and the import alone.
    builder.build(&Build::new(&hanging)).ok();
    let mut imports = exported(&fixture, 2 * ROUNDS + 1).into_iter();
    let mut import =
        |fixture: &Fixture| import(fixture, &imports.next().expect("one for each import"));

    // The first one fetches what all have in common.
    import(&fixture);
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        alone.push(import(&fixture));
        let hang = fixture.proxy.rule(Rule::new(Fault::Hang, When::Always));
        let to = format!(",mode=max,compression=uncompressed,scope=hang-{round}");
        let mut client = builder.start(&Build::new(&hanging).to(fixture.gha(&to)));
        client.until("an upload", BUILD, |_| (hang.hits() > 0).then_some(()));
        beside.push(import(&fixture));
        holds(&mut client);
        let spooled = Vitals::ask(&mut fixture.daemon.process).said("export_spool");
        assert!(spooled >= 1 << 20, "only {spooled} bytes are in the spool");
        client.signal(Signal::KILL);
        client.wait(SOON);
        fixture.proxy.clear();
    }
    let (alone, beside) = (median(alone), median(beside));
    println!(
        "median of {ROUNDS} imports: {alone:?} alone, {beside:?} beside an export that hangs, x {:.2}",
        beside.as_secs_f64() / alone.as_secs_f64()
    );
    assert!(
        beside < alone * 2 + NO_STALL,
        "{beside:?} against {alone:?}"
    );
    fixture.idle.come_back(&mut fixture.daemon.process);
    fixture.no_panic();
}

/// Contexts whose caches another daemon has exported, so that this one has none of their layers.
fn exported(fixture: &Fixture, count: usize) -> Vec<Context> {
    let other = Daemon::gateway(&fixture.site.lab, "other");
    let builder = Builder::buildctl(&other);
    let contexts = (0..count).map(|n| fixture.layers(&format!("import-{n}")));
    let contexts: Vec<_> = contexts.collect();
    for context in &contexts {
        let export = Build::new(context).to(cache(fixture, context));
        builder.build(&export).ok().no_warnings();
    }
    contexts
}

fn cache(fixture: &Fixture, context: &Context) -> String {
    let scope = format!(",mode=max,scope={}", context.name());
    fixture.site.gha(Api::V2, &scope)
}

/// How long an import takes.
fn import(fixture: &Fixture, context: &Context) -> Duration {
    let build = Build::new(context).from(cache(fixture, context));
    let begun = Instant::now();
    let outcome = fixture
        .builder()
        .build(&build.tar(fixture.site.tar("result")));
    let took = begun.elapsed();
    outcome.ok().no_warnings().nothing_ran();
    took
}

fn many(fixture: &Fixture) -> Context {
    let layer = |n| format!("RUN head -c 1000000 /dev/urandom > /{n}\n");
    let layers: String = (0..MANY).map(layer).collect();
    Context::with_shell(&fixture.site.lab, "many", &layers)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
