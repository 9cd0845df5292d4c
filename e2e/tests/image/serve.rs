//! The image of the Actions cache.

use super::context;
use crate::harness::{Build, Container, Engine, Image, Lab, Running};

/// Nobody's files but its user's, and nothing else in the image: the health check is the program's own.
#[test]
fn it_serves_builders_and_keeps_what_it_has() {
    let lab = Lab::new();
    let engine = Engine::shared();
    let name = "e2e-serve";
    let options = [
        "--network",
        "none",
        "--read-only",
        "--cap-drop",
        "ALL",
        "--health-interval=1s",
    ];
    let service = Running::start(&lab, &engine, (Image::Serve, name), &options, &[]);
    service.healthy();
    let token = service.exec(&["buildkit-gha", "token", "--scope", "refs/heads/main=rw"]);
    let url = "http://127.0.0.1:3000/";
    let container = Container::create_with(&lab, &engine, "served", |create| {
        create.args(["--driver-opt", &format!("network=container:{name}")]);
        create.args(["--driver-opt", &format!("env.BUILDKIT_GHA_URL={url}")]);
        create.args([
            "--driver-opt",
            &format!("env.BUILDKIT_GHA_TOKEN={}", token.trim()),
        ]);
    });
    // buildx leaves an entry out that has neither.
    let cache = format!("type=gha,url_v2={url},version=2,token=any");
    let steps = context(&lab, "served", "RUN head -c 100000 /dev/urandom > /random");
    let builder = container.builder();
    let export = Build::new(&steps).to(format!("{cache},mode=max"));
    builder.build(&export).ok().no_warnings();

    // The volume outlives a restart.
    service.docker("restart", &[]).ok("docker restart");
    service.healthy();
    drop(container);
    let again = Container::create_with(&lab, &engine, "served-again", |create| {
        create.args(["--driver-opt", &format!("network=container:{name}")]);
        create.args(["--driver-opt", &format!("env.BUILDKIT_GHA_URL={url}")]);
        create.args([
            "--driver-opt",
            &format!("env.BUILDKIT_GHA_TOKEN={}", token.trim()),
        ]);
    });
    let import = Build::new(&steps).from(cache);
    again
        .builder()
        .build(&import)
        .ok()
        .no_warnings()
        .all_cached();
}
