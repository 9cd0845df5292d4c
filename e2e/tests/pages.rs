//! The shell blocks of the README and of the documents beside the recipes, run as they stand on the page (ADR 49).

use std::fs;

use super::image::rootless::kernel_allows_rootless;
use crate::harness::{
    Api, Certificate, Collector, Container, Finished, Section, Site, Workstation,
};

const README: &str = include_str!("../../README.md");
const ASYNC: &str = include_str!("../../docs/ASYNC.md");
const COMMANDS: &str = include_str!("../../docs/COMMANDS.md");
const GATEWAY: &str = include_str!("../../docs/GATEWAY.md");
const IMAGE: &str = include_str!("../../docs/IMAGE.md");
const SERVE: &str = include_str!("../../docs/SERVE.md");
const STATS: &str = include_str!("../../docs/STATS.md");
const TRACES: &str = include_str!("../../docs/TRACES.md");

/// A build of nothing but the cache.
const BUILD: &str = "docker buildx build .\n";

/// What waits for a builder on buildkitd's usual address.
const UNTIL_BUILDER: &str = "until buildctl debug workers >/dev/null; do sleep 0.1; done\n";

/// A build there with the cache CACHE, into which it exports.
const EXPORT: &str = "buildctl build --progress rawjson --frontend dockerfile.v0 --local context=. \
                      --local dockerfile=. --export-cache CACHE,mode=max --import-cache CACHE\n";

/// The end of an export by the gateway.
const EXPORTED: &str = r#""id":"cache written: "#;

/// What waits for a service with the certificate `cache.pem`.
const UNTIL_SERVED: &str =
    "until curl --silent --cacert cache.pem https://127.0.0.1:3000/healthz; do sleep 0.1; done\n";

/// A block whose last command goes on until the script ends.
fn in_background(block: &str) -> String {
    format!("{} &\n", block.trim_end())
}

/// What a script has printed; it must succeed.
fn succeeded(script: Finished) -> String {
    assert!(script.status.success(), "{}", script.stderr);
    script.stderr
}

/// A token as `buildkit-gha token` prints it: a JWT, and nothing else.
fn is_token(line: &str) -> bool {
    line.starts_with("ey") && line.split('.').count() == 3 && !line.contains(' ')
}

#[test]
fn one_option_makes_a_builder() {
    let workstation = Workstation::new();
    let create = workstation.adapt(Section::of(README, "One line").expect("run"));
    succeeded(workstation.bash(&format!("{create}{BUILD}")));
}

#[test]
fn a_laptop() {
    let workstation = Workstation::new();
    workstation
        .follow(&Section::of(README, "On a laptop"))
        .none_cached();
}

/// The README has the commands alone, `docs/SERVE.md` the certificate as well.
#[test]
fn a_service_of_ones_own() {
    let workstation = Workstation::new();
    let section = Section::of(SERVE, "An Actions cache of your own");
    let start = in_background(section.expect("stays"));
    let then = section.expect("run");
    let script = format!("{start}{UNTIL_SERVED}{then}docker buildx inspect --bootstrap\n");
    succeeded(workstation.bash(&workstation.adapt(&script)));

    let section = Section::of(README, "Self-hosted");
    let start = in_background(section.expect("stays"));
    let script = format!("{start}{UNTIL_SERVED}{}", section.expect("run"));
    let state = workstation.lab.path("state");
    let script = script
        .replace("/var/lib/buildkit-gha", &state.to_string_lossy())
        .replace("--listen :3000", "--listen 127.0.0.1:3000");
    let printed = succeeded(workstation.bash(&workstation.adapt(&script)));
    assert!(printed.lines().any(is_token), "{printed}");
}

#[test]
fn tokens_are_listed_revoked_and_made_for_administrators() {
    let workstation = Workstation::new();
    let service = Section::of(SERVE, "An Actions cache of your own");
    let start = in_background(service.expect("stays"));
    let section = Section::of(SERVE, "Tokens");
    let (run, after) = (section.expect("run"), section.expect("after"));
    let script = workstation.adapt(&format!("{start}{UNTIL_SERVED}{run}{after}"));
    let printed = succeeded(workstation.bash(&script));
    let mut lines = printed.lines();
    assert!(
        lines.any(|line| line.starts_with("revoked: laptop (")),
        "{printed}"
    );
}

#[test]
fn a_private_ca() {
    let workstation = Workstation::new();
    let section = Section::of(SERVE, "A private CA");
    workstation.write_files(&section);
    let certificate = Certificate::new(&workstation.lab, "DNS:cache.example");
    let settings = workstation.context.dir().join("buildkitd.toml");
    let text = fs::read_to_string(&settings).expect("the block is a file");
    let text = text.replace("/path/to/ca.pem", &certificate.path().to_string_lossy());
    fs::write(&settings, text).expect("write the settings");
    let listed = succeeded(workstation.bash(&workstation.adapt(section.expect("run"))));
    assert!(listed.lines().any(|line| line == "own.pem"), "{listed}");
}

