//! What is built: layers of random bytes, a layer of programs, and a project as people have it.
//!
//! Random bytes do not compress, so that `gzip`, which stock always uses, hides none of them from
//! the link. One step makes all files and a `COPY` for each makes a layer of it: the exported stage
//! has these layers and no other.

use std::{fmt::Write as _, fs, path::Path, sync::Arc};

use serde::Serialize;

use crate::harness::{Context, Lab, version};

/// A project: packages, a toolchain, a compiler, tests, an image.
const PROJECT: &str = include_str!("project.Dockerfile");

/// What compresses as images do, and is there on every machine that runs this.
const PROGRAMS: [&str; 3] = ["buildkitd", "buildctl", "buildx"];

/// One layer, of the programs.
const PROGRAMS_LAYER: &str = "FROM scratch AS layers\nCOPY programs /programs\n";

/// Source files of the project.
const SOURCES: usize = 40;

/// What a build makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Content {
    /// 60 layers of 1 MiB.
    Sixty,
    /// 10 layers of 20 MiB and 30 of 256 KiB.
    Mixed,
    /// One layer of 512 MiB.
    Large,
    /// One layer of 4 GiB.
    Huge,
    /// One layer of programs.
    Programs,
    /// The project.
    Project,
}

impl Content {
    /// What the table calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sixty => "60 × 1 MiB",
            Self::Mixed => "10 × 20 MiB + 30 × 256 KiB",
            Self::Large => "1 × 512 MiB",
            Self::Huge => "1 × 4 GiB",
            Self::Programs => "1 layer of programs",
            Self::Project => "project",
        }
    }

    /// So many layers of so many bytes.
    fn layers(self) -> &'static [(usize, u64)] {
        match self {
            Self::Sixty => &[(60, 1 << 20)],
            Self::Mixed => &[(10, 20 << 20), (30, 256 << 10)],
            Self::Large => &[(1, 512 << 20)],
            Self::Huge => &[(1, 4 << 30)],
            Self::Programs | Self::Project => &[],
        }
    }

    /// The mode of its export: the layers' stage alone, or all stages of the project.
    pub fn mode(self) -> &'static str {
        match self {
            Self::Project => "max",
            _ => "min",
        }
    }

    /// The stage that is exported.
    pub fn exported(self) -> &'static str {
        match self {
            Self::Project => "image",
            _ => "layers",
        }
    }

    /// The stage that needs what was imported: one more step above it.
    pub fn importing(self) -> &'static str {
        match self {
            Self::Project => "image",
            _ => "used",
        }
    }

    /// A context of its own: equal names have equal steps.
    pub fn context(self, lab: &Arc<Lab>, name: &str) -> Context {
        match self {
            Self::Project => project(lab, name),
            Self::Programs => programs(lab, name),
            _ => Context::with_shell(lab, name, &self.dockerfile(name)),
        }
    }

    fn dockerfile(self, name: &str) -> String {
        let (mut make, mut copies, mut next) = (format!(": {name}"), String::new(), 0);
        for (count, bytes) in self.layers() {
            let last = next + count - 1;
            let _ = write!(
                make,
                "; for i in $(seq {next} {last}); do head -c {bytes} /dev/urandom > /layer-$i; done"
            );
            for i in next..=last {
                let _ = writeln!(copies, "COPY --from=base /layer-{i} /layer-{i}");
            }
            next = last + 1;
        }
        format!(
            "RUN {make}\n\
             FROM scratch AS layers\n{copies}\
             FROM layers AS used\n\
             COPY busybox /bin/busybox\n\
             RUN [\"/bin/busybox\", \"true\"]\n"
        )
    }
}

fn programs(lab: &Arc<Lab>, name: &str) -> Context {
    let context = Context::new(lab, name, PROGRAMS_LAYER);
    let folder = context.dir().join("programs");
    fs::create_dir(&folder).expect("create a folder of the context");
    let tools = version::tools();
    for program in PROGRAMS {
        let copied = fs::copy(Path::new(&tools).join(program), folder.join(program));
        copied.expect("the programs have been built");
    }
    context.write("programs/name", name);
    context
}

fn project(lab: &Arc<Lab>, name: &str) -> Context {
    let context = Context::new(lab, name, PROJECT);
    context.write("packages.lock", format!("{name}\n"));
    for i in 0..SOURCES {
        context.write(&format!("source-{i}.c"), source(i, 0));
    }
    context
}

/// A source file of the project, as it is after so many changes.
pub fn source(number: usize, changes: usize) -> String {
    let mut text = format!("/* source {number}, changed {changes} times */\n");
    for line in 0..400 {
        let _ = writeln!(
            text,
            "int f_{number}_{line}(int x) {{ return x + {line}; }}"
        );
    }
    text
}
