//! How each kind of row is made ready, and its rounds, in which the sides take turns.

use crate::{
    content::{Content, source},
    fixture::{Fixture, Repository, target},
    harness::Build,
    links::Wire,
    measure::{self, Measured},
    plan::Plan,
    result::Row,
    setup::{Setup, gha},
    side::Side,
    work::{Compression, Work},
};

/// Measures a row of the plan. An export of what has not changed gives two.
pub fn measure(fixture: &mut Fixture, plan: &Plan) -> Vec<Row> {
    match plan.work {
        Work::Unchanged | Work::Later => {
            let [later, unchanged] = rounds(fixture, plan, again);
            vec![
                Row::new(plan, Work::Later, &later),
                Row::new(plan, Work::Unchanged, &unchanged),
            ]
        }
        work => {
            let [measured] = match work {
                Work::Export => rounds(fixture, plan, export),
                Work::First(_) => rounds(fixture, plan, first),
                Work::Import => rounds(fixture, plan, import),
                Work::Change => rounds(fixture, plan, change),
                _ => rounds(fixture, plan, new_builder),
            };
            vec![Row::new(plan, work, &measured)]
        }
    }
}

/// One round of one side.
type Round<const N: usize> = fn(&mut Fixture, &Plan, Side, &Ready, usize) -> [Measured; N];

/// What a side has from round to round.
struct Ready {
    repository: Repository,
    build: Build,
}

/// Figures of both sides, for each of the rows that are measured together.
fn rounds<const N: usize>(
    fixture: &mut Fixture,
    plan: &Plan,
    round: Round<N>,
) -> [Vec<(Side, Measured)>; N] {
    let mut all = [(); N].map(|()| Vec::new());
    let sides = Side::BOTH
        .into_iter()
        .filter(|side| takes_part(plan, *side));
    let sides: Vec<_> = sides
        .map(|side| (side, ready(fixture, plan, side)))
        .collect();
    for number in 0..plan.rounds {
        for (side, ready) in &sides {
            let measured = round(fixture, plan, *side, ready, number);
            for (all, measured) in all.iter_mut().zip(measured) {
                all.push((*side, measured));
            }
        }
    }
    all
}

/// Stock lists at `api.github.com` alone, knows gzip alone, and takes minutes where only our memory
/// matters.
fn takes_part(plan: &Plan, side: Side) -> bool {
    let ours_alone = match plan.work {
        Work::NewBuilderListing => true,
        Work::First(compression) => compression != Compression::Gzip,
        _ => plan.content == Content::Huge,
    };
    side == Side::Ours || !ours_alone
}

/// Has the steps done and, where a row begins with a cache that is filled, fills it.
fn ready(fixture: &mut Fixture, plan: &Plan, side: Side) -> Ready {
    let repository = fixture.repository();
    let build = Build::new(fixture.context(plan.content, plan.api, side));
    let ready = Ready { repository, build };
    if !matches!(plan.work, Work::Export | Work::First(_)) {
        let proxy = fixture.proxy(Wire::None);
        let setup = Setup::warm(fixture, side, proxy);
        let filling = ready.exporting(fixture, plan, Wire::None);
        setup.builder().build(&filling).ok().no_warnings();
    }
    ready
}

impl Ready {
    fn with_empty_cache(&self, fixture: &mut Fixture) -> Self {
        Self {
            repository: fixture.repository(),
            build: self.build.clone(),
        }
    }

    fn cache(&self, fixture: &Fixture, plan: &Plan, wire: Wire) -> String {
        let mode = plan.content.mode();
        let listing = if plan.work == Work::NewBuilderListing {
            let Repository { name, token } = &self.repository;
            format!(",repository={name},ghtoken={token}")
        } else {
            String::new()
        };
        let compression = match plan.work {
            Work::First(compression) => compression,
            // The time of gzip is not what 4 GiB are for.
            _ if plan.content == Content::Huge => Compression::Uncompressed,
            _ => Compression::Gzip,
        };
        let compression = compression.attribute();
        let attributes = format!(",mode={mode}{compression}{listing}");
        gha(fixture.proxy(wire), plan.api, &self.repository, &attributes)
    }

    fn exporting(&self, fixture: &Fixture, plan: &Plan, wire: Wire) -> Build {
        let build = self.build.clone().to(self.cache(fixture, plan, wire));
        build.arg(target(plan.content.exported()))
    }

    fn importing(&self, fixture: &Fixture, plan: &Plan) -> Build {
        self.build
            .clone()
            .from(self.cache(fixture, plan, plan.wire))
    }
}

fn export(
    fixture: &mut Fixture,
    plan: &Plan,
    side: Side,
    ready: &Ready,
    _: usize,
) -> [Measured; 1] {
    let ready = ready.with_empty_cache(fixture);
    let proxy = fixture.proxy(plan.wire);
    let build = ready.exporting(fixture, plan, plan.wire);
    [measure::build(
        &Setup::warm(fixture, side, proxy),
        proxy,
        &build,
    )]
}

fn first(fixture: &mut Fixture, plan: &Plan, side: Side, ready: &Ready, _: usize) -> [Measured; 1] {
    let ready = ready.with_empty_cache(fixture);
    let proxy = fixture.proxy(plan.wire);
    let setup = Setup::fresh(fixture, side, proxy);
    let steps = ready.build.clone().arg(target(plan.content.exported()));
    setup.builder().build(&steps).ok();
    let build = ready.exporting(fixture, plan, plan.wire);
    [measure::build(&setup, proxy, &build)]
}

fn again(fixture: &mut Fixture, plan: &Plan, side: Side, ready: &Ready, _: usize) -> [Measured; 2] {
    let proxy = fixture.proxy(plan.wire);
    let setup = Setup::warm(fixture, side, proxy);
    let build = ready.exporting(fixture, plan, plan.wire);
    [(); 2].map(|()| measure::build(&setup, proxy, &build))
}

fn new_builder(
    fixture: &mut Fixture,
    plan: &Plan,
    side: Side,
    ready: &Ready,
    _: usize,
) -> [Measured; 1] {
    let proxy = fixture.proxy(plan.wire);
    let build = ready.importing(fixture, plan);
    let build = build
        .to(ready.cache(fixture, plan, plan.wire))
        .arg(target(plan.content.exported()));
    [measure::build(
        &Setup::fresh(fixture, side, proxy),
        proxy,
        &build,
    )]
}

fn import(
    fixture: &mut Fixture,
    plan: &Plan,
    side: Side,
    ready: &Ready,
    _: usize,
) -> [Measured; 1] {
    let proxy = fixture.proxy(plan.wire);
    let build = ready.importing(fixture, plan);
    let build = build.arg(target(plan.content.importing()));
    [measure::build(
        &Setup::fresh(fixture, side, proxy),
        proxy,
        &build,
    )]
}

fn change(
    fixture: &mut Fixture,
    plan: &Plan,
    side: Side,
    ready: &Ready,
    number: usize,
) -> [Measured; 1] {
    let context = fixture.context(plan.content, plan.api, side);
    context.write("source-0.c", source(0, number + 1));
    new_builder(fixture, plan, side, ready, number)
}
