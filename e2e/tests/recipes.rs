//! The shell blocks of `docs/recipes.md`, run as they stand on the page (ADR 49). `deploy/check.sh` checks its
//! other blocks.

use std::{fs, net::TcpListener, os::unix::fs::symlink, path::Path, sync::Arc};

use crate::harness::{
    BUILD, Container, Context, Engine, Finished, Image, Lab, Outcome, PROGRAM, Process, Site,
    command, version,
};

const PAGE: &str = include_str!("../../docs/recipes.md");

/// Two targets, for bake; steps whose content differs each time they run.
const STAGES: &str = "
FROM base AS api
RUN head -c 100000 /dev/urandom > /api
FROM base AS worker
RUN head -c 100000 /dev/urandom > /worker
FROM scratch
COPY --from=api /api /
COPY --from=worker /worker /
";

const DRIVER: &str = "--driver docker-container";
const ANY_DISK: &str = "env.BUILDKIT_GHA_SPOOL_FREE=0";

/// What stands between the parts of a script in what it writes.
const LAST: &str = "#last";
const AGAIN: &str = "#again";

/// The blocks of one part of the page.
struct Recipe {
    heading: &'static str,
    blocks: Vec<(&'static str, String)>,
}

impl Recipe {
    fn named(heading: &'static str) -> Self {
        let mut parts = PAGE.split("\n## ");
        let part = parts.find_map(|part| part.strip_prefix(heading)?.strip_prefix('\n'));
        let part: &'static str = part.unwrap_or_else(|| panic!("there is no recipe {heading}"));
        let mut blocks = Vec::new();
        let mut lines = part.lines();
        while let Some(line) = lines.next() {
            let Some((_, word)) = line
                .strip_prefix("```")
                .and_then(|line| line.split_once(' '))
            else {
                continue;
            };
            let block = lines.by_ref().take_while(|line| *line != "```");
            let block = block.flat_map(|line| [line, "\n"]).collect();
            blocks.push((word, block));
        }
        Self { heading, blocks }
    }

    /// The one block with this word.
    fn block(&self, word: &str) -> Option<&str> {
        let mut blocks = self.blocks.iter().filter(|(found, _)| *found == word);
        let block = blocks.next()?;
        assert!(
            blocks.next().is_none(),
            "{}: two blocks {word}",
            self.heading
        );
        Some(&block.1)
    }

    fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.blocks.iter().filter_map(|(word, block)| {
            let name = word.rsplit(' ').next()?.strip_prefix("file=")?;
            Some((name, block.as_str()))
        })
    }
}

/// What a recipe is run in: a directory with a context, a home, an engine and a port.
struct Surroundings {
    lab: Arc<Lab>,
    engine: Arc<Engine>,
    context: Context,
    port: u16,
    env: Vec<(&'static str, String)>,
}

impl Surroundings {
    fn new() -> Self {
        let lab = Lab::new();
        // `docker buildx` is found in the user's settings.
        let plugins = lab.path("docker/cli-plugins");
        fs::create_dir_all(&plugins).expect("create the folder of plugins");
        let buildx = concat!(env!("CARGO_MANIFEST_DIR"), "/.tools/bin/buildx");
        symlink(buildx, plugins.join("docker-buildx")).expect("link the plugin");
        // Nobody else takes it in the meantime, since it was given just now.
        let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        Self {
            context: Context::with_shell(&lab, "context", STAGES),
            engine: Engine::shared(),
            port: port.expect("a free port").port(),
            env: Vec::new(),
            lab,
        }
    }

    /// The text with the names and the port of this run in the places of those of the page.
    fn here(&self, text: &str) -> String {
        let port = self.port;
        let mut text = text
            .replace("127.0.0.1:3000", &format!("127.0.0.1:{port}"))
            .replace("127.0.0.1_3000", &format!("127.0.0.1_{port}"))
            // The disk of a machine that runs tests may be nearly full.
            .replace(DRIVER, &format!("{DRIVER} --driver-opt {ANY_DISK}"));
        for (published, image) in [
            ("ghcr.io/OWNER/buildkit-gha:1-serve", Image::Serve),
            ("ghcr.io/OWNER/buildkit-gha:1", Image::Default),
            ("moby/buildkit:v", Image::Base),
        ] {
            while let Some(start) = text.find(published) {
                let end = text[start..].find(char::is_whitespace);
                let end = end.map_or(text.len(), |length| start + length);
                text.replace_range(start..end, &self.engine.image(image));
            }
        }
        text
    }

    fn bash(&self, script: &str) -> Finished {
        let mut bash = command(&self.lab, "bash");
        let program = Path::new(PROGRAM).parent().expect("a program has a folder");
        let path = format!(
            "{}:{}:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            program.display(),
            version::tools()
        );
        bash.args(["-euo", "pipefail", "-c", script])
            .env("PATH", path);
        bash.env("DOCKER_HOST", self.engine.host());
        bash.env("DOCKER_CONFIG", self.lab.path("docker"));
        bash.env("BUILDX_CONFIG", self.lab.path("buildx"));
        bash.env("BUILDKIT_PROGRESS", "rawjson");
        bash.envs(self.env.iter().cloned());
        bash.current_dir(self.context.dir());
        // Both streams in one log, in their order.
        Process::start(&self.lab, "recipe", bash).finish(BUILD)
    }

