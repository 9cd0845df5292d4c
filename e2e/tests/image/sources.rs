//! What builds read besides a local context: repositories, and programs of another platform.

use std::fs;

use super::context;
use crate::harness::{
    Api, Build, Container, Context, Engine, Repository, SOON, Site, command, run, version,
};

/// `build-push-action` builds from the repository unless it is told of another context.
#[test]
fn a_repository_is_a_context_and_a_source() {
    let site = Site::new();
    let sources = Context::new(&site.lab, "sources", "FROM scratch\nCOPY greeting /\n");
    sources.write("greeting", "hello\n");
    let repository = Repository::of(&site.lab, sources.dir());
    let engine = Engine::shared();
    let container = Container::create(&site.lab, &engine, "repository");
    let tar = site.tar("context");
    let build = Build::of_repository(&repository.url()).to(site.gha(Api::V2, ",mode=max"));
    let outcome = container.builder().build(&build.tar(tar));
    outcome.ok().no_warnings();
    assert_eq!(extracted(&site, "context", "greeting"), "hello\n");

    let line = format!("ADD {} /sources", repository.url());
    let adding = Context::new(&site.lab, "adding", &format!("FROM scratch\n{line}\n"));
    let build = Build::new(&adding).tar(site.tar("source"));
    container.builder().build(&build).ok().no_warnings();
    assert_eq!(extracted(&site, "source", "sources/greeting"), "hello\n");
}

/// BuildKit runs them with the emulators of its own image: nothing is registered with the kernel.
#[test]
fn a_step_of_another_platform_is_emulated() {
    let site = Site::new();
    let emulated = "FROM scratch\nCOPY platform /platform\nRUN [\"/platform\"]\n";
    let emulated = Context::new(&site.lab, "emulated", emulated);
    fs::copy(version::PLATFORM, emulated.dir().join("platform")).expect("make tools builds it");
    let engine = Engine::shared();
    let container = Container::create(&site.lab, &engine, "emulated");
    let build = Build::new(&emulated).arg("--platform=linux/arm64");
    site.main_job(container.builder(), &build);
    assert_eq!(extracted(&site, "exported", "architecture"), "arm64");
    site.same_files("exported", "imported");
}

/// Compression by several cores, which BuildKit leaves to pigz where there is one, and xz, which it has no
/// code of its own for.
#[test]
fn archives_are_unpacked() {
    let site = Site::new();
    let archives = context(&site.lab, "archives", "ADD archive.tar.xz /unpacked");
    archives.write("greeting", "hello\n");
    let mut pack = command(&site.lab, "tar");
    pack.arg("--directory").arg(archives.dir());
    pack.args(["--create", "--xz", "--file"]);
    pack.arg(archives.dir().join("archive.tar.xz"))
        .arg("greeting");
    run(&site.lab, "tar", pack, SOON).ok("tar");
    let engine = Engine::shared();
    let container = Container::create(&site.lab, &engine, "archives");
    let build = Build::new(&archives).tar(site.tar("archives"));
    container.builder().build(&build).ok().no_warnings();
    assert_eq!(extracted(&site, "archives", "unpacked/greeting"), "hello\n");
}

/// A file of a result.
fn extracted(site: &Site, tar: &str, file: &str) -> String {
    let mut extract = command(&site.lab, "tar");
    extract.args(["--extract", "--to-stdout", "--file"]);
    extract.arg(site.tar(tar)).arg(file);
    run(&site.lab, "tar", extract, SOON).ok("tar")
}
