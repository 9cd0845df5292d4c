//! The gateway as the process that stands where buildkitd stands.

use std::{path::Path, process::Command, sync::Arc};

use rustix::process::Signal;

use crate::harness::{BUILD, Build, Builder, Context, Daemon, Lab, SOON, command, run};

#[test]
fn unknown_flags_and_exit_codes_are_buildkitds() {
    let lab = Lab::new();
    let mut stock = command(&lab, "buildkitd");
    stock.arg("--no-such-flag");
    let stock = run(&lab, "stock", stock, SOON);
    let mut ours = gateway(&lab);
    ours.arg("--no-such-flag");
    let ours = run(&lab, "ours", ours, SOON);
    assert!(!stock.status.success());
    assert_eq!(ours.status.code(), stock.status.code());
    assert!(ours.stderr.contains("no-such-flag"), "{}", ours.stderr);
}

#[test]
fn an_address_that_it_cannot_take_is_refused() {
    let lab = Lab::new();
    let mut ours = gateway(&lab);
    ours.args(["--addr", "fd://3"]);
    let ours = run(&lab, "ours", ours, SOON);
    assert_eq!(ours.status.code(), Some(2));
    assert!(ours.stderr.contains("systemd"), "{}", ours.stderr);
}

/// buildkitd waits for builds that run, then ends with 1.
#[test]
fn a_signal_reaches_buildkitd_and_its_code_comes_back() {
    let lab = Lab::new();
    let mut daemon = Daemon::gateway(&lab, "gateway");
    daemon.process.signal(Signal::TERM);
    assert_eq!(daemon.process.wait(SOON).code(), Some(1));
    assert!(
        !daemon.socket().exists()
            || std::os::unix::net::UnixStream::connect(daemon.socket()).is_err()
    );
}

/// buildkitd locks its state: a second one on the same state starts only when the first is gone.
#[test]
fn a_gateway_that_is_killed_takes_its_buildkitd_along() {
    let lab = Lab::new();
    let context = Context::multi_stage(&lab, "context");
    for _ in 0..2 {
        let mut daemon = Daemon::gateway(&lab, "gateway");
        Builder::buildctl(&daemon).build(&Build::new(&context)).ok();
        daemon.process.signal(Signal::KILL);
        daemon.process.wait(SOON);
    }
}

#[test]
fn tcp_with_mutual_tls() {
    let lab = Lab::new();
    certificates(&lab);
    let path = |name: &str| lab.path(name).display().to_string();
    let mut gateway = Daemon::gateway_with(&lab, "gateway", |gateway| {
        gateway.args(["--addr", "tcp://127.0.0.1:0"]);
        for (flag, name) in [
            ("--tlscacert", "ca.pem"),
            ("--tlscert", "server.pem"),
            ("--tlskey", "server.key"),
        ] {
            gateway.arg(flag).arg(lab.path(name));
        }
    });
    let address = gateway
        .process
        .until("it says where it listens", BUILD, |log| {
            let port = log.rsplit("tcp://127.0.0.1:").next()?;
            let port: String = port.chars().take_while(char::is_ascii_digit).collect();
            (!port.is_empty()).then(|| format!("tcp://127.0.0.1:{port}"))
        });
    let workers = |certificate: &[(&str, &str)]| {
        let mut buildctl = command(&lab, "buildctl");
        buildctl.args(["--addr", &address, "--tlscacert", &path("ca.pem")]);
        for (flag, name) in certificate {
            buildctl.arg(flag).arg(lab.path(name));
        }
        buildctl.args(["debug", "workers"]);
        run(&lab, "workers", buildctl, SOON)
    };
    let known = [("--tlscert", "client.pem"), ("--tlskey", "client.key")];
    workers(&known).ok("buildctl with a certificate");
    assert!(!workers(&[]).status.success(), "no certificate, no entry");
}

fn gateway(lab: &Arc<Lab>) -> Command {
    let mut gateway = command(lab, env!("CARGO_BIN_EXE_buildkit-gha"));
    gateway.arg("gateway").arg("--root").arg(lab.path("root"));
    gateway
}

/// An authority, and certificates for a server on 127.0.0.1 and for a client.
fn certificates(lab: &Arc<Lab>) {
    let openssl = |args: &[&str], files: &[(&str, &Path)]| {
        let mut openssl = command(lab, "openssl");
        openssl.args(args);
        for (flag, file) in files {
            openssl.arg(flag).arg(file);
        }
        run(lab, "openssl", openssl, SOON).ok("openssl");
    };
    let new = [
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
    ];
    let subject = |name| ["-days", "1", "-subj", name];
    let (ca, ca_key) = (lab.path("ca.pem"), lab.path("ca.key"));
    let own: Vec<_> = new.into_iter().chain(subject("/CN=authority")).collect();
    openssl(&own, &[("-out", &ca), ("-keyout", &ca_key)]);
    for name in ["server", "client"] {
        let subject = format!("/CN={name}");
        let signed = [
            "-days",
            "1",
            "-subj",
            &subject,
            "-addext",
            "subjectAltName=IP:127.0.0.1",
        ];
        let end = ["-addext", "basicConstraints=critical,CA:FALSE"];
        let args: Vec<_> = new.into_iter().chain(signed).chain(end).collect();
        openssl(
            &args,
            &[
                ("-CA", &ca),
                ("-CAkey", &ca_key),
                ("-out", &lab.path(format!("{name}.pem"))),
                ("-keyout", &lab.path(format!("{name}.key"))),
            ],
        );
    }
}
