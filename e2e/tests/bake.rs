//! `buildx bake`: several targets at once, each with a cache of its own.

use crate::harness::{Api, BUILD, Builder, Context, Daemon, Outcome, Site, run};

#[test]
fn two_targets_with_two_scopes() {
    let site = Site::new();
    let daemon = Daemon::gateway(&site.lab, "gateway");
    let builder = Builder::remote(&daemon, "bake");
    let contexts = ["one", "two"].map(|name| Context::multi_stage(&site.lab, name));
    let indexes = || site.keys("index-").len();

    bake(&site, &builder, &contexts, "exported")
        .ok()
        .no_warnings();
    assert_eq!(indexes(), contexts.len(), "one index for each scope");
    builder.prune();
    bake(&site, &builder, &contexts, "imported")
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

fn bake(site: &Site, builder: &Builder, contexts: &[Context], result: &str) -> Outcome {
    let mut targets = serde_json::Map::new();
    for context in contexts {
        let name = context.name();
        let tar = site.tar(&format!("{result}-{name}"));
        let target = serde_json::json!({
            "context": context.dir(),
            "cache-from": [site.gha(Api::V2, &format!(",scope={name}"))],
            "cache-to": [site.gha(Api::V2, &format!(",scope={name},mode=max"))],
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
    Outcome::of(run(&site.lab, "bake", bake, BUILD))
}
