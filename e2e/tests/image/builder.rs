//! The builder that `docker buildx create --driver-opt image=…` makes.

use std::{fs, process::Command};

use super::context;
use crate::harness::{Build, Container, Context, Engine, Image, Running, SOON, Site, run};

/// `buildkitd-config-inline` of setup-buildx-action is a file that buildx is told of.
#[test]
fn a_configuration_reaches_buildkitd() {
    let site = Site::new();
    let config = site.lab.path("buildkitd.toml");
    let text = "[worker.oci.labels]\n  team = \"storage\"\n[worker.oci]\n  max-parallelism = 1\n";
    fs::write(&config, text).expect("write a file");
    let engine = Engine::shared();
    let container = created(&site, &engine, "configured", |create| {
        create.arg("--buildkitd-config").arg(&config);
    });
    let mut inspect = container.builder().buildx();
    inspect.args(["inspect", "configured"]);
    let said = run(&site.lab, "inspect", inspect, SOON).ok("buildx inspect");
    let line = said
        .lines()
        .find(|line| line.trim_start().starts_with("team:"));
    assert!(
        line.is_some_and(|line| line.ends_with(" storage")),
        "{said}"
    );
    site.main_job(container.builder(), &Build::new(&site.context));
}

/// What a builder may be asked for is said by its flags and by whoever builds, as with upstream's image.
#[test]
fn entitlements_are_asked_for_twice() {
    let site = Site::new();
    let engine = Engine::shared();
    let container = created(&site, &engine, "entitled", |create| {
        let flags = "--allow-insecure-entitlement=security.insecure --allow-insecure-entitlement=network.host";
        create.args(["--buildkitd-flags", flags]);
    });
    let builder = container.builder();
    for (entitlement, option) in [
        ("security.insecure", "security=insecure"),
        ("network.host", "network=host"),
    ] {
        let line = format!("RUN --{option} true");
        let asking = context(&site.lab, entitlement, &line);
        let refused = builder.build(&Build::new(&asking));
        assert!(!refused.success);
        let reason = format!("{entitlement} is not allowed");
        assert!(refused.output.contains(&reason), "{}", refused.output);
        let allowed = Build::new(&asking).arg(format!("--allow={entitlement}"));
        builder.build(&allowed).ok().no_warnings();
    }
}

/// The plugins of upstream's image give steps a network of their own, on which no import can be heard: it
/// goes over HTTP. The cache service is another container, whose network the builder shares.
#[test]
fn steps_on_a_bridge_have_a_network_of_their_own() {
    let site = Site::new();
    let engine = Engine::shared();
    let name = "e2e-bridge-cache";
    let options = ["--network", "none"];
    let service = Running::start(&site.lab, &engine, (Image::Serve, name), &options, &[]);
    service.answers();
    let token = service.exec(&["buildkit-gha", "token", "--scope", "refs/heads/main=rw"]);
    let container = Container::create_with(&site.lab, &engine, "bridged", |create| {
        create.args(["--driver-opt", &format!("network=container:{name}")]);
        create.args(["--buildkitd-flags", "--oci-worker-net=bridge"]);
    });
    let addresses = context(
        &site.lab,
        "addresses",
        "RUN ip -o -4 addr show > /addresses",
    );
    let cache = format!(
        "type=gha,url_v2=http://127.0.0.1:3000/,version=2,token={}",
        token.trim()
    );
    let builder = container.builder();
    let export = Build::new(&addresses).to(format!("{cache},mode=max"));
    builder
        .build(&export.tar(site.tar("exported")))
        .ok()
        .no_warnings();
    builder.prune();
    let import = Build::new(&addresses).from(cache);
    let outcome = builder.build(&import.tar(site.tar("imported")));
    outcome.ok().no_warnings().all_cached();
    site.same_files("exported", "imported");
    let addresses = own_addresses(&site);
    assert!(
        addresses.contains("10.10."),
        "not of the bridge: {addresses}"
    );
}

fn own_addresses(site: &Site) -> String {
    let mut extract = crate::harness::command(&site.lab, "tar");
    extract.args(["--extract", "--to-stdout", "--file"]);
    extract.arg(site.tar("exported")).arg("addresses");
    run(&site.lab, "tar", extract, SOON).ok("tar")
}

/// The script of upstream's image that starts a daemon for one build starts the gateway: nobody else knows
/// of a cache that only the environment names.
#[test]
fn a_daemon_for_one_build_is_the_gateway() {
    let site = Site::new();
    let engine = Engine::shared();
    let small = Context::new(&site.lab, "small", "FROM scratch\nCOPY greeting /\n");
    small.write("greeting", "hello\n");
    let volume = format!("{}:/context:ro", small.dir().display());
    let variables = [
        format!("BUILDKIT_GHA_URL={}", site.service.url()),
        format!("BUILDKIT_GHA_TOKEN={}", site.token),
        "BUILDKIT_GHA_DEFAULT_CACHE=type=gha,scope=daemonless,mode=max".to_owned(),
    ];
    let mut options = vec!["--privileged", "--network", "host", "--volume", &volume];
    options.extend(variables.iter().flat_map(|variable| ["--env", variable]));
    options.extend(["--entrypoint", "buildctl-daemonless.sh"]);
    let mut arguments = vec!["build", "--frontend", "dockerfile.v0"];
    arguments.extend([
        "--local",
        "context=/context",
        "--local",
        "dockerfile=/context",
    ]);
    let image = (Image::Default, "e2e-daemonless");
    let container = Running::start(&site.lab, &engine, image, &options, &arguments);
    let code = container.docker("wait", &[]).ok("docker wait");
    assert_eq!(code.trim(), "0", "{}", container.log());
    assert_eq!(
        site.keys("index-daemonless").len(),
        1,
        "{}",
        container.log()
    );
}

fn created(
    site: &Site,
    engine: &std::sync::Arc<Engine>,
    name: &str,
    edit: impl FnOnce(&mut Command),
) -> Container {
    Container::create_with(&site.lab, engine, name, |create| {
        create.args(["--driver-opt", "network=host"]);
        edit(create);
    })
}

/// Labels say what an image is and what it was made from; the licences of all that is in the program are
/// there, and the program is the static one.
#[test]
fn an_image_says_what_it_is() {
    let site = Site::new();
    let engine = Engine::shared();
    for (image, title) in [
        (Image::Default, "buildkit-gha"),
        (Image::Serve, "buildkit-gha serve"),
    ] {
        let name = engine.image(image);
        let mut docker = engine.docker(&site.lab);
        docker.args([
            "image",
            "inspect",
            "--format",
            "{{json .Config.Labels}}",
            &name,
        ]);
        let labels = run(&site.lab, "labels", docker, SOON).ok("docker image inspect");
        let labels: serde_json::Value = serde_json::from_str(&labels).expect("labels");
        let label = |name: &str| labels[format!("org.opencontainers.image.{name}")].as_str();
        assert_eq!(label("title"), Some(title));
        assert_eq!(label("licenses"), Some("Apache-2.0"));
        assert_eq!(label("version"), Some("e2e"));
    }
}
