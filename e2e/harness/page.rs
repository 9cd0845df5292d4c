//! Pages that users read, and a machine on which their shell blocks are run as they stand (ADR 49).

use std::{fs, net::TcpListener, os::unix::fs::symlink, path::Path, sync::Arc};

use super::{
    BUILD, Context, Engine, Finished, Image, Lab, Outcome, PROGRAM, Process, process::command,
    version,
};

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

/// What every builder here has: the engine has no network of its own for containers, and the disk of a machine
/// that runs tests may be nearly full.
const CREATE: &str = "docker buildx create ";
const CREATE_HERE: &str = "docker buildx create --driver-opt network=host \
                           --driver-opt env.BUILDKIT_GHA_SPOOL_FREE=0 ";

/// What stands between the parts of a script in what it writes.
const LAST: &str = "#last";
const AGAIN: &str = "#again";

/// What a script begins with whose programs in the background end with it.
const PROGRAMS_END_WITH_IT: &str = "ended() { code=$?; kill $(jobs -p) 2>/dev/null || true; \
                                    wait || true; exit $code; }\ntrap ended EXIT\n";

/// The blocks of one part of a page, each with the second word of its fence.
pub struct Section {
    heading: &'static str,
    blocks: Vec<(&'static str, String)>,
}

impl Section {
    /// The part of the page with this heading; what stands before the first heading of the second level has that
    /// of the page.
    pub fn of(page: &'static str, heading: &'static str) -> Self {
        let mut parts = page.trim_start_matches("# ").split("\n## ");
        let part = parts.find_map(|part| part.strip_prefix(heading)?.strip_prefix('\n'));
        let part: &'static str = part.unwrap_or_else(|| panic!("there is no part {heading}"));
        let mut blocks = Vec::new();
        let mut lines = part.lines();
        while let Some(line) = lines.next() {
            let Some(fence) = line.strip_prefix("```") else {
                continue;
            };
            let block = lines.by_ref().take_while(|line| *line != "```");
            let block = block.flat_map(|line| [line, "\n"]).collect();
            if let Some((_, word)) = fence.split_once(' ') {
                blocks.push((word, block));
            }
        }
        Self { heading, blocks }
    }

    /// All blocks with this word.
    pub fn blocks(&self, word: &str) -> Vec<&str> {
        let blocks = self.blocks.iter().filter(|(found, _)| *found == word);
        blocks.map(|(_, block)| block.as_str()).collect()
    }

    /// The one block with this word.
    pub fn block(&self, word: &str) -> Option<&str> {
        let blocks = self.blocks(word);
        assert!(blocks.len() < 2, "{}: blocks {word}", self.heading);
        blocks.first().copied()
    }

    /// The block with this word, which must be there.
    pub fn expect(&self, word: &str) -> &str {
        let block = self.block(word);
        block.unwrap_or_else(|| panic!("{}: no block {word}", self.heading))
    }

    fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.blocks.iter().filter_map(|(word, block)| {
            let name = word.rsplit(' ').next()?.strip_prefix("file=")?;
            Some((name, block.as_str()))
        })
    }
}

/// What a page is followed on: a directory with a context, a home, an engine and a port.
pub struct Workstation {
    pub lab: Arc<Lab>,
    pub engine: Arc<Engine>,
    pub context: Context,
    pub port: u16,
    pub env: Vec<(&'static str, String)>,
}

impl Workstation {
    pub fn new() -> Self {
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
    pub fn adapt(&self, text: &str) -> String {
        let port = self.port;
        let mut text = text
            .replace("127.0.0.1:3000", &format!("127.0.0.1:{port}"))
            .replace("127.0.0.1_3000", &format!("127.0.0.1_{port}"))
            .replace(CREATE, CREATE_HERE)
            // What is there already takes no options.
            .replace(
                &format!("{CREATE_HERE}--use --driver remote"),
                "docker buildx create --use --driver remote",
            );
        for (published, image) in [
            ("ghcr.io/OWNER/buildkit-gha:1-serve", Image::Serve),
            ("ghcr.io/OWNER/buildkit-gha:1-rootless", Image::Rootless),
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

    /// Runs a script; what it started in the background ends with it.
    pub fn bash(&self, script: &str) -> Finished {
        self.run(&["bash"], script)
    }

    /// The same where `/run` and `/var/lib` are empty and nobody else's.
    pub fn bash_with_own_state(&self, script: &str) -> Finished {
        let mounts = "mount --types tmpfs none /run; mount --types tmpfs none /var/lib\n";
        self.run(
            &["unshare", "--mount", "--propagation", "private", "bash"],
            &format!("{mounts}{script}"),
        )
    }

    fn run(&self, program: &[&str], script: &str) -> Finished {
        let mut bash = command(&self.lab, program[0]);
        bash.args(&program[1..]);
        let own = Path::new(PROGRAM).parent().expect("a program has a folder");
        let path = format!(
            "{}:{}:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            own.display(),
            version::tools()
        );
        bash.args(["-euo", "pipefail", "-c"])
            .arg(format!("{PROGRAMS_END_WITH_IT}{script}"))
            .env("PATH", path);
        bash.env("DOCKER_HOST", self.engine.host());
        bash.env("DOCKER_CONFIG", self.lab.path("docker"));
        bash.env("BUILDX_CONFIG", self.lab.path("buildx"));
        bash.env("BUILDKIT_PROGRESS", "rawjson");
        bash.envs(self.env.iter().cloned());
        bash.current_dir(self.context.dir());
        // Both streams in one log, in their order.
        Process::start(&self.lab, "page", bash).finish(BUILD)
    }

    /// Runs a recipe, forgets what the builder has, and runs its last command again, whose steps must all come
    /// from the cache. The answer is what the last command did at first.
    pub fn follow(&self, recipe: &Section) -> Outcome {
        self.write_files(recipe);
        let block = self.adapt(recipe.expect("run"));
        let (before, last) = last_command(&block);
        let after = self.adapt(recipe.block("after").unwrap_or_default());
        let finished = self.bash(&format!(
            "{before}\
             echo '{LAST}'\n{last}\
             docker buildx prune --all --force >/dev/null\n\
             echo '{AGAIN}'\n{last}{after}"
        ));
        let (written, again) = finished.stderr.split_once(AGAIN).unwrap_or_default();
        let (_, first) = written.split_once(LAST).unwrap_or_default();
        built(&finished, again).all_cached();
        built(&finished, first)
    }

    /// Writes the files that blocks of the section are.
    pub fn write_files(&self, section: &Section) {
        for (name, text) in section.files() {
            let path = self.context.dir().join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("create a folder");
            fs::write(path, self.adapt(text)).expect("write a file of the page");
        }
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

/// Builders that a page has made go with the engine's other containers at the latest, but it is shared.
impl Drop for Workstation {
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

#[test]
fn the_last_command_is_found() {
    let script = "a\nb \\\n  c\nd \\\n  e \\\n  f\n";
    let (before, last) = last_command(script);
    assert_eq!(
        (before.as_str(), last.as_str()),
        ("a\nb \\\n  c\n", "d \\\n  e \\\n  f\n")
    );
}
