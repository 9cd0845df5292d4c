//! The main job: export, throw the cache away, import. Every step is cached and the result has
//! the same bytes, which random content makes a proof.

use crate::harness::{Api, Build, Builder, Container, Context, Daemon, Engine, Outcome, Site};

/// Both protocols and both modes.
const CASES: [(Api, &str); 4] = [
    (Api::V1, "min"),
    (Api::V1, "max"),
    (Api::V2, "min"),
    (Api::V2, "max"),
];

/// What a build may read from the service when it needs no layer: indexes, and looks at the
/// layers to see that they are there. One layer of the context alone has 3 MB.
const NO_LAYER: u64 = 1_000_000;

#[test]
fn buildctl() {
    let site = Site::new();
    let daemon = Daemon::gateway(&site.lab, "gateway");
    with_one_daemon(&site, &Builder::buildctl(&daemon));
}

#[test]
fn buildx_remote() {
    let site = Site::new();
    let daemon = Daemon::gateway(&site.lab, "gateway");
    with_one_daemon(&site, &Builder::remote(&daemon, "remote"));
}

#[test]
fn buildx_docker_container() {
    let site = Site::new();
    let engine = Engine::shared();
    for case in CASES {
        let first = Container::create(&site.lab, &engine, &name("first", case));
        export(&site, first.builder(), case);
        drop(first);
        let second = Container::create(&site.lab, &engine, &name("second", case));
        import(&site, second.builder(), case);
    }
}

/// Only the first stage runs programs, and that on the platform of the machine.
const PLATFORMS: &str = r#"
FROM --platform=$BUILDPLATFORM scratch AS made
COPY busybox /bin/busybox
RUN ["/bin/busybox", "--install", "-s", "/bin"]
ARG TARGETARCH
RUN mkdir /out && head -c 100000 /dev/urandom > /out/$TARGETARCH
FROM scratch
COPY --from=made /out /
"#;

#[test]
fn several_platforms() {
    let site = Site::new();
    let daemon = Daemon::gateway(&site.lab, "gateway");
    let builder = Builder::remote(&daemon, "platforms");
    let context = Context::new(&site.lab, "platforms", PLATFORMS);
    let build = Build::new(&context).arg("--platform=linux/amd64,linux/arm64");
    site.main_job(&builder, &build);
    site.same_files("exported", "imported");
}

fn with_one_daemon(site: &Site, builder: &Builder) {
    for case in CASES {
        export(site, builder, case);
        builder.prune();
        needs_no_layer(site, builder, case);
        builder.prune();
        import(site, builder, case);
        builder.prune();
    }
}

fn export(site: &Site, builder: &Builder, case: (Api, &str)) {
    let scope = name("scope", case);
    let cache = site.gha(case.0, &format!(",scope={scope},mode={}", case.1));
    let build = Build::new(&site.context).to(cache);
    let tar = site.tar(&name("exported", case));
    builder
        .build(&build.tar(tar))
        .ok()
        .none_cached()
        .no_warnings();
}

fn import(site: &Site, builder: &Builder, case: (Api, &str)) {
    let tar = site.tar(&name("imported", case));
    let build = importing(site, case).tar(tar);
    judge(builder.build(&build), case);
    site.same(&name("exported", case), &name("imported", case));
}

/// A build without a result needs none of the layers.
fn needs_no_layer(site: &Site, builder: &Builder, case: (Api, &str)) {
    let before = site.service.sent_bytes();
    judge(builder.build(&importing(site, case)), case);
    let read = site.service.sent_bytes() - before;
    assert!(
        read < NO_LAYER,
        "{case:?}: {read} bytes were read for nothing"
    );
}

fn importing(site: &Site, case: (Api, &str)) -> Build {
    let scope = name("scope", case);
    Build::new(&site.context).from(site.gha(case.0, &format!(",scope={scope}")))
}

fn judge(outcome: Outcome, (_, mode): (Api, &str)) {
    let outcome = outcome.ok().no_warnings();
    match mode {
        "max" => outcome.all_cached(),
        _ => outcome.nothing_ran(),
    };
}

fn name(what: &str, (api, mode): (Api, &str)) -> String {
    format!("{what}-{api:?}-{mode}").to_lowercase()
}
