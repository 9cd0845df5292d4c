//! What the cache was worth for a build, and the lines that say so.

use std::{collections::HashMap, time::Duration};

use super::{Missed, Reason, State};
use crate::{cache::index_format::StepKey, units::duration};

/// Lines about steps that were not cached, and steps that one line names.
const MAX_LINES: usize = 4;
const MAX_NAMED: usize = 3;

/// What the cache was worth for a build.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StepSummary {
    /// Steps that the build needed.
    pub total: usize,
    /// Those that were taken from a cache.
    pub cached: usize,
    /// Those of the cached ones whose time is known.
    pub timed: usize,
    /// How long these ran when they ran.
    pub saved: Duration,
    /// Steps that ran although the build imports a cache.
    pub missed: Vec<Missed>,
}

impl State {
    pub(super) fn summary(&self) -> Option<StepSummary> {
        if self.runs.is_empty() {
            return None;
        }
        let mut times: HashMap<StepKey, u64> = HashMap::new();
        for step in self.tables().flat_map(|table| &table.steps) {
            if let Some(millis) = step.millis {
                times.entry(step.key).or_insert(millis);
            }
        }
        let mut summary = StepSummary {
            missed: self.missed(),
            ..StepSummary::default()
        };
        for (vertex, run) in &self.runs {
            if !self.is_step(vertex, run) {
                continue;
            }
            summary.total += 1;
            if !self.is_cached(vertex, run) {
                continue;
            }
            summary.cached += 1;
            let definition = self.definitions.get(vertex);
            if let Some(millis) = definition.and_then(|step| times.get(&step.key)) {
                summary.timed += 1;
                summary.saved += Duration::from_millis(*millis);
            }
        }
        Some(summary)
    }
}

impl StepSummary {
    /// The time saved, if anything is known of it. Where no step was cached there is none to know.
    pub fn known_saved(&self) -> Option<Duration> {
        (self.timed > 0).then_some(self.saved)
    }

    /// The lines for the end of a build's log; none where no cache was in play.
    pub fn lines(&self) -> Vec<String> {
        if self.total == 0 || (self.cached == 0 && self.missed.is_empty()) {
            return Vec::new();
        }
        let mut lines = vec![self.headline()];
        lines.extend(self.missed_lines());
        lines
    }

    /// As in `17 of 20 steps cached, saved 5m40s`.
    fn headline(&self) -> String {
        let steps = if self.total == 1 { "step" } else { "steps" };
        let all = format!("{} of {} {steps} cached", self.cached, self.total);
        if self.timed == 0 {
            return all;
        }
        let saved = duration::short(self.saved);
        match self.cached - self.timed {
            0 => format!("{all}, saved {saved}"),
            more => format!("{all}, saved {saved} (without {more} whose time is not known)"),
        }
    }

    /// Each reason once, with its steps. Steps that ran because others did are counted.
    fn missed_lines(&self) -> Vec<String> {
        let reasons = || {
            let missed = self.missed.iter();
            missed.filter_map(|missed| Some((missed.step.as_str(), missed.reason.as_ref()?)))
        };
        if let Some((_, reason)) = reasons().find(|(_, reason)| reason.is_of_build()) {
            return match reason {
                Reason::LateIndex => {
                    vec![format!("no step could be taken from the cache: {reason}")]
                }
                // Of an index that was not found or not read, the import has its own row.
                _ => Vec::new(),
            };
        }
        let following = reasons().filter(|(_, reason)| reason.follows()).count();
        let causes = by_reason(reasons().filter(|(_, reason)| !reason.follows()));
        if causes.is_empty() {
            // What they follow from is no step: their base image, say.
            let all = by_reason(reasons());
            return all
                .iter()
                .take(MAX_LINES)
                .map(|(reason, steps)| line(steps, reason))
                .collect();
        }
        let shown = causes.iter().take(MAX_LINES - 1);
        let mut lines: Vec<_> = shown.map(|(reason, steps)| line(steps, reason)).collect();
        if causes.len() >= MAX_LINES {
            lines.push("not cached: more steps; `buildkit-gha stats` has all".to_owned());
        } else if following > 0 {
            lines.push(following_line(following));
        }
        lines
    }
}

/// The steps of each reason, in the order of the first of each.
fn by_reason<'a>(
    missed: impl Iterator<Item = (&'a str, &'a Reason)>,
) -> Vec<(&'a Reason, Vec<&'a str>)> {
    let mut all: Vec<(&Reason, Vec<&str>)> = Vec::new();
    for (step, reason) in missed {
        match all.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, steps)) => steps.push(step),
            None => all.push((reason, vec![step])),
        }
    }
    all
}

fn line(steps: &[&str], reason: &Reason) -> String {
    let named = steps.iter().take(MAX_NAMED).copied().collect::<Vec<_>>();
    let named = named.join(", ");
    match steps.len().saturating_sub(MAX_NAMED) {
        0 => format!("not cached: {named}: {reason}"),
        more => format!("not cached: {named} and {more} more: {reason}"),
    }
}

fn following_line(steps: usize) -> String {
    match steps {
        1 => "not cached: 1 step after these".to_owned(),
        steps => format!("not cached: {steps} steps after these"),
    }
}

impl Missed {
    /// Its reason as a text.
    pub fn reason_text(&self) -> Option<String> {
        self.reason.as_ref().map(Reason::to_string)
    }
}
