//! What is measured: how each kind of row is made ready, and its rounds, in which the sides take
//! turns.

use serde::Serialize;

use crate::{
    bed::{Bed, Repository, target},
    content::{Content, source},
    harness::Build,
    links::Wire,
    measure::{self, Measured},
    plan::Plan,
    result::Row,
    rig::{Rig, Side, gha},
};

/// Kinds of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Work {
    /// All layers are new to the cache.
    Export,
    /// The same, and new to the builder, which compresses them so.
    First(Compression),
    /// Nothing has changed, and this gateway has just exported the same.
    Unchanged,
    /// Nothing has changed, and what this gateway knows is older than it believes.
    Later,
    /// Nothing has changed, on a new builder: an import and an export.
    NewBuilder,
    /// The same with a token for the REST API.
    NewBuilderListing,
    /// A new builder imports, and runs one more step on the result.
    Import,
    /// A new builder imports, one source file has changed, and the result is exported.
    Change,
}

/// What an export does with layers that are not compressed yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Stock's only one.
    Gzip,
    Zstd,
    /// Nothing.
    Uncompressed,
}

impl Compression {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Gzip, Self::Zstd, Self::Uncompressed];

    /// As the attribute of an export.
    fn attribute(self) -> &'static str {
        match self {
            Self::Gzip => "",
            Self::Zstd => ",compression=zstd",
            Self::Uncompressed => ",compression=uncompressed",
        }
    }
}

impl Work {
    /// What the table calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Export => "export",
            Self::First(Compression::Gzip) => "first export, gzip",
            Self::First(Compression::Zstd) => "first export, zstd",
            Self::First(Compression::Uncompressed) => "first export, uncompressed",
            Self::Unchanged => "nothing changed, same builder",
            Self::Later => "nothing changed, same builder, later",
            Self::NewBuilder => "nothing changed, new builder",
            Self::NewBuilderListing => "nothing changed, new builder, REST",
            Self::Import => "import",
            Self::Change => "one source changed, new builder",
        }
    }

    /// True if each round compresses, so that all of the export counts, and not its send alone.
    pub fn compresses(self) -> bool {
        matches!(self, Self::First(_))
    }

    /// True if the wall is what counts, and not the export's send.
    pub fn counts_wall(self) -> bool {
        matches!(self, Self::Import | Self::Change)
    }
}

/// Measures a row of the plan. An export of what has not changed gives two.
pub fn measure(bed: &mut Bed, plan: &Plan) -> Vec<Row> {
    match plan.work {
        Work::Unchanged | Work::Later => {
            let [later, unchanged] = rounds(bed, plan, again);
            vec![
                Row::new(plan, Work::Later, &later),
                Row::new(plan, Work::Unchanged, &unchanged),
            ]
        }
        work => {
            let [measured] = match work {
                Work::Export => rounds(bed, plan, export),
                Work::First(_) => rounds(bed, plan, first),
                Work::Import => rounds(bed, plan, import),
                Work::Change => rounds(bed, plan, change),
                _ => rounds(bed, plan, new_builder),
            };
            vec![Row::new(plan, work, &measured)]
        }
    }
}

/// One round of one side.
type Round<const N: usize> = fn(&mut Bed, &Plan, Side, &Ready, usize) -> [Measured; N];

/// What a side has from round to round.
struct Ready {
    repository: Repository,
    build: Build,
}

/// Figures of both sides, for each of the rows that are measured together.
fn rounds<const N: usize>(
    bed: &mut Bed,
    plan: &Plan,
    round: Round<N>,
) -> [Vec<(Side, Measured)>; N] {
    let mut all = [(); N].map(|()| Vec::new());
    let sides = Side::BOTH
        .into_iter()
        .filter(|side| takes_part(plan, *side));
    let sides: Vec<_> = sides.map(|side| (side, ready(bed, plan, side))).collect();
    for number in 0..plan.rounds {
        for (side, ready) in &sides {
            let measured = round(bed, plan, *side, ready, number);
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
fn ready(bed: &mut Bed, plan: &Plan, side: Side) -> Ready {
    let repository = bed.repository();
    let build = Build::of(bed.context(plan.content, plan.api, side));
    let ready = Ready { repository, build };
    if !matches!(plan.work, Work::Export | Work::First(_)) {
        let proxy = bed.proxy(Wire::None);
        let rig = Rig::warm(bed, side, proxy);
        let filling = ready.exporting(bed, plan, Wire::None);
        rig.builder().build(&filling).ok().no_warnings();
    }
    ready
}

impl Ready {
    fn with_empty_cache(&self, bed: &mut Bed) -> Self {
        Self {
            repository: bed.repository(),
            build: self.build.clone(),
        }
    }

    fn cache(&self, bed: &Bed, plan: &Plan, wire: Wire) -> String {
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
        gha(bed.proxy(wire), plan.api, &self.repository, &attributes)
    }

    fn exporting(&self, bed: &Bed, plan: &Plan, wire: Wire) -> Build {
        let build = self.build.clone().to(self.cache(bed, plan, wire));
        build.arg(target(plan.content.exported()))
    }

    fn importing(&self, bed: &Bed, plan: &Plan) -> Build {
        self.build.clone().from(self.cache(bed, plan, plan.wire))
    }
}

fn export(bed: &mut Bed, plan: &Plan, side: Side, ready: &Ready, _: usize) -> [Measured; 1] {
    let ready = ready.with_empty_cache(bed);
    let proxy = bed.proxy(plan.wire);
    let build = ready.exporting(bed, plan, plan.wire);
    [measure::build(&Rig::warm(bed, side, proxy), proxy, &build)]
}

fn first(bed: &mut Bed, plan: &Plan, side: Side, ready: &Ready, _: usize) -> [Measured; 1] {
    let ready = ready.with_empty_cache(bed);
    let proxy = bed.proxy(plan.wire);
    let rig = Rig::fresh(bed, side, proxy);
    let steps = ready.build.clone().arg(target(plan.content.exported()));
    rig.builder().build(&steps).ok();
    let build = ready.exporting(bed, plan, plan.wire);
    [measure::build(&rig, proxy, &build)]
}

fn again(bed: &mut Bed, plan: &Plan, side: Side, ready: &Ready, _: usize) -> [Measured; 2] {
    let proxy = bed.proxy(plan.wire);
    let rig = Rig::warm(bed, side, proxy);
    let build = ready.exporting(bed, plan, plan.wire);
    [(); 2].map(|()| measure::build(&rig, proxy, &build))
}

fn new_builder(bed: &mut Bed, plan: &Plan, side: Side, ready: &Ready, _: usize) -> [Measured; 1] {
    let proxy = bed.proxy(plan.wire);
    let build = ready.importing(bed, plan);
    let build = build
        .to(ready.cache(bed, plan, plan.wire))
        .arg(target(plan.content.exported()));
    [measure::build(&Rig::fresh(bed, side, proxy), proxy, &build)]
}

fn import(bed: &mut Bed, plan: &Plan, side: Side, ready: &Ready, _: usize) -> [Measured; 1] {
    let proxy = bed.proxy(plan.wire);
    let build = ready.importing(bed, plan);
    let build = build.arg(target(plan.content.importing()));
    [measure::build(&Rig::fresh(bed, side, proxy), proxy, &build)]
}

fn change(bed: &mut Bed, plan: &Plan, side: Side, ready: &Ready, number: usize) -> [Measured; 1] {
    let context = bed.context(plan.content, plan.api, side);
    context.write("source-0.c", source(0, number + 1));
    new_builder(bed, plan, side, ready, number)
}
