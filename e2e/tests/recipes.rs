//! The shell blocks of `docs/recipes.md`, run as they stand on the page (ADR 49). `deploy/check.sh` checks its
//! other blocks.

use std::fs;

use crate::harness::{Container, Section, Site, Workstation, last_command};

const RECIPES: &str = include_str!("../../docs/recipes.md");

/// A builder of the gateway on a service; builds find both as in a job of GitHub's.
#[test]
fn bake() {
    let site = Site::new();
    let mut here = Workstation::new();
    let builder = Container::create(&here.lab, &here.engine, "recipe-bake");
    here.env = builder.as_in_a_job(&site);
    here.follow(&Section::of(RECIPES, "GitHub Actions: bake"))
        .none_cached();
}

#[test]
fn act() {
    let here = Workstation::new();
    // act asks which images it should take unless this file is there.
    let settings = here.lab.path(".config/act");
    fs::create_dir_all(&settings).expect("create act's folder");
    fs::write(settings.join("actrc"), "").expect("write act's settings");
    here.bash("git init --quiet --initial-branch main && git -c user.name=t -c user.email=t@example.com commit --quiet --allow-empty -m t")
        .ok("git");
    here.follow(&Section::of(RECIPES, "act")).none_cached();
}

#[test]
fn self_hosted() {
    let here = Workstation::new();
    let recipe = Section::of(RECIPES, "Self-hosted runners with `serve`");
    here.follow(&recipe).none_cached();
}

/// What stock has written is read by the gateway, and the other way round.
#[test]
fn moving_from_gha_and_back() {
    for section in [
        Section::of(RECIPES, "Moving from `type=gha`"),
        Section::of(RECIPES, "Going back"),
    ] {
        Workstation::new().follow(&section).all_cached();
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
