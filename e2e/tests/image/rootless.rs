//! The image that needs no root.

use std::{fs, os::unix::fs::MetadataExt as _};

use crate::harness::{Build, Engine, Image, Lab, Running, SOON, Site, command, run};

/// As BuildKit's documentation starts its rootless image.
const OPTIONS: [&str; 9] = [
    "--security-opt",
    "seccomp=unconfined",
    "--security-opt",
    "apparmor=unconfined",
    "--security-opt",
    "systempaths=unconfined",
    "--network",
    "host",
    "--health-interval=1s",
];

/// The user of upstream's image.
const USER: u32 = 1000;

/// Nothing of it is root on the machine, and it exports, imports and stops as the other image does.
#[test]
fn it_builds_without_root() {
    let site = Site::new();
    if !kernel_allows_rootless(&site.lab) {
        return;
    }
    let engine = Engine::shared();
    let image = (Image::Rootless, "e2e-rootless");
    let container = Running::start(&site.lab, &engine, image, &OPTIONS, &[]);
    container.healthy();
    for (pid, program) in container.processes() {
        let owner = fs::metadata(format!("/proc/{}", pid.as_raw_nonzero()));
        // One that has ended meanwhile is nobody's.
        let owner = owner.map(|process| process.uid());
        assert!(owner.is_ok_and(|owner| owner == USER), "{program}");
    }
    site.main_job(&container.builder(), &Build::new(&site.context));
    site.same("exported", "imported");

    container.docker("stop", &["-t", "60"]).ok("docker stop");
    let code = container.docker("wait", &[]).ok("docker wait");
    // As buildkitd ends when it is asked to; a container that is killed has 137.
    assert_eq!(code.trim(), "1", "{}", container.log());
}

/// Whether users of this machine may make user namespaces, in which rootless builders live. That is a setting of the
/// kernel, which no test may change.
pub fn kernel_allows_rootless(lab: &std::sync::Arc<Lab>) -> bool {
    let mut probe = command(lab, "setpriv");
    let user = USER.to_string();
    probe.args(["--reuid", &user, "--regid", &user, "--clear-groups", "--"]);
    probe.args(["unshare", "--user", "--map-root-user", "true"]);
    let probe = run(lab, "user-namespaces", probe, SOON);
    if !probe.status.success() {
        let reason = probe.stderr;
        eprintln!("rootless builders cannot run on this kernel: {reason}");
    }
    probe.status.success()
}
