//! The documents tell the truth about what can be checked by reading: links lead somewhere, and messages are what the
//! program says.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use regex::Regex;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Files with this ending below a folder.
fn files(dir: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "node_modules" {
            files(&path, ending, found);
        } else if name.ends_with(ending) {
            found.push(path);
        }
    }
}

/// All pages that people read.
fn pages() -> Vec<PathBuf> {
    let mut pages = Vec::new();
    for folder in ["docs", "action", "e2e", "deploy"] {
        files(&root().join(folder), ".md", &mut pages);
    }
    for page in [
        "README.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "CHANGELOG.md",
    ] {
        pages.push(root().join(page));
    }
    pages
}

/// A page without its blocks of code.
fn prose(page: &str) -> String {
    static BLOCK: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"(?ms)^```.*?^```").unwrap());
    BLOCK.replace_all(page, "").into_owned()
}

/// The anchors of a page, as GitHub makes them of its headings.
fn anchors(page: &str) -> BTreeSet<String> {
    let headings = page.lines().filter(|line| line.starts_with('#'));
    let anchor = |line: &str| {
        let text = line.trim_start_matches('#').trim().to_lowercase();
        let kept = text
            .chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(anchor).collect()
}

/// Where a link of a page leads to, unless that is elsewhere on the web; what is wrong with it.
fn broken(page: &Path, link: &str) -> Option<String> {
    if link.contains("://") || link.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
    let target = match path {
        "" => page.to_owned(),
        path => page.parent().unwrap().join(path),
    };
    if !target.exists() {
        return Some(format!("{}: {link} leads nowhere", page.display()));
    }
    let is_page = target.extension().is_some_and(|ending| ending == "md");
    if anchor.is_empty() || !is_page {
        return None;
    }
    let known = anchors(&prose(&fs::read_to_string(&target).unwrap()));
    let missing = !known.contains(anchor);
    missing.then(|| format!("{}: {link} names no heading", page.display()))
}

#[test]
fn links_lead_somewhere() {
    let link = Regex::new(r"\]\(([^)\s]+)\)").unwrap();
    let mut wrong = Vec::new();
    let mut seen = 0;
    for page in pages() {
        let text = prose(&fs::read_to_string(&page).unwrap());
        for found in link.captures_iter(&text) {
            seen += 1;
            wrong.extend(broken(&page, &found[1]));
        }
    }
    assert!(seen > 20, "the pages have links: {seen}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A line of a page that says why nothing runs the commands of its part.
const NOT_RUN: &str = "Not run here: ";

/// What a shell block says of itself: it is run, it is run at the end, its last command stays.
const RUN: [&str; 3] = ["run", "after", "stays"];

/// What is wrong with the commands of one part of a page, given the sources of the tests that run them.
fn unrun(part: &str, tests: &str) -> Option<String> {
    static INDENTED: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(?m)^ {4}(buildkit-gha|docker|curl|openssl|make|cosign) .*").unwrap()
    });
    if let Some(command) = INDENTED.find(&prose(part)) {
        return Some(format!(
            "a block without a fence: {}",
            command.as_str().trim()
        ));
    }
    let fences = part.lines().filter_map(|line| line.strip_prefix("```sh"));
    let (run, others): (Vec<_>, Vec<_>) = fences.partition(|words| RUN.contains(&words.trim()));
    if !others.is_empty() && !part.contains(NOT_RUN) {
        return Some("a shell block that says neither how it is run nor why not".to_owned());
    }
    let heading = part.lines().next().unwrap().trim_start_matches("# ");
    let named = tests.contains(&format!("\"{heading}\""));
    (!run.is_empty() && !named).then(|| "no end-to-end test runs it".to_owned())
}

/// ADR 49.
#[test]
fn commands_are_run_or_say_that_they_are_not() {
    let tests = ["recipes.rs", "pages.rs"]
        .map(|name| fs::read_to_string(root().join("e2e/tests").join(name)).unwrap());
    let tests = tests.concat();
    let mut pages = vec![root().join("README.md"), root().join("SECURITY.md")];
    files(&root().join("docs"), ".md", &mut pages);
    let mut wrong = Vec::new();
    for page in pages
        .iter()
        .filter(|page| !page.parent().unwrap().ends_with("adr"))
    {
        let text = fs::read_to_string(page).unwrap();
        for part in text.split("\n## ") {
            let heading = part.lines().next().unwrap();
            let fault = unrun(part, &tests);
            wrong.extend(fault.map(|fault| format!("{}, {heading}: {fault}", page.display())));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(unrun("a\n\n```sh\nb\n```\n", &tests).is_some());
    assert!(unrun("a\n\n    docker run b\n", &tests).is_some());
    assert!(unrun("a\n\n```sh run\nb\n```\n", &tests).is_some());
}

/// The sources as the compiler reads their texts: a backslash at the end of a line goes on in the next.
fn sources() -> String {
    let mut paths = Vec::new();
    files(&root().join("src"), ".rs", &mut paths);
    let all: String = (paths.iter())
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    let joined = Regex::new(r"\\\n\s*").unwrap();
    joined.replace_all(&all, "").into_owned()
}

#[test]
fn messages_to_look_up_are_messages_of_the_program() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let table = readme.split("| message |").nth(1).unwrap();
    let rows = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    let sources = sources();
    let message = Regex::new(r"`([^`]+)`").unwrap();
    let mut seen = 0;
    for row in rows {
        let cell = row.split('|').nth(1).unwrap();
        for found in message.captures_iter(cell) {
            seen += 1;
            for fragment in found[1].split('…').map(str::trim).filter(|f| !f.is_empty()) {
                assert!(sources.contains(fragment), "nothing says {fragment:?}");
            }
        }
    }
    assert!(seen > 5, "the table has messages: {seen}");
}
