//! The table.

use std::fmt::Write as _;

use crate::{
    links::Wire,
    measure::Measured,
    result::{Row, median, median_of},
    side::Side,
    target,
};

const MIB: f64 = 1_048_576.0;

const HEAD: &str = "\
| workload | | wall | prepare | send | limit | ratio | API calls | blob calls | MiB up | MiB down | in flight | gateway MiB | buildkitd MiB | gateway CPU | buildkitd CPU | target |
|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|
";

/// A table for each link and protocol.
pub fn tables(rows: &[Row]) -> String {
    let mut text = String::new();
    for wire in [Wire::Gh, Wire::Slow, Wire::None] {
        for api in ["v2", "v1"] {
            let mut ours = rows
                .iter()
                .filter(|row| (row.wire, row.api) == (wire, api))
                .peekable();
            if ours.peek().is_none() {
                continue;
            }
            let _ = write!(text, "\n## Link `{}`, {api}\n\n{HEAD}", wire.name());
            for row in ours {
                for side in Side::BOTH {
                    if !row.rounds(side).is_empty() {
                        let _ = writeln!(text, "{}", cells(row, side, rows));
                    }
                }
            }
        }
    }
    text
}

fn cells(row: &Row, side: Side, rows: &[Row]) -> String {
    let rounds = row.rounds(side);
    let figure = |of: fn(&Measured) -> f64| median(rounds.iter().map(of));
    let count = |of: fn(&Measured) -> u64| median_of(rounds, of);
    let (name, limit, ratio, verdict) = match side {
        Side::Stock => (
            format!("{}: {}", row.content.name(), row.work.name()),
            String::new(),
            String::new(),
            String::new(),
        ),
        Side::Ours => (
            if row.stock.is_empty() {
                format!("{}: {}", row.content.name(), row.work.name())
            } else {
                String::new()
            },
            format!("{:.2}", row.limit()),
            ratio(row),
            target::verdict(row, rows),
        ),
    };
    let exports: Vec<_> = rounds.iter().filter_map(|m| m.export).collect();
    // Where only the first round compresses, its time is the one.
    let compressing = if row.work.compresses() {
        exports.len()
    } else {
        1
    };
    let prepares = exports.iter().take(compressing);
    let prepare = spread(prepares.map(|e| e.prepare).collect());
    let send = spread(exports.iter().map(|e| e.send).collect());
    format!(
        "| {name} | {} | {} | {prepare} | {send} | {limit} | {ratio} | {} | {} | {:.1} | {:.1} | {} | {:.0} | {:.0} | {:.2} | {:.2} | {verdict} |",
        if side == Side::Stock { "stock" } else { "ours" },
        spread(rounds.iter().map(|m| m.wall).collect()),
        count(|m| m.api),
        count(|m| m.blob),
        count(|m| m.up) / MIB,
        count(|m| m.down) / MIB,
        count(|m| m.most_in_flight as u64),
        count(|m| m.gateway.memory) / MIB,
        count(|m| m.buildkitd.memory) / MIB,
        figure(|m| m.gateway.cpu),
        figure(|m| m.buildkitd.cpu),
    )
}

/// The median and, of several rounds, the least and the most.
fn spread(mut values: Vec<f64>) -> String {
    values.sort_by(f64::total_cmp);
    let middle = median(values.iter().copied());
    match values.as_slice() {
        [] => String::new(),
        [only] => format!("{only:.2}"),
        [least, .., most] => format!("{middle:.2} ({least:.2}–{most:.2})"),
    }
}

/// How much of stock's seconds ours takes.
fn ratio(row: &Row) -> String {
    let [stock, ours] = Side::BOTH.map(|side| median(row.seconds(side)));
    if stock > 0.0 {
        format!("{:.2}", ours / stock)
    } else {
        String::new()
    }
}

/// A row in one line, for those who wait for the table.
pub fn line(row: &Row, rows: &[Row]) -> String {
    let [stock, ours] = Side::BOTH.map(|side| spread(row.seconds(side)));
    format!(
        "  {} {} {}: {}: stock {stock} ours {ours} limit {:.2}; calls {} + {}, in flight {}, gateway {:.0} MiB; {}",
        row.wire.name(),
        row.api,
        row.content.name(),
        row.work.name(),
        row.limit(),
        median_of(&row.ours, |m| m.api),
        median_of(&row.ours, |m| m.blob),
        median_of(&row.ours, |m| m.most_in_flight as u64),
        median_of(&row.ours, |m| m.gateway.memory) / MIB,
        target::verdict(row, rows),
    )
}
