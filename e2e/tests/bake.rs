//! `buildx bake`: several targets at once, each with a cache of its own.

use crate::harness::{Api, BUILD, Builder, Context, Daemon, Outcome, Site, run};

#[test]
fn two_targets_with_two_scopes() {
    let site = Site::new();
    let daemon = Daemon::gateway(&site.lab, "gateway");
    let builder = Builder::remote(&daemon, "bake");
    let contexts = ["one", "two"].map(|name| Context::multi_stage(&site.lab, name));
    let indexes = || site.keys("index-").len();

    bake(&site, &builder, &contexts, "exported", None)
        .ok()
        .no_warnings();
    assert_eq!(indexes(), contexts.len(), "one index for each scope");
    builder.prune();
    bake(&site, &builder, &contexts, "imported", None)
        .ok()
        .all_cached()
        .no_warnings();
    for name in ["one", "two"] {
        site.same(&format!("exported-{name}"), &format!("imported-{name}"));
    }
    assert_eq!(
        indexes(),
        contexts.len(),
        "nothing has changed, nothing is written"
    );
}

/// The last index counts, so the other target's is lost: people are told.
#[test]
fn two_targets_with_one_scope() {
    let site = Site::new();
    let daemon = Daemon::gateway(&site.lab, "gateway");
    let builder = Builder::remote(&daemon, "bake");
    let contexts = ["one", "two"].map(|name| Context::multi_stage(&site.lab, name));
    let shared = Some("shared");
    let outcome = bake(&site, &builder, &contexts, "exported", shared).ok();
    let replaces = |warning: &String| warning.contains("replaces the index");
    let warned = outcome.warnings.iter().any(replaces);
    // If both end in the same moment there is no more than a row.
    let row = daemon.process.log().contains("has reserved the index");
    assert!(warned || row, "{:?}", outcome.warnings);
}

/// Builds all targets, each with a scope of its own unless there is one for all.
fn bake(
    site: &Site,
    builder: &Builder,
    contexts: &[Context],
    result: &str,
    shared: Option<&str>,
) -> Outcome {
    let mut targets = serde_json::Map::new();
    for context in contexts {
        let name = context.name();
        let scope = shared.unwrap_or(name);
        let tar = site.tar(&format!("{result}-{name}"));
        let target = serde_json::json!({
            "context": context.dir(),
            "cache-from": [site.gha(Api::V2, &format!(",scope={scope}"))],
            "cache-to": [site.gha(Api::V2, &format!(",scope={scope},mode=max"))],
            "output": [format!("type=tar,dest={}", tar.display())],
        });
        targets.insert(name.to_owned(), target);
    }
    let names: Vec<_> = targets.keys().cloned().collect();
    let file = site.lab.path("docker-bake.json");
    let json = serde_json::json!({ "target": targets }).to_string();
    std::fs::write(&file, json).expect("write the bake file");

    let mut bake = builder.buildx();
    bake.args(["bake", "--progress=rawjson", "--allow=fs=*"]);
    bake.arg("--builder")
        .arg(builder.name())
        .arg("--file")
        .arg(file)
        .args(names);
    Outcome::from_client(run(&site.lab, "bake", bake, BUILD))
}
