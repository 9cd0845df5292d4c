//! A Docker engine of our own, shared by the tests that run at the same time, and the builder
//! image in it.

use std::{
    path::Path,
    process::Command,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use super::{
    Builder, Lab, SOON,
    process::{Process, command, run},
    service::PROGRAM,
    version,
};

/// What the builder image is called in the engine.
const IMAGE: &str = "buildkit-gha:e2e";

/// The engine of the tests that are running now. It ends with the last of them.
static SHARED: Mutex<Weak<Engine>> = Mutex::new(Weak::new());

/// A running dockerd with the builder image.
pub struct Engine {
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
        let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut dockerd = command(&lab, repository.join("tools/dockerd.sh"));
        dockerd.arg(lab.path("engine"));
        let mut process = Process::start(&lab, "dockerd", dockerd);
        process.until("it listens", SOON, |log| {
            log.contains("API listen on").then_some(())
        });
        let mut image = command(&lab, repository.join("image/build.sh"));
        image.env("DOCKER_HOST", host(&lab)).args([PROGRAM, IMAGE]);
        image.env("BUILDKIT_VERSION", version::asked().unwrap_or_default());
        run(&lab, "image", image, SOON).ok("the builder image");
        Self {
            _process: process,
            lab,
        }
    }

    /// What `DOCKER_HOST` must be for this engine.
    pub fn host(&self) -> String {
        host(&self.lab)
    }
}

fn host(lab: &Lab) -> String {
    format!("unix://{}", lab.path("engine/docker.sock").display())
}

/// A buildx builder with the docker-container driver; it goes with the value.
pub struct Container {
    builder: Builder,
    // Declared last: the container must be gone before its engine ends.
    engine: Arc<Engine>,
}

impl Container {
    /// Creates and boots the builder. Names must be unique in a run.
    pub fn create(lab: &Arc<Lab>, engine: &Arc<Engine>, name: &str) -> Self {
        Self::create_with(lab, engine, name, |_| ())
    }

    /// The same with more settings.
    pub fn create_with(
        lab: &Arc<Lab>,
        engine: &Arc<Engine>,
        name: &str,
        edit: impl FnOnce(&mut Command),
    ) -> Self {
        let container = Self {
            builder: Builder::Buildx {
                lab: Arc::clone(lab),
                name: name.to_owned(),
                engine: Some(engine.host()),
            },
            engine: Arc::clone(engine),
        };
        let mut create = container.builder.buildx();
        create.args(["create", "--bootstrap", "--name", name]);
        create.args(["--driver", "docker-container"]);
        // The service of the tests listens on the loopback of the host.
        create.args(["--driver-opt", "network=host"]);
        create.arg("--driver-opt").arg(format!("image={IMAGE}"));
        edit(&mut create);
        run(lab, "buildx-create", create, SOON).ok("buildx create");
        container
    }

    /// The builder.
    pub fn builder(&self) -> &Builder {
        &self.builder
    }

    /// The container's log joins those that a failed test shows.
    fn keep_log(&self, lab: &Arc<Lab>, name: &str) {
        let mut docker = command(lab, "docker");
        docker.env("DOCKER_HOST", self.engine.host());
        docker.arg("logs").arg(format!("buildx_buildkit_{name}0"));
        Process::start(lab, name, docker).ended_within(SOON);
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if let Builder::Buildx { lab, name, .. } = &self.builder {
            if std::thread::panicking() {
                self.keep_log(lab, name);
            }
            let mut remove = self.builder.buildx();
            remove.args(["rm", "--force", name]);
            let status = Process::start(lab, "buildx-rm", remove).ended_within(SOON);
            if !status.is_some_and(|status| status.success()) {
                eprintln!("the builder {name} could not be removed: {status:?}");
            }
        }
    }
}
