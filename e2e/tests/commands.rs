//! Commands on caches that real builds have written: what they show is so, and what a prune leaves is what
//! builds need.

use std::{ffi::OsStr, process::Command, time::Duration};

use serde_json::Value;

use crate::harness::{Api, BUILD, Build, Builder, Daemon, PROGRAM, Site, command, run};

/// What a command has said.
pub struct Said {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// A command on the cache of a site.
fn on(site: &Site, token: &str) -> Command {
    let mut program = command(&site.lab, PROGRAM);
    program.env("BUILDKIT_GHA_URL", site.service.url());
    program.env("BUILDKIT_GHA_TOKEN", token);
    program
}

fn finish(site: &Site, program: Command) -> Said {
    let finished = run(&site.lab, "command", program, BUILD);
    Said {
        code: finished.status.code(),
        stdout: finished.stdout,
        stderr: finished.stderr,
    }
}

fn said<S: AsRef<OsStr>>(site: &Site, args: impl IntoIterator<Item = S>) -> Said {
    let mut program = on(site, &site.token);
    program.args(args);
    finish(site, program)
}

fn json(site: &Site, args: &str) -> Value {
    let said = said(site, args.split(' ').chain(["-o", "json"]));
    assert_eq!(said.stderr, "", "{args}");
    serde_json::from_str(&said.stdout).expect("a document")
}

/// Builds once with this message, with a cache of this scope.
fn export(site: &Site, builder: &Builder, scope: &str, message: &str) {
    site.context.write("message", message);
    let cache = site.gha(Api::V2, &format!(",mode=max,scope={scope}"));
    let build = Build::new(&site.context).from(cache.clone()).to(cache);
    builder
        .build(&build.tar(site.tar(message)))
        .ok()
        .no_warnings();
}

/// A builder that has nothing imports all.
fn imports_all(site: &Site, builder: &Builder, scope: &str, message: &str) {
    builder.prune();
    let cache = site.gha(Api::V2, &format!(",scope={scope}"));
    let name = format!("{message}-{scope}-{}", builder.name().len());
    let build = Build::new(&site.context).from(cache).tar(site.tar(&name));
    builder.build(&build).ok().no_warnings().all_cached();
    site.same(message, &name);
}

#[test]
fn a_cache_is_shown_as_it_is() {
    let site = Site::new();
    let gateway = Daemon::gateway(&site.lab, "gateway");
    let builder = Builder::buildctl(&gateway);
    export(&site, &builder, "app", "one");
    let listed = json(&site, "ls");
    let index = &listed["indexes"][0];
    assert_eq!(
        (&index["scope"], &index["ref"]),
        (&"app".into(), &"refs/heads/main".into())
    );
    assert_eq!(index["layers_gone"], 0);
    let blobs = site.service.entries(&site.token, "buildkit-blob-");
    assert_eq!(index["layers"], blobs.len());
    let bytes: u64 = blobs.iter().map(|blob| blob.size_in_bytes).sum();
    assert_eq!(index["size"], bytes);
    let used = json(&site, "du");
    assert_eq!(used["scopes"][0]["size"], bytes);
    assert_eq!(used["total"]["reclaimable"], 0);
    let verified = json(&site, "verify app");
    assert_eq!(verified["intact"], blobs.len());
    assert_eq!(verified["bytes"], bytes);

    // Each layer of the index has a place in the tree, and its records.
    let inspected = json(&site, "inspect app");
    let index = &inspected["indexes"][0];
    let layers = index["layers"].as_array().expect("layers");
    assert!(layers.len() >= blobs.len());
    assert!(index["records"].as_array().expect("records").len() >= layers.len());
    let tree = said(&site, ["inspect", "app"]).stdout;
    for layer in layers {
        let digest = layer["digest"].as_str().expect("a digest");
        assert!(tree.contains(&digest["sha256:".len()..][..12]), "{tree}");
    }
    assert!(
        tree.contains("record ") && !tree.contains("   gone\n"),
        "{tree}"
    );
}

#[test]
fn what_is_gone_or_damaged_is_found() {
    let site = Site::new();
    let gateway = Daemon::gateway(&site.lab, "gateway");
    export(&site, &Builder::buildctl(&gateway), "app", "one");
    let mut blobs = site.service.entries(&site.token, "buildkit-blob-");
    blobs.sort_by_key(|blob| blob.size_in_bytes);
    let (large, other) = (blobs.pop().expect("layers"), blobs.pop().expect("layers"));
    site.service.damage(&large);
    site.service.delete(&site.token, &other);
    assert_eq!(json(&site, "ls")["indexes"][0]["layers_gone"], 1);
    let gone = said(&site, ["inspect", "app"]).stdout;
    assert!(gone.contains("1 gone"), "{gone}");
    let verified = said(&site, ["verify"]);
    assert_eq!(verified.code, Some(1), "{}", verified.stdout);
    for (problem, key) in [("missing", &other.key), ("damaged", &large.key)] {
        let is_told = |line: &str| line.starts_with(problem) && line.contains(key.as_str());
        assert!(verified.stdout.lines().any(is_told), "{}", verified.stdout);
    }
}

/// Two scopes that share layers; one of them was written again. What nothing names goes, and every builder,
/// stock too, still imports all that is alive.
#[test]
fn builds_import_all_that_a_prune_leaves() {
    let site = Site::new();
    let gateway = Daemon::gateway(&site.lab, "gateway");
    let stock = Daemon::stock(&site.lab, "stock");
    let (gateway, stock) = (Builder::buildctl(&gateway), Builder::buildctl(&stock));
    export(&site, &gateway, "app", "one");
    export(&site, &gateway, "app", "two");
    export(&site, &gateway, "other", "two");
    let before = site.keys("").len();

    // Within the grace all may be part of a build that is running.
    let young = said(&site, ["prune", "--force"]);
    assert!(
        young.stdout.contains("Total reclaimed space: 0B"),
        "{}",
        young.stdout
    );
    let shown = json(&site, "prune --dry-run --grace 0s");
    let planned = shown["total"]["entries"].as_u64().expect("a number");
    assert!(
        planned >= 2,
        "an index and the layer of its message: {shown}"
    );
    assert_eq!(site.keys("").len(), before, "a dry run removes nothing");
    let pruned = json(&site, "prune --force --grace 0s --keep-alive");
    let removed = pruned["removed"].as_array().expect("a list").len();
    assert_eq!(removed as u64, planned);
    assert_eq!(site.keys("").len(), before - removed);
    let kept = |pruned: &Value, what: &str| pruned["kept_alive"][what].as_u64();
    assert_eq!(
        kept(&pruned, "read"),
        Some(0),
        "all was just written: {pruned}"
    );
    let named = kept(&pruned, "fresh");
    assert!(named > Some(0), "{pruned}");

    // What nobody has read for days is read, once.
    site.service.make_older(Duration::from_hours(72));
    for [read, fresh] in [[named, Some(0)], [Some(0), named]] {
        let pruned = json(&site, "prune --force --grace 0s --keep-alive");
        assert_eq!(
            [kept(&pruned, "read"), kept(&pruned, "fresh")],
            [read, fresh],
            "{pruned}"
        );
    }

    for builder in [&gateway, &stock] {
        for scope in ["app", "other"] {
            imports_all(&site, builder, scope, "two");
        }
    }
    // The scope that goes takes nothing with it that the other one names.
    let one = said(&site, ["prune", "-af", "--grace=0s", "--filter=scope=app"]);
    assert_eq!(one.code, Some(0), "{}{}", one.stdout, one.stderr);
    assert_eq!(
        json(&site, "ls")["indexes"].as_array().map(Vec::len),
        Some(1)
    );
    for builder in [&gateway, &stock] {
        imports_all(&site, builder, "other", "two");
    }
    let all = said(&site, ["prune", "--all", "--force", "--grace", "0s"]);
    assert_eq!(all.code, Some(0), "{}{}", all.stdout, all.stderr);
    assert_eq!(site.keys(""), Vec::<String>::new());
}

/// A pull request whose index names layers of main.
#[test]
fn what_an_index_of_another_ref_names_stays() {
    let site = Site::new();
    let gateway = Daemon::gateway(&site.lab, "gateway");
    let builder = Builder::buildctl(&gateway);
    export(&site, &builder, "app", "one");
    let pull = site
        .service
        .token(&["refs/pull/7/merge=rwd", "refs/heads/main=r"]);
    let attributes = Api::V2.attributes(&site.service.url());
    let cache = format!("type=gha,{attributes},token={pull},mode=max,scope=app");
    let build = Build::new(&site.context)
        .from(cache.clone())
        .to(cache.clone());
    builder.build(&build.tar(site.tar("pull"))).ok();
    // A token of main alone does not see the index of the pull request, and keeps every layer.
    let layers = || site.keys("buildkit-blob-").len();
    let before = layers();
    let pruned = said(&site, ["prune", "--force", "--grace=0s"]);
    assert!(
        pruned.stdout.contains("Removed: 0 entries"),
        "{}",
        pruned.stdout
    );
    let shown = said(&site, ["du"]);
    assert!(
        shown.stderr.contains("every layer counts as in use"),
        "{}",
        shown.stderr
    );
    assert_eq!(layers(), before);
    // The index of main goes.
    let keeper = (site.service).token(&["refs/pull/7/merge=rwd", "refs/heads/main=rwd"]);
    let mut prune = on(&site, &keeper);
    prune.args(["prune", "-af", "--grace=0s", "--filter=ref=refs/heads/main"]);
    let pruned = finish(&site, prune);
    assert_eq!(pruned.code, Some(0), "{}{}", pruned.stdout, pruned.stderr);
    builder.prune();
    let build = Build::new(&site.context).from(cache).tar(site.tar("again"));
    builder.build(&build).ok().all_cached();
    site.same("pull", "again");
}

#[test]
fn the_doctor_sees_a_builder_and_its_cache() {
    let site = Site::new();
    let gateway = Daemon::gateway(&site.lab, "gateway");
    export(&site, &Builder::buildctl(&gateway), "app", "one");
    let address = gateway.address();
    let args = ["doctor", "--scope", "app", "--addr", &address];
    let well = said(&site, args);
    assert_eq!(well.code, Some(0), "{}{}", well.stdout, well.stderr);
    for part in [
        "answers at",
        "a lookup was answered",
        "as the service's",
        "has index-app-1-",
        "exports to refs/heads/main",
    ] {
        assert!(well.stdout.contains(part), "{part}: {}", well.stdout);
    }
    // The token of another service, and no buildkitd.
    let other = Site::new();
    let mut program = on(&site, &other.token);
    program.args(["doctor", "--addr", "unix:///does/not/exist.sock"]);
    let ill = finish(&site, program);
    assert_eq!(ill.code, Some(1), "{}", ill.stdout);
    for part in [
        "failed    buildkitd",
        "failed    service",
        "the service refuses the token",
    ] {
        assert!(ill.stdout.contains(part), "{part}: {}", ill.stdout);
    }
}
