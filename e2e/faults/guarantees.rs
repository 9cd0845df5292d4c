//! What users are promised, one by one, and how many cells prove each.

use std::fmt::Write as _;

use super::{
    cell::{Cell, Options, Shape, Side},
    expectation::{is_behind_probe, is_one_passing_fault, is_silent, passes},
    matrix::Result,
    time::Time,
};
use crate::proxy::{Fault, Operation, Subject, When};

/// One promise to users.
struct Guarantee {
    text: &'static str,
    /// Whether a cell proves it.
    proven_by: fn(&Result) -> bool,
    figure: Figure,
}

/// What is measured of the cells of a guarantee.
#[derive(Clone, Copy)]
enum Figure {
    Nothing,
    /// How much longer than the same build without the fault.
    Cost,
    /// How long the builds took.
    Seconds,
}

use Figure::{Cost, Nothing, Seconds};

const fn guarantee(
    text: &'static str,
    figure: Figure,
    proven_by: fn(&Result) -> bool,
) -> Guarantee {
    Guarantee {
        text,
        proven_by,
        figure,
    }
}

/// All of them.
const GUARANTEES: [Guarantee; 19] = [
    guarantee(
        "One fault that passes loses nothing and costs less than 2 s (70 MiB: 3 s), measured against \
         the same build without it right beside it",
        Cost,
        |r| is_one_passing_fault(&r.cell) && !is_silent(r.cell.fault),
    ),
    guarantee(
        "… one that falls silent as much and the time after which it is cut (3 s here)",
        Cost,
        |r| is_one_passing_fault(&r.cell) && is_silent(r.cell.fault),
    ),
    guarantee(
        "Three faults in a row, and faults of 5 % of all requests, lose nothing either",
        Cost,
        |r| passes(&r.cell) && r.cell.when != When::First(1),
    ),
    guarantee("Every result is byte for byte right", Nothing, |_| true),
    guarantee(
        "A wrong byte, a wrong size or a short body never reaches buildkitd",
        Nothing,
        |r| r.cell.side == Side::Import && is_spoiled(r.cell.fault),
    ),
    guarantee(
        "What stays broken costs an export a warning and what could not be saved, no build",
        Nothing,
        |r| r.cell.side == Side::Export && !passes(&r.cell) && is_plain(&r.cell),
    ),
    guarantee(
        "The index names no blob that is not there and right; the older index is never lost",
        Nothing,
        |r| r.cell.side == Side::Export,
    ),
    guarantee(
        "Stock BuildKit reads and uses what is there when layers are left out",
        Nothing,
        |r| r.seen.stock_read,
    ),
    guarantee(
        "`ignore-error=false` makes an export's failure an error of the build, and nothing else",
        Nothing,
        |r| r.cell.options == Options::Strict,
    ),
    guarantee(
        "What stays broken before a layer is promised is a miss",
        Nothing,
        |r| {
            let before = r.cell.side == Side::Import && !is_behind_probe(&r.cell);
            before && !passes(&r.cell) && is_plain(&r.cell)
        },
    ),
    guarantee(
        "What stays broken behind the probe fails one build, within 60 s, with one line that names \
         the layer and what to do",
        Seconds,
        |r| is_plain(&r.cell) && downloads(&r.cell) && r.cell.when == When::Always,
    ),
    guarantee(
        "… and the very next run succeeds **with the fault still there**",
        Nothing,
        |r| r.seen.denied,
    ),
    guarantee(
        "`import-verify=full` makes every such fault a miss, damage that stays too",
        Seconds,
        |r| r.cell.options == Options::Verified,
    ),
    guarantee(
        "It holds on a gateway that has just been started, and for its next run on another one",
        Nothing,
        |r| r.cell.options == Options::Fresh,
    ),
    guarantee(
        "Damage that cannot be deleted because GitHub's API fails disturbs no second build, on \
         another gateway either",
        Seconds,
        |r| r.cell.options == Options::Deleting,
    ),
    guarantee(
        "No hang: whatever stays broken, an export ends within its `timeout` (20 s here)",
        Seconds,
        |r| r.cell.side == Side::Export && r.cell.when == When::Always,
    ),
    guarantee("… the wait for indexes within 5 s", Seconds, |r| {
        let of_index = matches!(r.cell.on, Some((_, Subject::Index)));
        r.cell.side == Side::Import && of_index && r.cell.when == When::Always
    }),
    guarantee(
        "… lookups and probes of 30 layers all together (30 s; 20 s here, as `timeout`)",
        Seconds,
        |r| r.cell.shape == Shape::Many && r.cell.on.is_some(),
    ),
    guarantee(
        "**The very next run succeeds with the right bytes**",
        Nothing,
        |_| true,
    ),
];

fn is_plain(cell: &Cell) -> bool {
    matches!(cell.options, Options::Plain | Options::Fresh)
}

fn is_spoiled(fault: Fault) -> bool {
    matches!(
        fault,
        Fault::Flip
            | Fault::WrongTotal
            | Fault::Short
            | Fault::Empty
            | Fault::Long
            | Fault::Another
    )
}

fn downloads(cell: &Cell) -> bool {
    cell.on == Some((Operation::Read, Subject::Layer))
}

/// The table of all of them.
pub fn table(results: &[Result]) -> String {
    let mut table = "\n## What is promised, and the cells that prove it\n\n\
                     | promise | cells | broken | measured: what the fault costs, or the whole build |\n|---|--:|--:|---|\n"
        .to_owned();
    for guarantee in &GUARANTEES {
        let cells: Vec<_> = results
            .iter()
            .filter(|r| (guarantee.proven_by)(r))
            .collect();
        let broken = cells.iter().filter(|result| !result.broken.is_empty());
        let (text, figure) = (guarantee.text, guarantee.figure.describe(&cells));
        let (cells, broken) = (cells.len(), broken.count());
        let _ = writeln!(table, "| {text} | {cells} | {broken} | {figure} |");
    }
    table
}

impl Figure {
    fn describe(self, cells: &[&Result]) -> String {
        let figures = cells.iter().filter_map(|result| match self {
            Nothing => None,
            Cost => result.seen.cost,
            Seconds => Some(result.seen.seconds),
        });
        let mut figures: Vec<f64> = figures.collect();
        figures.sort_by(f64::total_cmp);
        let Some(most) = figures.last() else {
            return String::new();
        };
        let at = |percent: usize| figures[(figures.len() - 1) * percent / 100];
        let (median, high) = (at(50), at(95));
        let closest = (cells.iter().map(|result| result.time)).max_by(Time::compare);
        let closest = closest.map_or(String::new(), |time| {
            format!("; closest to its bound: {time}")
        });
        format!("median {median:.1} s, 95 % below {high:.1} s, most {most:.1} s{closest}")
    }
}
