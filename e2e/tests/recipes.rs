//! The shell blocks of `docs/recipes.md`, run as they stand on the page (ADR 49). `deploy/check.sh` checks its
//! other blocks.

use std::fs;

use crate::harness::{Container, Section, Site, Workstation};

const RECIPES: &str = include_str!("../../docs/recipes.md");

/// A builder of the gateway on a service; builds find both as in a job of GitHub's.
#[test]
fn bake() {
    let site = Site::new();
    let mut workstation = Workstation::new();
    let builder = Container::create(&workstation.lab, &workstation.engine, "recipe-bake");
    workstation.env = builder.as_in_a_job(&site);
    workstation
        .follow(&Section::of(RECIPES, "GitHub Actions: bake"))
        .none_cached();
}

#[test]
fn act() {
    let workstation = Workstation::new();
    // act asks which images it should take unless this file is there.
    let settings = workstation.lab.path(".config/act");
    fs::create_dir_all(&settings).expect("create act's folder");
    fs::write(settings.join("actrc"), "").expect("write act's settings");
    workstation.bash("git init --quiet --initial-branch main && git -c user.name=t -c user.email=t@example.com commit --quiet --allow-empty -m t")
        .ok("git");
    workstation
        .follow(&Section::of(RECIPES, "act"))
        .none_cached();
}

#[test]
fn self_hosted() {
    let workstation = Workstation::new();
    let recipe = Section::of(RECIPES, "Self-hosted runners with `serve`");
    workstation.follow(&recipe).none_cached();
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
