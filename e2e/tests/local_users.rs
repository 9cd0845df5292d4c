//! Other users of the gateway's machine: they may reach its socket if they are in its group, and
//! nothing else of it.

use std::{
    fs,
    os::unix::{
        fs::{PermissionsExt as _, chown},
        process::ExitStatusExt as _,
    },
    path::Path,
    process::Command,
};

use rustix::{
    fs::{CWD, FileType, Mode, mknodat},
    process::Signal,
};

use crate::{
    attack::planted::{OTHER_USER, gateway_beside_a_pipe},
    harness::{Build, Builder, Context, Daemon, Lab, PROGRAM, Process, SOON, command, run},
};

/// The group that may use the gateway's socket.
const GROUP: u32 = 4242;

/// A program that another user runs.
fn as_user(lab: &Lab, group: u32, program: &str) -> Command {
    let mut command = command(lab, "setpriv");
    command.arg(format!("--reuid={OTHER_USER}"));
    command.arg(format!("--regid={group}"));
    command.args(["--clear-groups", "--", program]);
    command
}

fn mode(path: &Path) -> u32 {
    let metadata = fs::metadata(path).expect("it is there");
    metadata.permissions().mode() & 0o7777
}

/// A folder that everybody may write to, and a trap in it for the gateway that tidies up there.
#[test]
fn a_pipe_among_temporary_files_does_not_stop_the_start() {
    let lab = Lab::new();
    let (_, trap) = gateway_beside_a_pipe(&lab);
    assert!(trap.exists(), "it is not the gateway's to remove");
}

/// With its group on it, only the folder keeps buildkitd's inner socket from others.
#[test]
fn the_inner_socket_is_nobody_elses() {
    let lab = Lab::new();
    let gateway = Daemon::gateway_with(&lab, "gateway", |gateway| {
        gateway.arg(format!("--group={GROUP}"));
        // buildkitd reads the group from here, too.
        let config = lab.path("buildkitd.toml");
        fs::write(&config, format!("[grpc]\ngid = {GROUP}\n")).expect("write a file");
        gateway.arg("--config").arg(config);
    });
    let [commands] = &gateway.process.commands_of_children()[..] else {
        panic!("buildkitd is the only child")
    };
    let mut words = commands.split('\0');
    let inner = words.find_map(|word| word.strip_prefix("--addr=unix://"));
    let inner = Path::new(inner.expect("buildkitd has an address"));
    let mut connect = as_user(&lab, GROUP, "buildctl");
    let address = format!("unix://{}", inner.display());
    connect.args(["--timeout=1", "--addr", &address, "debug", "workers"]);
    let connected = run(&lab, "workers", connect, SOON);
    assert!(!connected.status.success(), "{}", connected.stdout);
    assert!(
        connected.stderr.contains("permission denied"),
        "{}",
        connected.stderr
    );
    assert_eq!(mode(inner.parent().expect("a directory")), 0o700);
}

#[test]
fn buildkitds_root_has_stocks_mode() {
    let lab = Lab::new();
    let stock = Daemon::stock(&lab, "stock");
    let gateway = Daemon::gateway(&lab, "gateway");
    assert_eq!(mode(gateway.root()), mode(stock.root()));
    assert_eq!(mode(&gateway.root().join("buildkit-gha")), 0o700);
}

/// A file in the place of a token's would hold builds up for ever if it were a pipe.
#[test]
fn a_pipe_in_a_token_files_place_costs_a_build_its_cache() {
    let lab = Lab::new();
    let pipe = lab.path("token");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::from_raw_mode(0o600), 0).expect("make a pipe");
    let gateway = Daemon::gateway_with(&lab, "gateway", |gateway| {
        gateway.env("BUILDKIT_GHA_URL", "http://127.0.0.1:9/");
        gateway.env("BUILDKIT_GHA_TOKEN_FILE", &pipe);
    });
    let context = Context::multi_stage(&lab, "context");
    let build = Build::new(&context).to("type=gha,url=http://127.0.0.1:9/,token=x");
    let warnings = Builder::buildctl(&gateway).build(&build).ok().warnings;
    let [warning] = &warnings[..] else {
        panic!("{warnings:?}")
    };
    assert!(warning.contains("not a regular file"), "{warning}");
}

