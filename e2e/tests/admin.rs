//! The operator's socket: where it is, who may use it, and what it tells.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use crate::{
    attack::planted::OTHER_USER,
    harness::{Build, Builder, Daemon, Http, Lab, PROGRAM, SOON, Site, command, run},
};

fn mode(path: &Path) -> u32 {
    let metadata = fs::metadata(path).expect("it is there");
    metadata.permissions().mode() & 0o7777
}

#[test]
fn it_stands_beside_buildkitds_and_is_for_its_operator_alone() {
    let lab = Lab::new();
    let mut gateway = Daemon::gateway_with(&lab, "gateway", |gateway| {
        gateway.env_remove("BUILDKIT_GHA_ADMIN_SOCKET");
    });
    let socket = lab.path("buildkit-gha.sock");
    assert_eq!(mode(&socket), 0o600);
    let ask = |program: &str, words: &[&str]| {
        let mut ask = command(&lab, program);
        ask.args(words)
            .args(["stats", "--admin-socket"])
            .arg(&socket);
        run(&lab, "stats", ask, SOON)
    };
    let table = ask(PROGRAM, &[]).ok("stats");
    assert!(table.starts_with("BUILD "), "{table}");
    // Whatever the file's mode is, who connects is looked at.
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).expect("root may");
    fs::set_permissions(lab.path(""), fs::Permissions::from_mode(0o755)).expect("root may");
    let user = format!("--reuid={OTHER_USER}");
    let refused = ask("setpriv", &[&user, "--clear-groups", "--", PROGRAM]);
    assert_eq!(refused.status.code(), Some(1), "{}", refused.stdout);
    gateway.process.stop();
    assert!(!socket.exists());
    let absent = ask(PROGRAM, &[]);
    assert_eq!(absent.status.code(), Some(1));
    assert!(
        absent.stderr.contains("no gateway listens on"),
        "{}",
        absent.stderr
    );
}

#[test]
fn probes_and_metrics_are_to_be_had_over_tcp_and_nothing_else() {
    let lab = Lab::new();
    let mut gateway = Daemon::gateway_with(&lab, "gateway", |gateway| {
        gateway.args(["--metrics-listen", "127.0.0.1:0"]);
    });
    let address = gateway.process.until("it says where", SOON, |log| {
        let line = log
            .lines()
            .find(|line| line.contains("metrics and probes"))?;
        line.rsplit_once("address=")?.1.trim().parse().ok()
    });
    let tcp = Http::new(address);
    for path in ["/healthz", "/readyz", "/metrics"] {
        let over_tcp = tcp.text(path).expect("an answer");
        let over_socket = gateway.admin("GET", path).expect("an answer");
        assert_eq!(over_socket.status, 200, "{path}");
        assert!(!over_tcp.is_empty());
    }
    let metrics = tcp.text("/metrics").expect("an answer");
    assert!(
        metrics.contains("\nbuildkit_gha_builds_in_flight 0\n"),
        "{metrics}"
    );
    for (method, path) in [("GET", "/v1/stats"), ("POST", "/v1/drain")] {
        let over_tcp = tcp.send(method, path, b"").expect("an answer");
        assert_eq!(over_tcp.status, 404, "{path}");
        let over_socket = gateway.admin(method, path).expect("an answer");
        assert_eq!(over_socket.status, 200, "{path}");
    }
    let wrong = gateway
        .admin("POST", "/v1/drain?timeout=soon")
        .expect("an answer");
    assert_eq!(wrong.status, 400);
}

/// As a table for a terminal, as a document, and as the summary of a job.
#[test]
fn it_tells_what_the_cache_was_worth() {
    let site = Site::new();
    let gateway = Daemon::gateway(&site.lab, "gateway");
    let builder = Builder::buildctl(&gateway);
    site.main_job(&builder, &Build::new(&site.context));
    let stats = gateway.stats();
    let [second, first] = [&stats["builds"][0], &stats["builds"][1]];
    assert_eq!(
        (&first["outcome"], &first["steps"]["cached"]),
        (&"ok".into(), &0.into())
    );
    assert_eq!(first["exports"][0]["state"], "written");
    assert_eq!(second["imports"][0]["index"]["found"], true);
    assert_eq!(second["steps"]["cached"], second["steps"]["total"]);
    assert!(
        second["steps"]["time_saved_seconds"].as_f64() > Some(0.0),
        "{second}"
    );
    let reference = second["ref"].as_str().expect("a text");
    let table = gateway.ask(&["stats", "--last", "1"]).ok("stats");
    let row = table.lines().nth(1).expect("a row");
    assert!(
        row.starts_with(&reference[..12]) && row.contains("buildkit: from main"),
        "{table}"
    );
    assert_eq!(
        table.lines().filter(|line| line.contains(" ok ")).count(),
        1,
        "{table}"
    );
    let summary = gateway.ask(&["stats", "--format", "markdown"]).ok("stats");
    assert!(summary.starts_with("### Docker build cache: "), "{summary}");
    assert!(summary.contains(" steps cached, about "), "{summary}");
}

#[test]
fn a_buildkitd_that_does_not_answer_is_not_ready() {
    let lab = Lab::new();
    let behind = Daemon::stock(&lab, "behind");
    let front = Daemon::in_front_of(&behind, "front", |_| ());
    let ready = || front.admin("GET", "/readyz").expect("an answer");
    assert_eq!(ready().status, 200);
    drop(behind);
    let mut answer = ready();
    while answer.status == 200 {
        answer = ready();
    }
    let words = String::from_utf8_lossy(&answer.body).into_owned();
    assert!(words.starts_with("buildkitd does not answer: "), "{words}");
    assert_eq!(
        front.admin("GET", "/healthz").expect("an answer").status,
        200
    );
}

#[test]
fn without_it_builds_go_on() {
    let site = Site::new();
    let taken = site.lab.path("taken");
    fs::write(&taken, "mine").expect("write a file");
    let gateway = Daemon::gateway_with(&site.lab, "gateway", |gateway| {
        gateway.arg("--admin-socket").arg(&taken);
        gateway.args(["--metrics-listen", &site.service.address().to_string()]);
    });
    let log = gateway.process.log();
    assert_eq!(log.matches("there is no admin socket").count(), 1, "{log}");
    assert_eq!(
        log.matches("there are no metrics over TCP").count(),
        1,
        "{log}"
    );
    assert_eq!(fs::read(&taken).expect("it is there"), b"mine");
    let build = Build::new(&site.context);
    Builder::buildctl(&gateway).build(&build).ok().no_warnings();
}
