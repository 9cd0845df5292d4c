//! Containers of our images: builders that buildx makes, and such as a user starts.

use std::{process::Command, sync::Arc};

use rustix::process::Pid;

use super::{
    Builder, Engine, Image, Lab, SOON, Site,
    process::{Finished, Process, run},
};

/// A buildx builder with the docker-container driver; it goes with the value.
pub struct Container {
    builder: Builder,
    // Declared last: the container must be gone before its engine ends.
    engine: Arc<Engine>,
}

impl Container {
    /// Creates and boots the builder. Names must be unique in a run.
    pub fn create(lab: &Arc<Lab>, engine: &Arc<Engine>, name: &str) -> Self {
        // The service of the tests listens on the loopback of the host.
        Self::create_with(lab, engine, name, |create| {
            create.args(["--driver-opt", "network=host"]);
        })
    }

    /// The same with other settings.
    pub fn create_with(
        lab: &Arc<Lab>,
        engine: &Arc<Engine>,
        name: &str,
        edit: impl FnOnce(&mut Command),
    ) -> Self {
        Self::of(Image::Default, (lab, engine, name), edit)
    }

    /// The same of any image.
    pub fn of(
        image: Image,
        (lab, engine, name): (&Arc<Lab>, &Arc<Engine>, &str),
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
        let image = engine.image(image);
        let mut create = container.builder.buildx();
        create.args(["create", "--bootstrap", "--name", name]);
        create.args(["--driver", "docker-container"]);
        create.arg("--driver-opt").arg(format!("image={image}"));
        edit(&mut create);
        run(lab, "buildx-create", create, SOON).ok("buildx create");
        container
    }

    /// The builder.
    pub fn builder(&self) -> &Builder {
        &self.builder
    }

    /// The environment of a job of GitHub's whose builds use this builder, and the service as their cache.
    pub fn as_in_a_job(&self, site: &Site) -> Vec<(&'static str, String)> {
        vec![
            ("BUILDX_BUILDER", self.builder.name().to_owned()),
            ("ACTIONS_RUNTIME_TOKEN", site.token.clone()),
            ("ACTIONS_RESULTS_URL", site.service.url()),
            ("ACTIONS_CACHE_SERVICE_V2", "true".to_owned()),
        ]
    }

    /// What it has printed so far, as `docker logs` shows it.
    pub fn log(&self) -> String {
        let name = format!("buildx_buildkit_{}0", self.builder.name());
        log(&self.engine, self.builder.lab(), &name)
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if let Builder::Buildx { lab, name, .. } = &self.builder {
            if std::thread::panicking() {
                self.log();
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

/// A container that `docker run` has started; it goes with the value, and so does its volume.
pub struct Running {
    name: String,
    lab: Arc<Lab>,
    // Declared last: the container must be gone before its engine ends.
    engine: Arc<Engine>,
}

impl Running {
    /// Starts it with these options of `docker run` and these arguments. Names must be unique in a run.
    pub fn start(
        lab: &Arc<Lab>,
        engine: &Arc<Engine>,
        (image, name): (Image, &str),
        options: &[&str],
        arguments: &[&str],
    ) -> Self {
        let image = engine.image(image);
        let mut docker = engine.docker(lab);
        docker.args(["run", "--detach", "--name", name]);
        docker.args(options).arg(image).args(arguments);
        let started = Self {
            name: name.to_owned(),
            lab: Arc::clone(lab),
            engine: Arc::clone(engine),
        };
        run(lab, "docker-run", docker, SOON).ok("docker run");
        started
    }

    /// A `docker` command on this container, as `docker("exec", &["true"])`.
    pub fn docker(&self, what: &str, words: &[&str]) -> Finished {
        let mut docker = self.engine.docker(&self.lab);
        docker.arg(what).arg(&self.name).args(words);
        run(&self.lab, what, docker, SOON)
    }

    /// Runs a program in it; the answer is what it prints.
    pub fn exec(&self, words: &[&str]) -> String {
        self.docker("exec", words).ok("docker exec")
    }

    /// Waits until the health check of the image has passed, which is asked for at once and not each few
    /// seconds.
    pub fn answers(&self) {
        self.until("answering", |running| {
            let checked = running.docker("exec", &["buildkit-gha", "healthcheck"]);
            checked.status.success().then_some(())
        });
    }

    /// Waits until the engine calls it healthy.
    pub fn healthy(&self) {
        self.until("healthy", |running| {
            let format = "{{.State.Health.Status}}";
            let mut docker = running.engine.docker(&running.lab);
            docker.args(["inspect", "--format", format, &running.name]);
            let said = run(&running.lab, "inspect", docker, SOON).ok("docker inspect");
            (said.trim() == "healthy").then_some(())
        });
    }

    /// Waits until there is something to say of it.
    pub fn until<T>(&self, what: &str, ready: impl Fn(&Self) -> Option<T>) -> T {
        let deadline = std::time::Instant::now() + SOON;
        loop {
            if let Some(value) = ready(self) {
                return value;
            }
            assert!(
                std::time::Instant::now() < deadline,
                "{} is not {what} within {SOON:?}:\n{}",
                self.name,
                self.log()
            );
        }
    }

    /// Its processes, as this machine sees them, with their command lines.
    pub fn processes(&self) -> Vec<(Pid, String)> {
        let top = self.docker("top", &["-o", "pid,args"]).ok("docker top");
        let rows = top.lines().skip(1).filter_map(|row| {
            let (pid, command) = row.trim().split_once(' ')?;
            Some((Pid::from_raw(pid.parse().ok()?)?, command.trim().to_owned()))
        });
        rows.collect()
    }

    /// The process whose command line begins so, if there is one.
    pub fn process(&self, begins: &str) -> Option<Pid> {
        let mut processes = self.processes().into_iter();
        processes.find_map(|(pid, command)| command.starts_with(begins).then_some(pid))
    }

    /// What it has printed so far, as `docker logs` shows it.
    pub fn log(&self) -> String {
        log(&self.engine, &self.lab, &self.name)
    }

    /// A buildx builder on the daemon in it, under the container's name.
    pub fn builder(&self) -> Builder {
        let builder = Builder::Buildx {
            lab: Arc::clone(&self.lab),
            name: self.name.clone(),
            engine: Some(self.engine.host()),
        };
        let mut create = builder.buildx();
        create.args(["create", "--driver", "remote", "--name", &self.name]);
        create.arg(format!("docker-container://{}", self.name));
        run(&self.lab, "buildx-create", create, SOON).ok("buildx create");
        builder
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.log();
        }
        let mut remove = self.engine.docker(&self.lab);
        remove.args(["rm", "--force", "--volumes", &self.name]);
        let status = Process::start(&self.lab, "docker-rm", remove).ended_within(SOON);
        if !status.is_some_and(|status| status.success()) {
            eprintln!(
                "the container {} could not be removed: {status:?}",
                self.name
            );
        }
    }
}

/// The log joins those that a failed test shows.
fn log(engine: &Engine, lab: &Arc<Lab>, name: &str) -> String {
    let mut docker = engine.docker(lab);
    docker.arg("logs").arg(name);
    Process::start(lab, &format!("log-of-{name}"), docker)
        .finish(SOON)
        .stderr
}
