//! `docs/COMMANDS.md`: each example is run on a cache that builds have written, and prints what the page shows.
//! Digests, sizes and times are of each run's own.

use std::{fs, os::unix::fs::symlink, path::Path};

use regex::Regex;

use crate::harness::{Api, BUILD, Build, Builder, Daemon, PROGRAM, Site, command, run};

/// What a block of examples begins and ends with.
const BEGIN: &str = "```console";
const END: &str = "```";

/// A comment of the page that says what happens to the cache before the next block.
const DAMAGE: &str = "<!-- test: damage -->";

struct Fixture {
    site: Site,
    gateway: Daemon,
}

impl Fixture {
    /// Two scopes in main, of which one was written twice.
    fn new() -> Self {
        let site = Site::new();
        let gateway = Daemon::gateway(&site.lab, "gateway");
        let bin = site.lab.path("bin");
        fs::create_dir(&bin).expect("create a directory");
        symlink(PROGRAM, bin.join("buildkit-gha")).expect("link the program");
        let fixture = Self { site, gateway };
        for (scope, message) in [("app", "one"), ("app", "two"), ("tools", "two")] {
            fixture.export(scope, message);
        }
        fixture
    }

    fn export(&self, scope: &str, message: &str) {
        let site = &self.site;
        site.context.write("message", message);
        let cache = site.gha(Api::V2, &format!(",mode=max,scope={scope}"));
        let build = Build::new(&site.context).from(cache.clone()).to(cache);
        Builder::buildctl(&self.gateway).build(&build).ok();
    }

    /// The largest layer is damaged, and another one is gone.
    fn damage(&self) {
        let site = &self.site;
        let mut blobs = site.service.entries(&site.token, "buildkit-blob-");
        blobs.sort_by_key(|blob| blob.size_in_bytes);
        site.service.damage(&blobs.pop().expect("layers"));
        site.service
            .delete(&site.token, &blobs.pop().expect("layers"));
    }

    /// What a shell shows of this line.
    fn run(&self, line: &str) -> String {
        let lab = &self.site.lab;
        let mut shell = command(lab, "sh");
        let path = format!("{}:/usr/bin:/bin", lab.path("bin").display());
        shell
            .env("PATH", path)
            .args(["-c", &format!("{line} 2>&1")]);
        shell.env("BUILDKIT_GHA_URL", self.site.service.url());
        shell.env("BUILDKIT_GHA_TOKEN", &self.site.token);
        shell.env("SOCKET", self.gateway.socket());
        run(lab, "example", shell, BUILD).stdout
    }

    /// The page with what its examples print now.
    fn print(&self, page: &str) -> String {
        let mut printed = String::new();
        let mut in_block = false;
        for line in page.lines() {
            match line {
                BEGIN => in_block = true,
                END => in_block = false,
                DAMAGE => self.damage(),
                _ => {}
            }
            let example = line.strip_prefix("$ ").filter(|_| in_block);
            if in_block && line != BEGIN && example.is_none() {
                continue;
            }
            printed.push_str(line);
            printed.push('\n');
            if let Some(example) = example {
                printed.push_str(&self.run(example));
            }
        }
        printed
    }
}

/// What is the same in every run.
fn steady(text: &str) -> String {
    let mut text = text.replace('├', "└").replace('│', " ");
    for (pattern, word) in [
        (r"sha256:[0-9a-f]{64}", "DIGEST"),
        (r"\b[0-9a-f]{12}\b", "DIGEST"),
        (
            r"\b(Less than a second|About an? \w+|less than a second|about an? \w+|\d+ (seconds?|minutes|hours))",
            "TIME",
        ),
        (r"\b\d+(\.\d+)?(B|kB|MB)\b", "SIZE"),
        (r"\b\d+ (ms|bytes)\b", "NUMBER"),
        (r"(unix:///|/)\S+\.sock\b", "SOCKET"),
        (r"http://127\.0\.0\.1:\d+", "URL"),
        (r"\b\d+ of the system are", "N of the system are"),
        (r"\b(never|TIME ago)\b", "WHEN"),
        // Columns are as wide as what stands in them.
        (r"[ ]{2,}", "  "),
    ] {
        let pattern = Regex::new(pattern).expect("a pattern");
        text = pattern.replace_all(&text, word).into_owned();
    }
    text
}

#[test]
fn examples_print_what_the_page_shows() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/COMMANDS.md")).expect("the page");
    let printed = Fixture::new().print(&page);
    let (shown, now) = (sorted_blocks(&page), sorted_blocks(&printed));
    if shown != now {
        let copy = root.join("target/tmp/COMMANDS.md");
        fs::write(&copy, printed).expect("write a copy");
        let mut lines = shown.iter().zip(&now);
        let first = lines.find(|(shown, now)| shown != now);
        panic!(
            "docs/COMMANDS.md shows what is not printed any more; what is printed now is in {}: {first:#?}",
            copy.display()
        );
    }
}

/// The lines, where those of a tree are in one order: that of layers differs from run to run.
fn sorted_blocks(page: &str) -> Vec<String> {
    let mut lines: Vec<String> = steady(page).lines().map(str::to_owned).collect();
    for block in lines.split_mut(|line| line.is_empty() || line.starts_with(BEGIN)) {
        if block
            .iter()
            .any(|line| line.contains("└─ ") || line.starts_with("missing"))
        {
            block.sort();
        }
    }
    lines
}
