//! The warnings of a build: one for each cause, held back until all that is lost by it is known.
//!
//! A warning goes to buildkitd, which shows it to all who watch the build and keeps it in its history.
//! What buildkitd does not take is shown to those who watch.

use std::collections::HashSet;

use super::sources::SourceLines;
use crate::{cache::Warning, proto::control::VertexWarning};

/// Warnings kept of one build. A build with more has one cause many times over.
const MAX_WARNINGS: usize = 200;

/// The level that BuildKit gives to warnings of its own.
pub(super) const LEVEL: i64 = 1;

/// The warnings of a build.
#[derive(Default)]
pub(super) struct Warnings {
    /// Not told yet, in the order of their first losses.
    held: Vec<HeldWarning>,
    /// Told here, with the revisions that they came with.
    shown: Vec<(u64, VertexWarning)>,
    /// Handed to buildkitd. It takes a warning of a build that is about to end and may show it to nobody.
    handed_over: Vec<VertexWarning>,
    /// The lines and causes that were told, here or by buildkitd.
    told: HashSet<String>,
}

/// A warning and where it belongs.
#[derive(Debug, Clone)]
pub(in crate::gateway::build) struct HeldWarning {
    /// The vertex of the job that warns; `None` for what has none of BuildKit's.
    pub vertex: Option<String>,
    pub warning: Warning,
}

impl HeldWarning {
    /// What people read in the first place. Clients show the details to those who ask for them; the first
    /// is worth more than that.
    pub fn line(&self) -> String {
        let Warning { short, detail, .. } = &self.warning;
        match detail.first() {
            Some(first) => format!("{short}: {first}"),
            None => short.clone(),
        }
    }

    /// As BuildKit has it.
    pub fn on_vertex(&self, vertex: String, lines: Option<SourceLines>) -> VertexWarning {
        let detail = self.warning.detail.iter();
        let (info, ranges) = lines.map(SourceLines::into_parts).unwrap_or_default();
        VertexWarning {
            vertex,
            level: LEVEL,
            short: self.line().into_bytes(),
            detail: detail.map(|line| line.clone().into_bytes()).collect(),
            url: String::new(),
            info,
            ranges,
        }
    }

    fn keys(&self) -> impl Iterator<Item = String> {
        let cause = self.warning.cause.map(str::to_owned);
        cause.into_iter().chain([self.line()])
    }
}

impl Warnings {
    /// Holds a warning, in the place of an earlier one of its cause.
    pub fn hold(&mut self, new: HeldWarning) {
        // Several jobs of a build may meet one cause.
        if new.keys().any(|key| self.told.contains(&key)) {
            return;
        }
        let same = |held: &&mut HeldWarning| {
            let cause = held.warning.cause;
            cause.is_some() && cause == new.warning.cause || held.line() == new.line()
        };
        let is_full = self.held.len() + self.told.len() >= MAX_WARNINGS;
        match self.held.iter_mut().find(same) {
            Some(held) => held.warning = new.warning,
            None if is_full => {}
            None => self.held.push(new),
        }
    }

    pub fn holds_any(&self) -> bool {
        !self.held.is_empty()
    }

    /// What is to be told now.
    pub fn take_held(&mut self) -> Vec<HeldWarning> {
        let held = std::mem::take(&mut self.held);
        self.told.extend(held.iter().flat_map(HeldWarning::keys));
        held
    }

    /// Tells a warning here.
    pub fn show(&mut self, revision: u64, warning: VertexWarning) {
        self.shown.push((revision, warning));
    }

    /// Leaves a warning to buildkitd.
    pub fn hand_over(&mut self, warning: VertexWarning) {
        self.handed_over.push(warning);
    }

    /// buildkitd has refused it.
    pub fn take_back(&mut self, warning: &VertexWarning) {
        self.handed_over.retain(|one| one.short != warning.short);
    }

    /// What buildkitd has to show.
    pub fn handed_over(&self) -> &[VertexWarning] {
        &self.handed_over
    }

    /// What was told here after the revision `seen`.
    pub fn changed_since(&self, seen: u64) -> Vec<VertexWarning> {
        let newer = self.shown.iter().filter(|(at, _)| *at > seen);
        newer.map(|(_, warning)| warning.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(short: &str, cause: Option<&'static str>) -> HeldWarning {
        HeldWarning {
            vertex: None,
            warning: Warning {
                cause,
                ..Warning::new(short, vec!["why".to_owned()])
            },
        }
    }

    #[test]
    fn a_cause_is_told_once_with_what_was_said_last() {
        let mut warnings = Warnings::default();
        for short in ["1 layer", "2 layers"] {
            warnings.hold(held(short, Some("gone")));
            warnings.hold(held("the token", None));
        }
        let lines: Vec<_> = warnings.take_held().iter().map(HeldWarning::line).collect();
        assert_eq!(lines, ["2 layers: why", "the token: why"]);
        warnings.hold(held("3 layers", Some("gone")));
        warnings.hold(held("the token", None));
        assert!(!warnings.holds_any());
    }
}
