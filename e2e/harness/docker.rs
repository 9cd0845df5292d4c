//! A Docker engine of our own, shared by the tests that run at the same time, and the images in it.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use super::{
    BUILD, Lab, SOON,
    process::{Process, command, run},
    service::MEASURED_PROGRAM,
    version,
};

/// The engine of the tests that are running now. It ends with the last of them.
static SHARED: Mutex<Weak<Engine>> = Mutex::new(Weak::new());

/// What is upstream's, but for its name.
const BASE: &str = "base:e2e";
const ROOTLESS_BASE: &str = "base:e2e-rootless";

/// The targets of `image/Dockerfile`, and the first one's base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Image {
    /// Stock.
    Base,
    /// The builder.
    Default,
    /// The builder that needs no root.
    Rootless,
    /// The Actions cache.
    Serve,
}

impl Image {
    /// Its target in the Dockerfile; none for what is not made by it.
    fn target(self) -> Option<&'static str> {
        match self {
            Self::Base => None,
            Self::Default => Some("default"),
            Self::Rootless => Some("rootless"),
            Self::Serve => Some("serve"),
        }
    }

    /// What it is called in the engine.
    fn name(self) -> String {
        let target = self.target();
        target.map_or_else(
            || BASE.to_owned(),
            |target| format!("buildkit-gha:e2e-{target}"),
        )
    }
}

/// A running dockerd with the images that were asked for.
pub struct Engine {
    made: Mutex<Vec<Image>>,
    _process: Process,
    lab: Arc<Lab>,
}

impl Engine {
    /// The engine that runs, or a new one.
    pub fn shared() -> Arc<Self> {
        // A test that failed while it started the engine leaves none behind: the next one tries.
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let engine = Arc::new(Self::start());
            *shared = Arc::downgrade(&engine);
            engine
        })
    }

    fn start() -> Self {
        let lab = Lab::new();
        let mut dockerd = command(&lab, repository().join("tools/dockerd.sh"));
        dockerd.arg(lab.path("engine"));
        let mut process = Process::start(&lab, "dockerd", dockerd);
        process.until("it listens", SOON, |log| {
            log.contains("API listen on").then_some(())
        });
        static_program(&lab);
        Self {
            made: Mutex::default(),
            _process: process,
            lab,
        }
    }

    /// What `DOCKER_HOST` must be for this engine.
    pub fn host(&self) -> String {
        format!("unix://{}", self.lab.path("engine/docker.sock").display())
    }

    /// A `docker` command for this engine.
    pub fn docker(&self, lab: &Lab) -> Command {
        self.command(lab, "docker")
    }

    fn command(&self, lab: &Lab, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = command(lab, program);
        command.env("DOCKER_HOST", self.host());
        command.env("BUILDX_CONFIG", lab.path("buildx"));
        command.env("DOCKER_CONFIG", lab.path("docker"));
        command
    }

    /// The name of the image, which is made if this engine has none yet.
    pub fn image(&self, image: Image) -> String {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        self.make(&mut made, image);
        image.name()
    }

    fn make(&self, made: &mut Vec<Image>, image: Image) {
        if made.contains(&image) {
            return;
        }
        match image {
            Image::Base => self.base(&[BASE]),
            // The second has the first's certificates.
            Image::Default | Image::Serve => self.make(made, Image::Base),
            Image::Rootless => self.base(&["--rootless", ROOTLESS_BASE]),
        }
        if let Some(target) = image.target() {
            self.build(target, &image.name());
        }
        made.push(image);
    }

    /// Makes what stands in for upstream's image.
    fn base(&self, words: &[&str]) {
        let mut base = self.command(&self.lab, repository().join("image/base.sh"));
        base.args(words).envs(of_the_machine(["HOME", "PATH"]));
        base.env("BUILDKIT_VERSION", version::asked().unwrap_or_default());
        run(&self.lab, "base", base, SOON).ok("the base of the image");
    }

    fn build(&self, target: &str, name: &str) {
        let mut build = self.command(&self.lab, "buildx");
        build.arg("build").arg("--file");
        build.arg(repository().join("image/Dockerfile"));
        build.args(["--target", target, "--tag", name]);
        for (argument, value) in [
            ("BASE", BASE),
            ("ROOTLESS_BASE", ROOTLESS_BASE),
            ("BUILDKITD", version::entry_point()),
            ("VERSION", "e2e"),
        ] {
            build.arg("--build-arg").arg(format!("{argument}={value}"));
        }
        build.arg(context(&self.lab));
        run(&self.lab, "image", build, SOON).ok("the image");
    }
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What the images are made of.
fn context(lab: &Lab) -> PathBuf {
    lab.path("image")
}

/// Puts the static program into the context: the one that is to be measured, or one that `make test` has built before.
fn static_program(lab: &Arc<Lab>) {
    let architecture = match std::env::consts::ARCH {
        "aarch64" => "arm64",
        _ => "amd64",
    };
    match MEASURED_PROGRAM {
        Some(program) => {
            let into = context(lab).join(architecture);
            std::fs::create_dir_all(&into).expect("make a folder");
            std::fs::copy(program, into.join("buildkit-gha")).expect("copy the program");
        }
        None => build_static_program(lab, architecture),
    }
    let licence = context(lab).join("LICENSE");
    std::fs::copy(repository().join("LICENSE"), licence).expect("copy a file");
}

fn build_static_program(lab: &Arc<Lab>, architecture: &str) {
    let mut script = command(lab, repository().join("image/program.sh"));
    script.arg(architecture).arg(context(lab));
    script.envs(of_the_machine([
        "HOME",
        "PATH",
        "CARGO_HOME",
        "RUSTUP_HOME",
    ]));
    script.env("PROFILE", "dev");
    run(lab, "static-program", script, BUILD).ok("the static program");
}

/// Variables that cargo and go need; nothing else of the machine's settings reaches a test.
fn of_the_machine<const N: usize>(names: [&'static str; N]) -> Vec<(&'static str, String)> {
    let value = |name| {
        #[expect(
            clippy::disallowed_methods,
            reason = "a setting of the machine, not of the program"
        )]
        let value = std::env::var(name).ok()?;
        Some((name, value))
    };
    names.into_iter().filter_map(value).collect()
}
