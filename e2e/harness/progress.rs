//! What a build did, read from its raw progress: the plain kind shows a cached step whose layer
//! is pulled at once as DONE, so only the raw one can be judged by.

use std::collections::BTreeMap;

use serde::Deserialize;

/// One line of `--progress=rawjson`.
#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    vertexes: Vec<Vertex>,
    #[serde(default)]
    warnings: Vec<Warning>,
}

#[derive(Deserialize)]
struct Vertex {
    digest: String,
    name: String,
    #[serde(default)]
    cached: bool,
    error: Option<String>,
}

#[derive(Deserialize)]
struct Warning {
    short: String,
}

/// A step of a build.
#[derive(Clone, Debug, Default)]
pub struct Step {
    /// What the client shows.
    pub name: String,
    /// True if it was said to be cached at any time.
    pub cached: bool,
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
    /// Every warning.
    pub warnings: Vec<String>,
    /// All that the client wrote.
    pub output: String,
}

impl Outcome {
    /// Reads the client's raw progress.
    pub fn read(success: bool, output: String) -> Self {
        let mut steps: BTreeMap<String, Step> = BTreeMap::new();
        let mut warnings = Vec::new();
        for line in output.lines().filter(|line| line.starts_with('{')) {
            let Ok(line) = serde_json::from_str::<Line>(line) else {
                continue;
            };
            for vertex in line.vertexes {
                let step = steps.entry(vertex.digest).or_default();
                step.name = vertex.name;
                step.cached |= vertex.cached;
                step.error = vertex
                    .error
                    .filter(|error| !error.is_empty())
                    .or(step.error.take());
            }
            warnings.extend(line.warnings.into_iter().map(|warning| warning.short));
        }
        Self {
            success,
            steps,
            warnings,
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
        self.steps
            .values()
            .filter(|step| step.name.starts_with('[') && !step.name.starts_with("[internal]"))
    }

    /// The step whose name contains this.
    pub fn step(&self, part: &str) -> Option<&Step> {
        self.steps.values().find(|step| step.name.contains(part))
    }

    /// Fails unless each step of the Dockerfile was cached.
    pub fn all_cached(self) -> Self {
        let ran: Vec<_> = self
            .dockerfile_steps()
            .filter(|step| !step.cached)
            .collect();
        assert!(ran.is_empty(), "not cached: {ran:#?}\n{}", self.output);
        assert!(
            self.dockerfile_steps().count() > 0,
            "no steps:\n{}",
            self.output
        );
        self
    }

    /// Fails if any step of the Dockerfile was cached.
    pub fn none_cached(self) -> Self {
        let cached: Vec<_> = self.dockerfile_steps().filter(|step| step.cached).collect();
        assert!(cached.is_empty(), "cached: {cached:#?}");
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