/// An export that outlives its build, and what a builder says of its builds afterwards.
#[test]
fn a_builder_is_asked() {
    let site = Site::new();
    let mut workstation = Workstation::new();
    let builder = Container::create(&workstation.lab, &workstation.engine, "pages");
    workstation.env = builder.as_in_a_job(&site);
    let summary = workstation.lab.path("summary.md");
    let trace = workstation.context.dir().join("trace.json");
    workstation.env.push((
        "GITHUB_STEP_SUMMARY",
        summary.to_string_lossy().into_owned(),
    ));
    let pending = Section::of(ASYNC, "Exports that outlive the build: `async=true`");
    let ask = Section::of(STATS, "Asking a running builder: `stats`, `drain`, probes");
    let stats = Section::of(STATS, "`buildkit-gha stats`");
    let traces = Section::of(TRACES, "Look at one").blocks("run").concat();
    let script = [
        pending.expect("run"),
        ask.expect("run"),
        stats.expect("run"),
        "ref=$(docker buildx history ls --format '{{.Ref}}' | head -1)\n",
        &traces.replace(" REF ", " \"$ref\" "),
        pending.expect("after"),
    ];
    let script = script.concat().replace("_NAME0", "_pages0");
    let printed = succeeded(workstation.bash(&script));
    assert!(
        printed.contains("all cache exports are written"),
        "{printed}"
    );
    let summary = fs::read_to_string(summary).expect("a summary");
    assert!(summary.contains("app"), "{summary}");
    let trace = fs::read_to_string(trace).expect("a trace");
    assert!(trace.contains("buildkit-gha build"), "{trace}");
    assert!(!site.keys("index-app").is_empty(), "the export was written");
}

#[test]
fn spans_go_to_a_collector() {
    let workstation = Workstation::new();
    let mut collector = Collector::start(&workstation.lab);
    let section = Section::of(TRACES, "Send them to a collector");
    let create = workstation.adapt(section.expect("run"));
    let create = create.replace("collector.example:4317", &collector.grpc.to_string());
    succeeded(workstation.bash(&format!("{create}{BUILD}")));
    collector.until("spans of the gateway", |spans| {
        let mut names = spans.iter().map(|span| span.name.as_str());
        names.any(|name| name == "buildkit-gha build").then_some(())
    });
}

/// With its own buildkitd, before one that is there, and before one that trusts its certificate.
#[test]
fn the_gateway_without_its_image() {
    let site = Site::new();
    let mut workstation = Workstation::new();
    workstation.env = vec![("BUILDKIT_GHA_SPOOL_FREE", "0".to_owned())];
    let ways = Section::of(GATEWAY, "The gateway");
    let heard = Section::of(GATEWAY, "What build steps can hear");
    let [own, other] = ways.blocks("stays")[..] else {
        panic!("two ways to start it")
    };
    let other_daemon = "buildkitd --addr unix:///run/other.sock &\n";
    let probe = Section::of(STATS, "Routes");
    let scripts = [
        format!(
            "{}{UNTIL_BUILDER}{}",
            in_background(own),
            probe.expect("run")
        ),
        format!("{other_daemon}{}{UNTIL_BUILDER}", in_background(other)),
        format!("{}{UNTIL_BUILDER}", in_background(heard.expect("stays"))),
    ];
    for (way, script) in scripts.iter().enumerate() {
        let cache = site.gha(Api::V2, &format!(",scope=way-{way}"));
        let build = EXPORT.replace("CACHE", &cache);
        let log = succeeded(workstation.bash_with_own_state(&format!("{script}{build}")));
        assert!(log.contains(EXPORTED), "{log}");
    }
}

#[test]
fn the_image_without_root() {
    let workstation = Workstation::new();
    if !kernel_allows_rootless(&workstation.lab) {
        return;
    }
    let section = Section::of(IMAGE, "What the base gives");
    let run = workstation.adapt(section.expect("run"));
    let run = run
        .replace("docker run ", "docker run --network host ")
        .replace("--name builder", "--name pages-rootless")
        .replace("container://builder", "container://pages-rootless");
    let finished = workstation.bash(&format!(
        "remove() {{ docker rm --force --volumes pages-rootless >/dev/null; }}\ntrap remove EXIT\n\
         {run}docker buildx inspect --bootstrap\n{BUILD}"
    ));
    succeeded(finished);
}

#[test]
fn the_image_of_the_service() {
    let workstation = Workstation::new();
    let section = Section::of(IMAGE, "Serve");
    let run = workstation.adapt(section.expect("run"));
    let listen = format!(
        "--network host --env BUILDKIT_GHA_LISTEN=127.0.0.1:{}",
        workstation.port
    );
    let run = run
        .replace("--publish 3000:3000", &listen)
        .replace("--name cache", "--name pages-cache")
        .replace("cache:/data", "pages-cache:/data")
        .replace("exec cache", "exec pages-cache");
    let finished = workstation.bash(&format!(
        "remove() {{ docker rm --force --volumes pages-cache >/dev/null; docker volume rm pages-cache >/dev/null; }}\n\
         trap remove EXIT\n{run}"
    ));
    let printed = succeeded(finished);
    assert!(printed.lines().any(is_token), "{printed}");
}

#[test]
fn a_token_to_prune_with() {
    let workstation = Workstation::new();
    let section = Section::of(COMMANDS, "Which cache");
    // A service has made it.
    fs::create_dir(workstation.context.dir().join("cache")).expect("create a directory");
    let printed = succeeded(workstation.bash(section.expect("run")));
    assert!(printed.lines().any(is_token), "{printed}");
}