/// A user who can crash the gateway, or read collected crash reports, gets no token.
#[test]
fn a_gateway_that_crashes_leaves_no_core() {
    let lab = Lab::new();
    let mut gateway = command(&lab, "prlimit");
    gateway.args(["--core=unlimited", "--", PROGRAM, "gateway"]);
    gateway.current_dir(lab.path(""));
    gateway.env("BUILDKIT_GHA_TOKEN", "a secret");
    let mut daemon = Daemon::start(&lab, "gateway", gateway);
    daemon.process.signal(Signal::ABORT);
    let ended = daemon.process.wait(SOON);
    assert_eq!(ended.signal(), Some(Signal::ABORT.as_raw()));
    assert!(!ended.core_dumped(), "the core has all tokens");
}

/// Programs of the same user: a debugger, or whatever else runs under it.
#[test]
fn a_users_other_programs_cannot_look_into_the_gateway() {
    let lab = Lab::new();
    fs::set_permissions(lab.path(""), fs::Permissions::from_mode(0o711)).expect("our directory");
    let own = lab.path("own");
    fs::create_dir(&own).expect("create a directory");
    chown(&own, Some(OTHER_USER), Some(OTHER_USER)).expect("root may give it away");
    let mut gateway = as_user(&lab, OTHER_USER, PROGRAM);
    // It listens without a buildkitd behind it, once it has looked for one.
    gateway
        .arg("gateway")
        .arg("--upstream=unix:///nonexistent.sock");
    let socket = own.join("gateway.sock");
    gateway.arg(format!("--addr=unix://{}", socket.display()));
    gateway.env("BUILDKIT_GHA_SPOOL_DIR", own.join("spool"));
    gateway.env("BUILDKIT_GHA_TOKEN", "a secret");
    let mut gateway = Process::start(&lab, "gateway", gateway);
    gateway.until("it listens", SOON, |_| socket.exists().then_some(()));
    for name in ["environ", "mem", "maps"] {
        let mut look = as_user(&lab, OTHER_USER, "head");
        look.args(["-c", "1"]).arg(gateway.proc(name));
        let looked = run(&lab, "head", look, SOON);
        let refused = looked.stderr.contains("Permission denied");
        assert!(refused, "{name}: {} {}", looked.stdout, looked.stderr);
    }
}

/// What the gateway does to itself is not done to buildkitd and its steps.
#[test]
fn steps_have_the_limits_that_they_have_with_stock() {
    const LIMITS: [&str; 3] = ["--core=7168:8192", "--nofile=1000:9000", "--"];
    let lab = Lab::new();
    let look = "RUN ulimit -Sn; ulimit -Hn; ulimit -Sc; ulimit -Hc; false";
    let context = Context::with_shell(&lab, "context", look);
    let seen = |daemon: &Daemon| {
        let mut build = command(&lab, "buildctl");
        build.args(["--addr", &daemon.address(), "build", "--progress=plain"]);
        build.args(["--frontend=dockerfile.v0", "--local"]);
        build.arg(format!("context={}", context.dir().display()));
        build.arg("--local");
        build.arg(format!("dockerfile={}", context.dir().display()));
        let told = run(&lab, "limits", build, SOON).stderr;
        let lines = told.lines().filter_map(|line| {
            let (_, said) = line.strip_prefix('#')?.split_once(' ')?;
            let (_, said) = said.split_once(' ')?;
            said.parse::<u64>().ok()
        });
        lines.collect::<Vec<_>>()
    };
    let started = |name: &str, program: &[&str]| {
        let mut daemon = command(&lab, "prlimit");
        daemon.args(LIMITS).args(program);
        Daemon::start(&lab, name, daemon)
    };
    let stock = seen(&started("stock", &["buildkitd"]));
    assert_eq!(stock.len(), 4, "{stock:?}");
    let ours = seen(&started("gateway", &[PROGRAM, "gateway"]));
    assert_eq!(ours, stock);
}
