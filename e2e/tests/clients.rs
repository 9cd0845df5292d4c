//! Other clients of BuildKit than buildctl and buildx: Go programs that call `Client.Solve`, and
//! LLB that comes from standard input.

use std::{fs::File, process::Command};

use crate::harness::{Api, BUILD, Builder, Daemon, Outcome, SOON, Site, command, run};

/// The client that `tools/setup.sh` builds from `e2e/client`.
const SOLVE: &str = "solve";

#[test]
fn a_frontend_of_control_solve() {
    export_and_import("frontend");
}

#[test]
fn a_definition_of_control_solve() {
    export_and_import("llb");
}

fn export_and_import(what: &str) {
    let site = Site::new();
    let daemon = Daemon::gateway(&site.lab, "gateway");
    let build = |export: &str, import: &str| {
        let mut solve = command(&site.lab, SOLVE);
        solve
            .arg(daemon.address())
            .arg(what)
            .arg(site.context.dir());
        solve.args([export, import]);
        outcome(&site, solve).ok().no_warnings()
    };
    build(&site.gha(Api::V2, ",mode=max"), "").none_cached();
    Builder::buildctl(&daemon).prune();
    build("", &site.gha(Api::V2, "")).all_cached();
}

#[test]
fn a_definition_that_buildctl_reads_from_standard_input() {
    let site = Site::new();
    let daemon = Daemon::gateway(&site.lab, "gateway");
    let mut marshal = command(&site.lab, SOLVE);
    marshal.args(["-", "marshal", &site.lab.path("llb").to_string_lossy()]);
    run(&site.lab, "marshal", marshal, SOON).ok("marshal");
    let build = |cache: &str, entry: &str| {
        let mut buildctl = command(&site.lab, "buildctl");
        buildctl.args(["--addr", &daemon.address(), "build", "--progress=rawjson"]);
        buildctl.arg(format!("--local=context={}", site.context.dir().display()));
        buildctl.args([cache, entry]);
        buildctl.stdin(File::open(site.lab.path("llb")).expect("the definition"));
        outcome(&site, buildctl).ok().no_warnings()
    };
    build("--export-cache", &site.gha(Api::V2, ",mode=max")).none_cached();
    Builder::buildctl(&daemon).prune();
    build("--import-cache", &site.gha(Api::V2, "")).all_cached();
}

fn outcome(site: &Site, client: Command) -> Outcome {
    Outcome::from_client(run(&site.lab, "build", client, BUILD))
}
