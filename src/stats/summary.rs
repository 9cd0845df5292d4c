//! What tables say of a build, in the words that the terminal and the job summary share.

use super::{
    document::{Build, Export, ExportState, Import, NoIndex, Outcome, Stats},
    text::{count, line, seconds},
};
use crate::units::size;

/// How many characters of a build's ref tell it from others.
const REF_CHARS: usize = 12;

/// Builds together.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Totals {
    pub total: usize,
    pub cached: usize,
    pub saved: Option<f64>,
}

impl Totals {
    /// `None` where no build's steps are known.
    pub fn of(stats: &Stats) -> Option<Self> {
        let mut totals: Option<Self> = None;
        for steps in stats.builds.iter().filter_map(|build| build.steps.as_ref()) {
            let totals = totals.get_or_insert_default();
            totals.total += steps.total;
            totals.cached += steps.cached;
            if let Some(saved) = steps.time_saved_seconds {
                *totals.saved.get_or_insert_default() += saved;
            }
        }
        totals
    }

    /// As in `342 of 360 steps cached, about 5m40s saved`.
    pub fn headline(&self) -> String {
        let steps = count(self.total, "step");
        match self.saved.filter(|saved| *saved > 0.0) {
            None => format!("{} of {steps} cached", self.cached),
            Some(saved) => {
                let saved = seconds(saved);
                format!("{} of {steps} cached, about {saved} saved", self.cached)
            }
        }
    }
}

/// What tells a build from others.
pub(super) fn short_ref(build: &Build) -> String {
    let reference = line(&build.reference);
    reference.chars().take(REF_CHARS).collect()
}

/// `ok`, `failed`, `canceled`, or `running`.
pub(super) fn outcome(build: &Build) -> &'static str {
    match build.outcome {
        None => "running",
        Some(Outcome::Ok) => "ok",
        Some(Outcome::Failed) => "failed",
        Some(Outcome::Canceled) => "canceled",
    }
}

/// As in `12 of 17`; empty where it is not known.
pub(super) fn steps(build: &Build) -> String {
    let steps = build.steps.as_ref();
    steps.map_or_else(String::new, |steps| {
        format!("{} of {}", steps.cached, steps.total)
    })
}

/// The time that cached steps took when they ran; empty where it is not known.
pub(super) fn saved(build: &Build) -> String {
    let saved = build
        .steps
        .as_ref()
        .and_then(|steps| steps.time_saved_seconds);
    saved.map_or_else(String::new, seconds)
}

/// How long it took; empty while it runs.
pub(super) fn duration(build: &Build) -> String {
    build.duration_seconds.map_or_else(String::new, seconds)
}

/// The scope of an import, and what came of it.
pub(super) fn import(import: &Import) -> (String, String) {
    let mut parts = Vec::new();
    match &import.index {
        Some(index) if !index.found => parts.push(no_index(index.reason).to_owned()),
        Some(index) => {
            if let Some(branch) = &index.branch {
                let branch = line(branch);
                let branch = branch.strip_prefix("refs/heads/").unwrap_or(&branch);
                parts.push(format!("from {branch}"));
            }
        }
        None => {}
    }
    let fetched = import.layers_fetched.filter(|layers| *layers > 0);
    if let Some(layers) = fetched {
        parts.push(of_bytes(layers, "fetched", import.bytes_fetched));
    } else if let Some(confirmed) = import.layers_confirmed.filter(|layers| *layers > 0) {
        parts.push(format!("{confirmed} found"));
    }
    if let Some(gone) = import.layers_gone.filter(|layers| *layers > 0) {
        parts.push(format!("{gone} gone"));
    }
    (line(&import.scope), parts.join(", "))
}

/// Without a reason it is of a gateway that knows none.
fn no_index(reason: Option<NoIndex>) -> &'static str {
    match reason {
        None | Some(NoIndex::Absent) => "no index",
        Some(NoIndex::Unusable) => "index not usable",
        Some(NoIndex::Failed) => "index not read",
        Some(NoIndex::Late) => "index too late",
    }
}

/// The scope of an export, and what came of it.
pub(super) fn export(export: &Export) -> (String, String) {
    let state = match export.state {
        ExportState::Written => "written",
        ExportState::Unchanged => "unchanged",
        ExportState::Pending => "pending",
        ExportState::Failed => "failed",
        ExportState::Skipped => "skipped",
    };
    let mut parts = vec![state.to_owned()];
    if let Some(sent) = export.layers_sent.filter(|layers| *layers > 0) {
        parts.push(of_bytes(sent, "sent", export.bytes_sent));
    }
    if let Some(present) = export.layers_present.filter(|layers| *layers > 0) {
        parts.push(format!("{present} already there"));
    }
    if let Some(left_out) = export.layers_left_out.filter(|layers| *layers > 0) {
        parts.push(format!("{left_out} left out"));
    }
    (line(&export.scope), parts.join(", "))
}

