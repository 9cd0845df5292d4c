//! How a container of the image begins and ends.

use rustix::process::{Signal, kill_process};

use crate::{
    harness::{BUILD, Build, Context, Engine, Image, Lab, Running, Site, version},
    proxy::{Fault, Operation, Proxy, Rule, Subject, When},
};

/// Two layers that do not compress.
const LAYERS: &str = "
RUN head -c 3000000 /dev/urandom > /one
RUN head -c 3000000 /dev/urandom > /two
";

/// As it is started without buildx; health is asked for each second, not each ten.
const OPTIONS: [&str; 4] = ["--privileged", "--network", "host", "--health-interval=1s"];

/// `docker stop` sends SIGTERM: builds and exports under way are finished, nothing is lost.
#[test]
fn a_stop_finishes_an_export() {
    let site = Site::new();
    let engine = Engine::shared();
    let image = (Image::Default, "e2e-stopped");
    let container = Running::start(&site.lab, &engine, image, &OPTIONS, &[]);
    container.healthy();
    let proxy = Proxy::start(&site.service);
    let slow = Rule::new(Fault::Throttled(Some(6)), When::First(1)).on(Operation::Create);
    let slow = proxy.rule(slow.about(Subject::Layer));
    let (url, token) = (proxy.url(), &site.token);
    let cache = format!("type=gha,url_v2={url},version=2,token={token},mode=max,scope=stopped");
    let layers = Context::with_shell(&site.lab, "layers", LAYERS);
    let builder = container.builder();
    let mut client = builder.start(&Build::new(&layers).to(cache));
    client.until("an upload", BUILD, |_| (slow.hits() > 0).then_some(()));

    container.docker("stop", &["-t", "60"]).ok("docker stop");
    assert!(client.wait(BUILD).success(), "{}", client.log());
    assert_eq!(site.keys("index-stopped").len(), 1);
    let log = container.log();
    // What both programs say is in the log of the container, and no secret is.
    for words in ["waiting for 1 build, 1 cache export", "running server on"] {
        assert!(log.contains(words), "{words}:\n{log}");
    }
    assert!(!log.contains(token.as_str()), "{log}");
    let restarted = container.docker("start", &[]);
    restarted.ok("docker start");
    container.healthy();
}

/// buildkitd is started through upstream's script, in front of which the gateway ties its life to its own.
#[test]
fn a_gateway_that_is_killed_takes_its_buildkitd_along() {
    killed("e2e-killed", "exec sleep 1000000", version::entry_point());
}

/// Where the machine has cgroups of the second version only, upstream's script moves buildkitd into
/// namespaces of its own.
#[test]
fn so_does_one_whose_buildkitd_is_in_another_cgroup_namespace() {
    let only_second_version = "umount /sys/fs/cgroup/* 2>/dev/null; umount /sys/fs/cgroup; \
         mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec sleep 1000000";
    killed(
        "e2e-killed-apart",
        only_second_version,
        "creating cgroup namespace",
    );
}

/// Kills a gateway in a container that goes on without it. `shows` is what its log has, or the program that
/// the environment names.
fn killed(name: &str, main: &str, shows: &str) {
    let lab = Lab::new();
    let engine = Engine::shared();
    let options = ["--privileged", "--network", "none", "--entrypoint", "sh"];
    let image = (Image::Default, name);
    let container = Running::start(&lab, &engine, image, &options, &["-c", main]);
    container.until("ready", |container| container.process("sleep"));
    let start = "echo $BUILDKIT_GHA_BUILDKITD >/log; buildkit-gha gateway >>/log 2>&1 &";
    container.exec(&["sh", "-c", start]);
    let buildkitd = "/usr/bin/buildkitd";
    container.until("listening", |container| {
        let log = container.exec(&["cat", "/log"]);
        log.contains("listening address=").then_some(())
    });
    let log = container.exec(&["cat", "/log"]);
    assert!(log.contains(shows), "{shows}:\n{log}");
    assert!(
        container.process(buildkitd).is_some(),
        "{:?}",
        container.processes()
    );

    let gateway = container
        .process("buildkit-gha gateway")
        .expect("the gateway");
    kill_process(gateway, Signal::KILL).expect("root may");
    container.until("without its buildkitd", |container| {
        container.process(buildkitd).is_none().then_some(())
    });
}
