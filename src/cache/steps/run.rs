//! When one step ran.

use std::time::Duration;

use jiff::Timestamp;

/// BuildKit starts a vertex a few times: for its key, for its run, for a result that is loaded. More than
/// this is no build's.
const MAX_INTERVALS: usize = 8;

/// What a Status message says of a vertex.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VertexTimes {
    /// When it began the last time.
    pub started: Option<Timestamp>,
    /// When that ended.
    pub completed: Option<Timestamp>,
    /// It was taken from a cache.
    pub cached: bool,
    /// It ended with an error.
    pub failed: bool,
}

/// What is known of one step.
pub(super) struct StepRun {
    pub name: Box<str>,
    intervals: Vec<Interval>,
}

#[derive(Clone, Copy)]
struct Interval {
    started: Timestamp,
    completed: Option<Timestamp>,
    cached: bool,
    failed: bool,
}

impl StepRun {
    pub fn new(name: Box<str>) -> Self {
        Self {
            name,
            intervals: Vec::new(),
        }
    }

    /// Takes news of it. What began at the same time is the same.
    pub fn update(&mut self, times: VertexTimes) {
        let Some(started) = times.started else { return };
        let known = self.intervals.iter();
        let known = known
            .enumerate()
            .find(|(_, interval)| interval.started == started);
        let at = known.map_or(self.intervals.len(), |(at, _)| at);
        if at == MAX_INTERVALS {
            return;
        }
        if at == self.intervals.len() {
            self.intervals.push(Interval {
                started,
                completed: None,
                cached: false,
                failed: false,
            });
        }
        let interval = &mut self.intervals[at];
        // Streams repeat what was said before the end.
        if times.completed.is_some() || interval.completed.is_none() {
            interval.completed = times.completed;
            interval.cached = times.cached;
            interval.failed = times.failed;
        }
    }

    /// It was not made in this build. `keyed`: BuildKit asks the operation for its key, which it shows like a
    /// run.
    ///
    /// BuildKit shows more than that as cached or not: the load of a result (cached, it takes some time, and it
    /// fails where a layer is gone), a step that nobody has asked for (cached, in no time: others above it were
    /// loaded, and it may still run), and what a loaded result pulls later (like a run).
    pub fn is_cached(&self, keyed: bool) -> bool {
        let mut intervals = self.intervals.iter();
        let is_load = |interval: &Interval| {
            let ended = interval.completed;
            interval.cached
                && !interval.failed
                && ended.is_some_and(|ended| ended != interval.started)
        };
        let runs = self.intervals.iter().filter(|interval| !interval.cached);
        intervals.any(is_load) || runs.count() <= usize::from(keyed)
    }

    /// When it was first heard of.
    pub fn first_started(&self) -> Option<Timestamp> {
        self.intervals.iter().map(|interval| interval.started).min()
    }

    /// From when to when it ran the last time, if it came to a good end.
    pub fn last_run(&self) -> Option<(Timestamp, Timestamp)> {
        let runs = self.intervals.iter().filter(|interval| !interval.cached);
        let last = runs.max_by_key(|interval| interval.started)?;
        let completed = last.completed.filter(|_| !last.failed)?;
        Some((last.started, completed))
    }

    /// How long it ran in all, if it came to a good end.
    pub fn duration(&self) -> Option<Duration> {
        self.last_run()?;
        let runs = self.intervals.iter().filter(|interval| !interval.cached);
        let spans = runs.filter_map(|run| {
            let span = run.completed?.duration_since(run.started);
            Duration::try_from(span).ok()
        });
        Some(spans.sum())
    }
}