    /// Runs a recipe, forgets what the builder has, and runs its last command again, whose steps must all come
    /// from the cache. The answer is what the last command did at first.
    fn follow(&self, recipe: &Recipe) -> Outcome {
        for (name, text) in recipe.files() {
            let path = self.context.dir().join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("create a folder");
            fs::write(path, self.here(text)).expect("write a file of the recipe");
        }
        let block = self.here(recipe.block("run").expect("a block to run"));
        let (before, last) = last_command(&block);
        let after = self.here(recipe.block("after").unwrap_or_default());
        let finished = self.bash(&format!(
            "ended() {{ code=$?; kill $(jobs -p) 2>/dev/null || true; wait || true; exit $code; }}\n\
             trap ended EXIT\n{before}\
             echo '{LAST}'\n{last}\
             docker buildx prune --all --force >/dev/null\n\
             echo '{AGAIN}'\n{last}{after}"
        ));
        let (written, again) = finished.stderr.split_once(AGAIN).unwrap_or_default();
        let (_, first) = written.split_once(LAST).unwrap_or_default();
        built(&finished, again).all_cached();
        built(&finished, first)
    }
}

/// What a part of the script has built. act puts the name of the job before each line.
fn built(script: &Finished, part: &str) -> Outcome {
    let rows = part
        .lines()
        .filter_map(|line| Some(&line[line.find('{')?..]));
    let outcome = Outcome::from_client(Finished {
        status: script.status,
        stdout: String::new(),
        stderr: rows.collect::<Vec<_>>().join("\n"),
    });
    let outcome = outcome.ok();
    let steps = outcome.dockerfile_steps().count();
    assert!(steps > 0, "nothing was built:\n{}", script.stderr);
    outcome
}

/// Builders that recipes have made go with the engine's other containers at the latest, but it is shared.
impl Drop for Surroundings {
    fn drop(&mut self) {
        let script = "for builder in \"$BUILDX_CONFIG\"/instances/*; do \
                      docker buildx rm --force \"${builder##*/}\"; done";
        let finished = self.bash(script);
        if !finished.status.success() {
            eprintln!("builders could not be removed: {}", finished.stderr);
        }
    }
}

/// A script without its last command, and that command: its lines but the last end with a backslash.
fn last_command(script: &str) -> (String, String) {
    let lines: Vec<_> = script.trim_end().lines().collect();
    let goes_on = |line: &&str| line.ends_with('\\');
    let above = lines[..lines.len() - 1]
        .iter()
        .rev()
        .take_while(|line| goes_on(line));
    let (before, last) = lines.split_at(lines.len() - 1 - above.count());
    let text = |lines: &[&str]| lines.iter().flat_map(|line| [*line, "\n"]).collect();
    (text(before), text(last))
}

/// A builder of the gateway on a service; builds find both as in a job of GitHub's.
#[test]
fn bake() {
    let site = Site::new();
    let mut here = Surroundings::new();
    let builder = Container::create_with(&here.lab, &here.engine, "recipe-bake", |create| {
        create.args(["--driver-opt", "network=host", "--driver-opt", ANY_DISK]);
    });
    here.env = vec![
        ("BUILDX_BUILDER", builder.builder().name().to_owned()),
        ("ACTIONS_RUNTIME_TOKEN", site.token.clone()),
        ("ACTIONS_RESULTS_URL", site.service.url()),
        ("ACTIONS_CACHE_SERVICE_V2", "true".to_owned()),
    ];
    here.follow(&Recipe::named("GitHub Actions: bake"))
        .none_cached();
}

#[test]
fn act() {
    let here = Surroundings::new();
    // act asks which images it should take unless this file is there.
    let settings = here.lab.path(".config/act");
    fs::create_dir_all(&settings).expect("create act's folder");
    fs::write(settings.join("actrc"), "").expect("write act's settings");
    here.bash("git init --quiet --initial-branch main && git -c user.name=t -c user.email=t@example.com commit --quiet --allow-empty -m t")
        .ok("git");
    here.follow(&Recipe::named("act")).none_cached();
}

#[test]
fn self_hosted() {
    let here = Surroundings::new();
    let recipe = Recipe::named("Self-hosted runners with `serve`");
    here.follow(&recipe).none_cached();
}

#[test]
fn laptop() {
    let here = Surroundings::new();
    here.follow(&Recipe::named("A laptop")).none_cached();
}

/// What stock has written is read by the gateway, and the other way round.
#[test]
fn moving_from_gha_and_back() {
    for heading in ["Moving from `type=gha`", "Going back"] {
        Surroundings::new()
            .follow(&Recipe::named(heading))
            .all_cached();
    }
}

#[test]
fn the_last_command_is_found() {
    let script = "a\nb \\\n  c\nd \\\n  e \\\n  f\n";
    let (before, last) = last_command(script);
    assert_eq!(
        (before.as_str(), last.as_str()),
        ("a\nb \\\n  c\n", "d \\\n  e \\\n  f\n")
    );
}
