//! One build as every client can be asked for it.

use std::{path::PathBuf, process::Command, sync::Arc};

use super::{
    BUILD, Context, Daemon, Lab, Outcome, SOON,
    process::{Process, command, run},
};

/// A client and the daemon that it talks to.
pub enum Builder {
    /// `buildctl`, straight to the socket.
    Buildctl {
        /// The test's directory.
        lab: Arc<Lab>,
        /// The daemon's address.
        address: String,
    },
    /// `buildx` with a builder that exists.
    Buildx {
        /// The test's directory.
        lab: Arc<Lab>,
        /// The builder's name.
        name: String,
        /// `DOCKER_HOST` of the engine, for the docker-container driver.
        engine: Option<String>,
    },
}

impl Builder {
    /// `buildctl` on this daemon.
    pub fn buildctl(daemon: &Daemon) -> Self {
        Self::Buildctl {
            lab: Arc::clone(daemon.lab()),
            address: daemon.address(),
        }
    }

    /// `buildx` on this daemon, through its remote driver.
    pub fn remote(daemon: &Daemon, name: &str) -> Self {
        let builder = Self::Buildx {
            lab: Arc::clone(daemon.lab()),
            name: name.to_owned(),
            engine: None,
        };
        let mut create = builder.buildx();
        create.args(["create", "--driver", "remote", "--name", name]);
        create.arg(daemon.address());
        run(builder.lab(), "buildx-create", create, SOON).ok("buildx create");
        builder
    }

    /// The directory that the client works in.
    pub fn lab(&self) -> &Arc<Lab> {
        match self {
            Self::Buildctl { lab, .. } | Self::Buildx { lab, .. } => lab,
        }
    }

    /// The name that `buildx` knows it by.
    pub fn name(&self) -> &str {
        match self {
            Self::Buildctl { address, .. } => address,
            Self::Buildx { name, .. } => name,
        }
    }

    /// A `buildx` command in this builder's surroundings.
    pub fn buildx(&self) -> Command {
        let lab = self.lab();
        let mut buildx = command(lab, "buildx");
        buildx.env("BUILDX_CONFIG", lab.path("buildx"));
        buildx.env("DOCKER_CONFIG", lab.path("docker"));
        if let Self::Buildx {
            engine: Some(engine),
            ..
        } = self
        {
            buildx.env("DOCKER_HOST", engine);
        }
        buildx
    }

    /// Runs the build to its end.
    pub fn build(&self, build: &Build) -> Outcome {
        Outcome::from_client(run(self.lab(), "build", self.command(build), BUILD))
    }

    /// Starts the build; the caller decides how it ends.
    pub fn start(&self, build: &Build) -> Process {
        Process::start(self.lab(), "build", self.command(build))
    }

    /// Throws away all that the daemon has cached.
    pub fn prune(&self) {
        let prune = match self {
            Self::Buildctl { lab, address } => {
                let mut prune = command(lab, "buildctl");
                prune.args(["--addr", address, "prune", "--all"]);
                prune
            }
            Self::Buildx { name, .. } => {
                let mut prune = self.buildx();
                prune.args(["prune", "--builder", name, "--all", "--force"]);
                prune
            }
        };
        run(self.lab(), "prune", prune, SOON).ok("prune");
    }

    /// The client's command for a build.
    pub fn command(&self, build: &Build) -> Command {
        let mut client;
        let (to, from);
        match self {
            Self::Buildctl { lab, address } => {
                client = command(lab, "buildctl");
                client.args(["--addr", address, "build", "--frontend", "dockerfile.v0"]);
                for local in ["context", "dockerfile"] {
                    let dir = build.context.display();
                    client.arg("--local").arg(format!("{local}={dir}"));
                }
                (to, from) = ("--export-cache", "--import-cache");
            }
            Self::Buildx { name, .. } => {
                client = self.buildx();
                client
                    .args(["build", "--builder", name])
                    .arg(&build.context);
                (to, from) = ("--cache-to", "--cache-from");
            }
        }
        let progress = build.progress.unwrap_or("rawjson");
        client.arg(format!("--progress={progress}"));
        for value in &build.to {
            client.arg(to).arg(value);
        }
        for value in &build.from {
            client.arg(from).arg(value);
        }
        if let Some(tar) = &build.tar {
            let output = format!("type=tar,dest={}", tar.display());
            client.arg("--output").arg(output);
        }
        client.args(&build.args).envs(build.env.iter().cloned());
        client
    }
}

/// What to build, and the caches to use.
#[derive(Clone, Default)]
pub struct Build {
    context: PathBuf,
    to: Vec<String>,
    from: Vec<String>,
    tar: Option<PathBuf>,
    args: Vec<String>,
    env: Vec<(String, String)>,
    progress: Option<&'static str>,
}

impl Build {
    /// A build of this context, without caches and without a result.
    pub fn new(context: &Context) -> Self {
        Self {
            context: context.dir().to_owned(),
            ..Self::default()
        }
    }

    /// A build of a repository, which the daemon reads itself.
    pub fn of_repository(url: &str) -> Self {
        Self {
            context: url.into(),
            ..Self::default()
        }
    }

    /// Exports the cache.
    pub fn to(mut self, cache: impl Into<String>) -> Self {
        self.to.push(cache.into());
        self
    }

    /// Imports a cache.
    pub fn from(mut self, cache: impl Into<String>) -> Self {
        self.from.push(cache.into());
        self
    }

    /// Writes the result as a tar file.
    pub fn tar(mut self, path: PathBuf) -> Self {
        self.tar = Some(path);
        self
    }

    /// Another kind of progress than the one that tests read.
    pub fn progress(mut self, kind: &'static str) -> Self {
        self.progress = Some(kind);
        self
    }

    /// One more argument for the client, in the client's own words.
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// A variable of the client's environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }
}
