//! A table for a terminal, in columns as docker writes them.

use std::fmt::Write as _;

use super::{
    document::{Build, Stats},
    summary::{self, Totals},
    text::{count, line, sentence},
};

const HEAD: [&str; 8] = [
    "BUILD",
    "STARTED",
    "DURATION",
    "OUTCOME",
    "CACHED",
    "SAVED",
    "CACHE FROM",
    "CACHE TO",
];

/// Between two columns.
const GAP: usize = 3;

/// Steps that ran are listed up to this number; the JSON has all.
const MAX_MISSED: usize = 20;

/// One row for each build; below them what was missed and what was lost.
pub(super) fn render(stats: &Stats) -> String {
    let mut rows = vec![HEAD.map(str::to_owned)];
    for build in &stats.builds {
        rows.extend(build_rows(build));
    }
    let mut text = columns(&rows);
    if let Some(totals) = Totals::of(stats).filter(|_| stats.builds.len() > 1) {
        text.extend(["\n", &totals.headline(), "\n"]);
    }
    if stats.pending_exports > 0 {
        let exports = count(stats.pending_exports, "cache export");
        text.extend([
            "\n",
            &exports,
            " pending; `buildkit-gha drain` waits for them\n",
        ]);
    }
    text += &missed(stats);
    text += &warnings(stats);
    text
}

/// A row for the build, and one for each import and export beyond the first.
fn build_rows(build: &Build) -> Vec<[String; 8]> {
    let join = |(scope, what): (String, String)| {
        if what.is_empty() {
            return scope;
        }
        format!("{scope}: {what}")
    };
    let mut imports = build
        .imports
        .iter()
        .map(|import| join(summary::import(import)));
    let mut exports = build
        .exports
        .iter()
        .map(|export| join(summary::export(export)));
    let mut rows = vec![[
        summary::short_ref(build),
        build.started.strftime("%F %T").to_string(),
        summary::duration(build),
        summary::outcome(build).to_owned(),
        summary::steps(build),
        summary::saved(build),
        imports.next().unwrap_or_default(),
        exports.next().unwrap_or_default(),
    ]];
    loop {
        let (import, export) = (imports.next(), exports.next());
        if import.is_none() && export.is_none() {
            return rows;
        }
        let mut row: [String; 8] = Default::default();
        row[6] = import.unwrap_or_default();
        row[7] = export.unwrap_or_default();
        rows.push(row);
    }
}

fn columns(rows: &[[String; 8]]) -> String {
    let width = |column: usize| {
        let widths = rows.iter().map(|row| row[column].chars().count());
        widths.max().unwrap_or(0) + GAP
    };
    let widths: Vec<_> = (0..HEAD.len()).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut written = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            // Writing to a String cannot fail.
            let _ = write!(written, "{cell:width$}");
        }
        text += written.trim_end();
        text.push('\n');
    }
    text
}

fn missed(stats: &Stats) -> String {
    let steps = stats.builds.iter();
    let steps = steps.flat_map(|build| build.missed.iter().map(move |missed| (build, missed)));
    let all = steps.clone().count();
    if all == 0 {
        return String::new();
    }
    let shown = steps.take(MAX_MISSED).map(|(build, missed)| {
        let reason = missed
            .reason
            .as_deref()
            .unwrap_or("the reason is not known");
        let build = summary::short_ref(build);
        format!("  {build}  {}: {}\n", line(&missed.step), sentence(reason))
    });
    let shown: String = shown.collect();
    let rest = match all.saturating_sub(MAX_MISSED) {
        0 => String::new(),
        rest => format!("  and {rest} more, which -o json shows\n"),
    };
    format!("\n{} missed the cache:\n{shown}{rest}", count(all, "step"))
}

fn warnings(stats: &Stats) -> String {
    let builds = stats.builds.iter();
    let warnings = builds.flat_map(|build| {
        let name = summary::short_ref(build);
        let warnings = build.warnings.iter();
        warnings.map(move |warning| format!("  {name}  {}\n", sentence(warning)))
    });
    let text: String = warnings.collect();
    if text.is_empty() {
        return text;
    }
    format!("\nwarnings:\n{text}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::summary::tests::sample;

    #[test]
    fn a_build_is_a_row_and_nothing_is_obeyed() {
        let expected = "\
BUILD          STARTED               DURATION   OUTCOME   CACHED     SAVED   CACHE FROM  CACHE TO
k3jm0fz9qx1c   2026-11-27 21:10:05   1m12s      ok        12 of 17   5m40s   app: from main, 3 fetched (12.3 MB), 1 gone   app: written, 4 sent (210 MB), 30 already there
x              2026-11-27 21:09:00              running

12 of 17 steps cached, about 5m40s saved

1 cache export pending; `buildkit-gha drain` waits for them

1 step missed the cache:
  k3jm0fz9qx1c  [2/5] COPY . .: its content changed

warnings:
  k3jm0fz9qx1c  cache export: 1 of 34 layers | left <out> [2J
";
        let text = render(&sample());
        let squeeze = |text: &str| {
            let lines = text
                .lines()
                .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
            lines.collect::<Vec<_>>().join("\n")
        };
        assert_eq!(squeeze(&text), squeeze(expected));
        let exported = |line: usize, word: &str| text.lines().nth(line).unwrap().find(word);
        assert_eq!(exported(0, "CACHE TO"), exported(1, "app: written"));
    }

    #[test]
    fn no_build_is_a_head_alone() {
        assert_eq!(render(&Stats::default()).lines().count(), 1);
    }
}
