//! What is built: steps whose content can be computed, so that every result can be judged.

use std::{fs, path::PathBuf};

use super::Chance;
use crate::harness::{Build, Context, Lab};

/// As many as make builds share steps, scopes and layers, and meet others than their own.
const PROJECTS: u64 = 5;

/// How often a project changes.
const VERSIONS: u64 = 4;

/// Not a multiple of anything, and more than one lookup fetches.
const BYTES: usize = 1_300_003;

const DOCKERFILE: &str = r#"
FROM base AS always
RUN mkdir /out && yes "NAME always" | head -c BYTES > /out/always

FROM base AS changing
ARG VERSION
RUN mkdir /out && yes "NAME version $VERSION" | head -c BYTES > /out/changing
RUN yes "NAME after $VERSION" | head -c BYTES > /out/after

FROM scratch
COPY --from=always /out /
COPY --from=changing /out /
"#;

/// Something that is built again and again.
pub struct Project {
    /// Its name, which is its cache's scope.
    pub name: String,
    context: Context,
}

/// One build of a project.
pub struct SoakBuild {
    /// The build, without its caches.
    pub build: Build,
    result: PathBuf,
    expected: Vec<(&'static str, String)>,
}

impl Project {
    /// All of them.
    pub fn all(lab: &Lab) -> Vec<Self> {
        let names = (0..PROJECTS).map(|n| format!("project-{n}"));
        let project = |name: String| {
            let dockerfile = DOCKERFILE.replace("NAME", &name);
            let dockerfile = dockerfile.replace("BYTES", &BYTES.to_string());
            let context = Context::with_shell(lab, &name, &dockerfile);
            Self { name, context }
        };
        names.map(project).collect()
    }

    /// A build of one of its versions.
    pub fn next_build(&self, chance: &mut Chance, lab: &Lab, number: u64) -> SoakBuild {
        let version = chance.below(VERSIONS);
        let result = lab.path(format!("result-{number}"));
        let name = &self.name;
        SoakBuild {
            build: Build::new(&self.context)
                .arg(format!("--opt=build-arg:VERSION={version}"))
                .arg(format!("--output=type=local,dest={}", result.display())),
            result,
            expected: vec![
                ("always", format!("{name} always\n")),
                ("changing", format!("{name} version {version}\n")),
                ("after", format!("{name} after {version}\n")),
            ],
        }
    }
}

impl SoakBuild {
    /// Whether the result is what it must be; it is removed.
    pub fn check(&self) -> Result<(), String> {
        for (file, line) in &self.expected {
            let found = fs::read(self.result.join(file)).map_err(|e| format!("{file}: {e}"))?;
            let expected = line.bytes().cycle().take(BYTES);
            if !expected.eq(found) {
                return Err(format!(
                    "{file} has other bytes than {line:?} again and again"
                ));
            }
        }
        fs::remove_dir_all(&self.result).map_err(|e| e.to_string())
    }
}
