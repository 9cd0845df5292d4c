//! The action in a workflow, run by act.

use std::{fs, os::unix::fs::symlink, path::Path, process::Command, sync::Arc};

use crate::harness::{BUILD, Engine, Image, SOON, Site, command, run};

/// The repository of this project.
const PROJECT: &str = env!("CARGO_MANIFEST_DIR");

/// Stock BuildKit as buildx takes it by default; the stand-in has its name, since no registry can be
/// reached here.
const STOCK: &str = "moby/buildkit:buildx-stable-1";

/// How many builds a workflow makes at most, one after the other.
const JOBS: u32 = 3;

#[test]
fn workflows_with_the_action() {
    let runner = Runner::new();
    let url = runner.site.service.url();
    let build = runner.run(
        "build",
        &[
            ("ACTIONS_RESULTS_URL", &url),
            ("ACTIONS_CACHE_URL", &url),
            ("ACTIONS_CACHE_SERVICE_V2", "true"),
            ("ACTIONS_RUNTIME_TOKEN", &runner.site.token),
        ],
    );
    let service = runner.run("service", &[("SERVICE_URL", &url)]);

    let cold = runner.result("cold");
    for job in ["warm", "service"] {
        assert_eq!(runner.result(job), cold, "{job} has the cache of cold");
    }
    assert_ne!(runner.result("fallback"), cold, "stock BuildKit has none");
    for (log, job, headline) in [
        (&build, "cold", " steps cached"),
        (&build, "warm", " steps cached, "),
        (&service, "service", " steps cached, "),
        (&build, "fallback", "stock BuildKit was used"),
    ] {
        let title = "Summary - ### Docker build cache: ";
        let summary = of_job(log, job).find_map(|line| Some(line.split_once(title)?.1));
        let summary = summary.unwrap_or_else(|| panic!("no summary of {job}:\n{log}"));
        assert!(summary.contains(headline), "{job}: {summary}");
    }
    let errors = build.lines().filter(|line| line.contains("::error"));
    let [error] = errors.collect::<Vec<_>>()[..] else {
        panic!("one error:\n{build}")
    };
    let fallback = "buildkit-gha:missing could not be started";
    assert!(error.contains(fallback), "{error}");
    for log in [build, service] {
        assert!(!log.contains("::warning"), "{log}");
        for token in [&runner.site.token, &runner.service_token] {
            assert!(!log.contains(token.as_str()), "tokens are masked");
        }
    }
    assert_eq!(runner.left_in_engine(), "", "the builders are gone");
}

/// Lines of the log that a job wrote.
fn of_job<'log>(log: &'log str, job: &str) -> impl Iterator<Item = &'log str> {
    let name = format!("/{job}");
    // Names are padded to the same width.
    let is_of_job = move |line: &&str| {
        let prefix = line.split_once(']').map(|(prefix, _)| prefix.trim_end());
        prefix.is_some_and(|prefix| prefix.ends_with(&name))
    };
    log.lines().filter(is_of_job)
}

/// A repository with the action and a workflow, an engine, and an Actions cache.
struct Runner {
    engine: Arc<Engine>,
    service_token: String,
    site: Site,
}

impl Runner {
    fn new() -> Self {
        let site = Site::new();
        let runner = Self {
            engine: Engine::shared(),
            // Another one than that of the runner.
            service_token: site.service.token(&["refs/heads/main=r"]),
            site,
        };
        runner.make_repository();
        runner.set_up_home();
        let stock = runner.engine.image(Image::Base);
        runner.docker(&["tag", &stock, STOCK]);
        runner
    }

    fn make_repository(&self) {
        let site = &self.site;
        let repository = site.lab.path("repository");
        let workflows = repository.join(".github/workflows");
        let github = workflows.parent().expect("a folder");
        fs::create_dir_all(github).expect("create a directory");
        fs::create_dir(site.lab.path("results")).expect("create a directory");
        let project = Path::new(PROJECT);
        let copy = |from: &Path, to: &Path| {
            let mut copy = command(&site.lab, "cp");
            copy.args(["--recursive", "--no-target-directory"])
                .arg(from)
                .arg(to);
            run(&site.lab, "cp", copy, SOON).ok("cp");
        };
        copy(site.context.dir(), &repository.join("context"));
        copy(&project.join("e2e/action"), &workflows);
        // What runners get: no source, no packages.
        for part in ["action.yml", "report", "dist"] {
            let to = repository.join("action").join(part);
            fs::create_dir_all(to.parent().expect("a folder")).expect("create a directory");
            copy(&project.join("action").join(part), &to);
        }
        for args in [
            &["init", "--quiet", "--initial-branch=main"][..],
            &["add", "--all"],
            &[
                "-c",
                "user.name=e2e",
                "-c",
                "user.email=e2e@example.com",
                "commit",
                "--quiet",
                "-m",
                "All",
            ],
        ] {
            let mut git = command(&site.lab, "git");
            git.arg("-C").arg(&repository).args(args);
            run(&site.lab, "git", git, SOON).ok("git");
        }
    }

    /// act asks a question unless it has settings, and docker finds buildx among its plugins.
    fn set_up_home(&self) {
        let lab = &self.site.lab;
        let plugins = lab.path(".docker/cli-plugins");
        for dir in [&plugins, &lab.path(".config/act")] {
            fs::create_dir_all(dir).expect("create a directory");
        }
        fs::write(lab.path(".config/act/actrc"), "").expect("write a file");
        let buildx = Path::new(PROJECT).join(".tools/bin/buildx");
        symlink(buildx, plugins.join("docker-buildx")).expect("make a link");
    }

    /// Runs all jobs of a workflow on this machine, not in containers; the answer is the log.
    fn run(&self, workflow: &str, variables: &[(&str, &str)]) -> String {
        let site = &self.site;
        let mut act = command(&site.lab, "act");
        act.env("DOCKER_HOST", self.engine.host());
        act.env("RESULTS", site.lab.path("results"));
        act.args([
            "push",
            "--platform",
            "ubuntu-latest=-self-hosted",
            "--no-cache-server",
        ]);
        act.arg("--directory").arg(site.lab.path("repository"));
        act.arg("--workflows")
            .arg(format!(".github/workflows/{workflow}.yml"));
        let image = self.engine.image(Image::Default);
        for (name, value) in variables.iter().chain(&[("IMAGE", &*image)]) {
            act.arg("--env").arg(format!("{name}={value}"));
        }
        let secret = format!("SERVICE_TOKEN={}", self.service_token);
        act.arg("--secret").arg(secret);
        let finished = run(&site.lab, "act", act, BUILD * JOBS);
        let log = format!("{}{}", finished.stdout, finished.stderr);
        finished.ok("act");
        log
    }

    /// What the build of a job made.
    fn result(&self, job: &str) -> String {
        let file = self.site.lab.path("results").join(job);
        fs::read_to_string(file).expect("the job has kept its result")
    }

    /// Containers and volumes of builders that the jobs have made.
    fn left_in_engine(&self) -> String {
        let filter = "name=buildx_buildkit_builder-";
        let containers = self.docker(&["ps", "--all", "--quiet", "--filter", filter]);
        containers + &self.docker(&["volume", "ls", "--quiet", "--filter", filter])
    }

    fn docker(&self, args: &[&str]) -> String {
        let mut docker: Command = self.engine.docker(&self.site.lab);
        docker.args(args);
        run(&self.site.lab, "docker", docker, SOON).ok("docker")
    }
}
