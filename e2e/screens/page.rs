//! The page that shows the builds.

use std::{fmt::Write as _, fs, path::Path};

use super::scene::{Scene, Stage};

/// Lines of one listing. Plain progress of many steps has more that say nothing of the cache.
const MAX_LINES: usize = 45;

/// What stands above the pictures, and is written by hand.
const HEAD: &str = include_str!("head.md");

/// What the two sides are called.
const SIDES: [(&str, bool); 2] = [("buildkit-gha", true), ("stock BuildKit", false)];

/// Makes all builds and writes the page.
pub fn write() {
    let stages = SIDES.map(|(side, ours)| (side, Stage::new(ours)));
    // Each kind of progress has all scenes in their order: the first one empties the cache.
    let terminals = Scene::ALL.map(|scene| terminals(scene, &stages));
    let plain = Scene::ALL.map(|scene| plain(scene, &stages));
    let mut page = HEAD.to_owned();
    for (scene, shown) in Scene::ALL.into_iter().zip(terminals.iter().zip(&plain)) {
        let (terminals, plain) = shown;
        let (title, words) = (scene.title(), scene.words());
        let _ = write!(page, "\n## {title}\n\n{words}\n{terminals}{plain}");
    }
    let (_, ours) = &stages[0];
    add_raw(&mut page, ours);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/BUILD-LOG.md");
    fs::write(path, page).expect("write the page");
}

/// The screens of both sides.
fn terminals(scene: Scene, stages: &[(&str, Stage)]) -> String {
    println!("{} in a terminal", scene.title());
    let mut shown = String::new();
    for (side, stage) in stages {
        add_terminal(&mut shown, scene, side, stage);
    }
    shown
}

/// What plain progress prints of the cache, on both sides.
fn plain(scene: Scene, stages: &[(&str, Stage)]) -> String {
    println!("{} in plain progress", scene.title());
    let mut shown = String::new();
    for (side, stage) in stages {
        let printed = stage.printed(scene, "plain");
        let lines = about_the_cache(&stage.scrub(&printed));
        let _ = write!(shown, "\n{side}, plain:\n\n{}", listing(&lines));
    }
    shown
}

fn add_terminal(page: &mut String, scene: Scene, side: &str, stage: &Stage) {
    let screens = stage.in_terminal(scene);
    let mut markers = scene.markers().iter();
    if let Some(middle) = markers.find_map(|marker| screens.middle(marker)) {
        let _ = write!(
            page,
            "\n{side}, in a terminal, on the way:\n\n{}",
            listing(&stage.scrub(middle))
        );
    }
    let end = if screens.success {
        "at the end"
    } else {
        "at the end, where it failed"
    };
    let last = stage.scrub(screens.last());
    let _ = write!(
        page,
        "\n{side}, in a terminal, {end}:\n\n{}",
        listing(&last)
    );
}

/// Raw progress of one more warm build: what a program reads.
fn add_raw(page: &mut String, stage: &Stage) {
    let printed = stage.scrub(&stage.printed(Scene::ColdExport, "rawjson"));
    let ours = printed.lines().filter(|line| {
        ["layers", "cache written", "cache unchanged"]
            .iter()
            .any(|text| line.contains(text))
            && line.contains("statuses")
    });
    let lines: Vec<_> = ours.collect();
    let some = lines.first().into_iter().chain(lines.last());
    let text: Vec<_> = some.map(|line| cut(line, 400)).collect();
    let _ = write!(
        page,
        "\n## Raw progress\n\n`--progress=rawjson` has the same rows: the first and the last of {} lines \
         about layers and the sum.\n\n{}",
        lines.len(),
        listing(&text.join("\n"))
    );
}

fn cut(line: &str, most: usize) -> String {
    match line.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

/// The blocks of plain progress that concern the cache, and what the client says at the end.
fn about_the_cache(printed: &str) -> String {
    let blocks = printed.split("\n\n").filter(|block| {
        let texts = [
            "GitHub Actions Cache",
            "cache manifest",
            "arning",
            "ERROR",
            "WARN",
        ];
        texts.iter().any(|text| block.contains(text))
    });
    blocks.map(str::trim_end).collect::<Vec<_>>().join("\n\n")
}

fn listing(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(str::trim_end).collect();
    let cut = lines.len().saturating_sub(MAX_LINES);
    let mut shown = lines[..lines.len() - cut].join("\n");
    if cut > 0 {
        let _ = write!(shown, "\n… and {cut} more lines");
    }
    format!("```text\n{shown}\n```\n")
}
