//! What a build did, read from its raw progress: the plain kind shows a cached step whose layer
//! is pulled at once as DONE, so only the raw one can be judged by.

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;

use super::process::Finished;

/// One line of `--progress=rawjson`.
#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    vertexes: Vec<Vertex>,
    #[serde(default)]
    statuses: Vec<Status>,
    #[serde(default)]
    warnings: Vec<Warning>,
}

#[derive(Deserialize)]
struct Status {
    id: String,
    vertex: String,
}

#[derive(Deserialize)]
struct Vertex {
    digest: String,
    name: String,
    #[serde(default)]
    cached: bool,
    started: Option<String>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct Warning {
    short: String,
    #[serde(default)]
    detail: Vec<String>,
}

impl Warning {
    fn text(&self) -> String {
        decoded(&self.short)
    }

    fn details(&self) -> impl Iterator<Item = String> {
        self.detail.iter().map(|line| decoded(line))
    }
}

/// Texts travel as bytes, which JSON has in base64.
fn decoded(text: &str) -> String {
    let text = STANDARD.decode(text).expect("base64");
    String::from_utf8_lossy(&text).into_owned()
}

/// A step of a build.
#[derive(Clone, Debug, Default)]
pub struct Step {
    /// What the client shows.
    pub name: String,
    /// True if it was said to be cached at any time.
    pub cached: bool,
    /// True if it was begun for this build: not for another one that shares it, and not at all
    /// when nobody needs its result.
    pub started: bool,
    /// Why it failed.
    pub error: Option<String>,
}

/// How a build went.
#[derive(Debug)]
pub struct Outcome {
    /// True if the client exited with 0.
    pub success: bool,
    /// Every step by its digest.
    steps: BTreeMap<String, Step>,
    /// The rows below each step, in the order in which they came first.
    rows: BTreeMap<String, Vec<String>>,
    /// Every name that a step had.
    names: BTreeSet<String>,
    /// Every warning.
    pub warnings: Vec<String>,
    /// The lines below the warnings.
    pub details: Vec<String>,
    /// All that the client wrote.
    pub output: String,
}

impl Outcome {
    /// Reads the raw progress of a client that has ended.
    pub fn from_client(client: Finished) -> Self {
        let output = client.stderr;
        let mut steps: BTreeMap<String, Step> = BTreeMap::new();
        let mut rows: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut names = BTreeSet::new();
        let mut warnings = Vec::new();
        let mut details = Vec::new();
        for line in output.lines().filter(|line| line.starts_with('{')) {
            let Ok(line) = serde_json::from_str::<Line>(line) else {
                continue;
            };
            for vertex in line.vertexes {
                names.insert(vertex.name.clone());
                let step = steps.entry(vertex.digest).or_default();
                step.name = vertex.name;
                step.cached |= vertex.cached;
                step.started |= vertex.started.is_some();
                step.error = vertex
                    .error
                    .filter(|error| !error.is_empty())
                    .or(step.error.take());
            }
            for status in line.statuses {
                let rows = rows.entry(status.vertex).or_default();
                if !rows.contains(&status.id) {
                    rows.push(status.id);
                }
            }
            warnings.extend(line.warnings.iter().map(Warning::text));
            details.extend(line.warnings.iter().flat_map(Warning::details));
        }
        Self {
            success: client.status.success(),
            steps,
            rows,
            names,
            warnings,
            details,
            output,
        }
    }

    /// Fails unless the build succeeded.
    pub fn ok(self) -> Self {
        assert!(self.success, "the build failed:\n{}", self.output);
        self
    }

    /// The steps of the Dockerfile, `[stage 1/2] RUN …`; not the client's and the daemon's own.
    pub fn dockerfile_steps(&self) -> impl Iterator<Item = &Step> {
        self.steps.values().filter(|step| {
            let bracket = step
                .name
                .strip_prefix('[')
                .and_then(|name| name.split_once("] "));
            bracket.is_some_and(|(place, _)| place.contains('/'))
        })
    }

    /// The rows below the steps with this name.
    pub fn rows(&self, name: &str) -> Vec<&str> {
        let steps = self.steps.iter().filter(|(_, step)| step.name == name);
        let rows = steps.filter_map(|(digest, _)| self.rows.get(digest));
        rows.flatten().map(String::as_str).collect()
    }

    /// Every name that a step had at any time.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// The error of the step with this name.
    pub fn error_of(&self, name: &str) -> Option<String> {
        let mut steps = self.steps.values();
        steps.find(|step| step.name == name)?.error.clone()
    }

    /// Fails unless each step of the Dockerfile was cached.
    pub fn all_cached(self) -> Self {
        self.none(|step| !step.cached, "not cached")
    }

    /// Fails if a step of the Dockerfile ran: the weaker promise that a cache of mode=min makes,
    /// where a step below the last stage is neither needed nor known.
    pub fn nothing_ran(self) -> Self {
        self.none(|step| step.started && !step.cached, "ran")
    }

    /// Fails if any step of the Dockerfile was cached.
    pub fn none_cached(self) -> Self {
        self.none(|step| step.cached, "cached")
    }

    fn none(self, wrong: impl Fn(&Step) -> bool, what: &str) -> Self {
        let wrong: Vec<_> = self.dockerfile_steps().filter(|step| wrong(step)).collect();
        assert!(wrong.is_empty(), "{what}: {wrong:#?}\n{}", self.output);
        assert!(
            self.dockerfile_steps().count() > 0,
            "no steps:\n{}",
            self.output
        );
        self
    }

    /// Fails if there was any warning.
    pub fn no_warnings(self) -> Self {
        assert!(self.warnings.is_empty(), "warnings: {:?}", self.warnings);
        self
    }
}