/// As in `3 fetched (12.3 MB)`: layers, which the column's head says.
fn of_bytes(layers: u64, what: &str, bytes: Option<u64>) -> String {
    match bytes {
        Some(bytes) => format!("{layers} {what} ({})", size::approximate(bytes)),
        None => format!("{layers} {what}"),
    }
}

/// Builds that were followed through, for the tests of what shows them.
#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::stats::{Index, Missed, Steps};

    /// Two builds: one with all that can be known, and one with nothing.
    pub fn sample() -> Stats {
        let full = Build {
            reference: "k3jm0fz9qx1c7v5t2w8y4r6n".to_owned(),
            started: "2026-11-27T21:10:05Z".parse().unwrap(),
            duration_seconds: Some(72.4),
            outcome: Some(Outcome::Ok),
            steps: Some(Steps {
                total: 17,
                cached: 12,
                time_saved_seconds: Some(340.1),
            }),
            imports: vec![Import {
                scope: "app".to_owned(),
                index: Some(Index {
                    found: true,
                    branch: Some("refs/heads/main".to_owned()),
                    created: Some("2026-11-27T09:00:00Z".parse().unwrap()),
                    reason: None,
                }),
                layers_confirmed: Some(40),
                layers_gone: Some(1),
                layers_fetched: Some(3),
                bytes_fetched: Some(12_345_678),
                duration_seconds: Some(1.5),
            }],
            exports: vec![Export {
                scope: "app".to_owned(),
                state: ExportState::Written,
                layers_sent: Some(4),
                layers_present: Some(30),
                layers_left_out: Some(0),
                bytes_sent: Some(210_000_000),
                calls: Some(12),
                waited_seconds: Some(0.0),
                duration_seconds: Some(2.0),
            }],
            missed: vec![Missed {
                step: "[2/5] COPY . .".to_owned(),
                reason: Some("its content changed".to_owned()),
            }],
            warnings: vec!["cache export: 1 of 34 layers | left <out>\n\u{1b}[2J".to_owned()],
        };
        let bare = Build {
            reference: "x".to_owned(),
            started: "2026-11-27T21:09:00Z".parse().unwrap(),
            duration_seconds: None,
            outcome: None,
            steps: None,
            imports: Vec::new(),
            exports: Vec::new(),
            missed: Vec::new(),
            warnings: Vec::new(),
        };
        Stats {
            version: "0.1.0".to_owned(),
            pending_exports: 1,
            builds: vec![full, bare],
        }
    }

    #[test]
    fn the_headline_counts_all_builds_whose_steps_are_known() {
        let mut stats = sample();
        let headline = |stats: &Stats| Totals::of(stats).map(|totals| totals.headline());
        let expected = "12 of 17 steps cached, about 5m40s saved";
        assert_eq!(headline(&stats).as_deref(), Some(expected));
        stats.builds[1].steps = Some(Steps {
            total: 1,
            cached: 1,
            time_saved_seconds: None,
        });
        let expected = "13 of 18 steps cached, about 5m40s saved";
        assert_eq!(headline(&stats).as_deref(), Some(expected));
        assert_eq!(headline(&Stats::default()), None);
    }

    #[test]
    fn what_is_nothing_is_not_said() {
        let stats = sample();
        let (scope, what) = export(&stats.builds[0].exports[0]);
        assert_eq!(scope, "app");
        assert_eq!(what, "written, 4 sent (210 MB), 30 already there");
        let (_, what) = import(&stats.builds[0].imports[0]);
        assert_eq!(what, "from main, 3 fetched (12.3 MB), 1 gone");
        for (reason, what) in [
            (None, "no index"),
            (Some(NoIndex::Absent), "no index"),
            (Some(NoIndex::Unusable), "index not usable"),
            (Some(NoIndex::Failed), "index not read"),
            (Some(NoIndex::Late), "index too late"),
        ] {
            let index = Index {
                reason,
                ..Index::default()
            };
            let missing = Import {
                index: Some(index),
                ..Import::default()
            };
            assert_eq!(import(&missing).1, what);
        }
    }

    #[test]
    fn the_document_reads_as_it_is_written_and_knows_no_nulls() {
        let stats = sample();
        let text = serde_json::to_string(&stats).unwrap();
        assert!(!text.contains("null"), "{text}");
        assert_eq!(serde_json::from_str::<Stats>(&text).unwrap(), stats);
    }
}
