//! buildkitd, bare or behind the gateway: the same flags start either.

use std::{
    fs,
    net::SocketAddr,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, mpsc},
    thread,
};

use rustix::fs::{FlockOperation, flock};

use super::{
    Lab, SOON,
    process::{Process, command},
    service::PROGRAM,
};

/// A running daemon that builders connect to.
pub struct Daemon {
    /// The process that listens: buildkitd or the gateway.
    pub process: Process,
    name: String,
    root: PathBuf,
    socket: PathBuf,
}

/// The variable that says where a gateway's admin socket is.
pub(super) const ADMIN_VARIABLE: &str = "BUILDKIT_GHA_ADMIN_SOCKET";

/// Two gateways of one lab have one each.
fn admin_socket(lab: &Lab, name: &str) -> PathBuf {
    lab.path(format!("{name}.admin.sock"))
}

/// The tests do not depend on how full the disk of the machine is.
const ANY_DISK: [(&str, &str); 1] = [("BUILDKIT_GHA_SPOOL_FREE", "0")];

impl Daemon {
    /// Stock buildkitd.
    pub fn stock(lab: &Arc<Lab>, name: &str) -> Self {
        Self::stock_with(lab, name, |_| ())
    }

    /// Stock buildkitd, with more settings.
    pub fn stock_with(lab: &Arc<Lab>, name: &str, edit: impl FnOnce(&mut Command)) -> Self {
        let mut daemon = command(lab, "buildkitd");
        edit(&mut daemon);
        Self::start(lab, name, daemon)
    }

    /// buildkitd behind the gateway.
    pub fn gateway(lab: &Arc<Lab>, name: &str) -> Self {
        Self::gateway_with(lab, name, |_| ())
    }

    /// buildkitd behind the gateway, with more settings.
    pub fn gateway_with(lab: &Arc<Lab>, name: &str, edit: impl FnOnce(&mut Command)) -> Self {
        let mut gateway = command(lab, PROGRAM);
        gateway.arg("gateway").envs(ANY_DISK);
        gateway.env(ADMIN_VARIABLE, admin_socket(lab, name));
        edit(&mut gateway);
        Self::start(lab, name, gateway)
    }

    /// Stock buildkitd in a network namespace of its own: it reaches no loopback but its own.
    pub fn stock_apart(lab: &Arc<Lab>, name: &str) -> Self {
        let mut daemon = command(lab, "unshare");
        daemon.args(["--net", "--", "buildkitd"]);
        Self::start(lab, name, daemon)
    }

    /// The gateway in front of a daemon that runs already.
    pub fn in_front_of(daemon: &Self, name: &str, edit: impl FnOnce(&mut Command)) -> Self {
        let lab = daemon.lab();
        let mut gateway = command(lab, PROGRAM);
        gateway.args(["gateway", "--upstream", &daemon.address()]);
        gateway.envs(ANY_DISK);
        gateway.env(ADMIN_VARIABLE, admin_socket(lab, name));
        edit(&mut gateway);
        gateway.env("BUILDKIT_GHA_SPOOL_DIR", lab.path(format!("{name}.spool")));
        Self::listening(lab, name, daemon.root.clone(), gateway)
    }

    /// buildkitd, bare or behind the gateway, without any flag: all is said by a file, with
    /// `settings` at its end, that `BUILDKITD_CONFIG` names.
    pub fn by_variable(lab: &Arc<Lab>, name: &str, gateway: bool, settings: &str) -> Self {
        let root = lab.path(format!("{name}.root"));
        let socket = lab.path(format!("{name}.sock"));
        let otel = lab.path(format!("{name}.otel.sock"));
        let text = format!(
            "root = '{}'\n[grpc]\naddress = ['unix://{}']\n[otel]\nsocketPath = '{}'\n\
             [worker.oci]\nnetworkMode = 'host'\n[worker.containerd]\nenabled = false\n{settings}",
            root.display(),
            socket.display(),
            otel.display()
        );
        let file = lab.path(format!("{name}.toml"));
        fs::write(&file, text).expect("write the configuration");
        let mut daemon = if gateway {
            let mut gateway = command(lab, PROGRAM);
            gateway.arg("gateway").envs(ANY_DISK);
            gateway
        } else {
            command(lab, "buildkitd")
        };
        daemon.env("BUILDKITD_CONFIG", file);
        Self::accepting(lab, name, root, socket, daemon)
    }

    /// Whatever this command starts.
    pub fn start(lab: &Arc<Lab>, name: &str, mut daemon: Command) -> Self {
        let root = lab.path(format!("{name}.root"));
        daemon.arg("--root").arg(&root);
        // Its default stands in /run, where two daemons that start at once fight for it.
        daemon
            .arg("--otel-socket-path")
            .arg(lab.path(format!("{name}.otel.sock")));
        // Steps need no network of their own, and a network namespace for each costs time.
        daemon.args(["--oci-worker-net", "host", "--containerd-worker=false"]);
        Self::listening(lab, name, root, daemon)
    }

    fn listening(lab: &Arc<Lab>, name: &str, root: PathBuf, mut daemon: Command) -> Self {
        let socket = lab.path(format!("{name}.sock"));
        daemon
            .arg("--addr")
            .arg(format!("unix://{}", socket.display()));
        Self::accepting(lab, name, root, socket, daemon)
    }

    fn accepting(
        lab: &Arc<Lab>,
        name: &str,
        root: PathBuf,
        socket: PathBuf,
        daemon: Command,
    ) -> Self {
        let mut process = Process::start(lab, name, daemon);
        process.until("the socket accepts", SOON, |_| {
            UnixStream::connect(&socket).ok()
        });
        Self {
            process,
            name: name.to_owned(),
            root,
            socket,
        }
    }

    /// Where its admin socket is.
    pub fn admin_socket(&self) -> PathBuf {
        admin_socket(self.lab(), &self.name)
    }

    /// Where clients connect.
    pub fn address(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// Its socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Where a gateway with `BUILDKIT_GHA_METRICS_LISTEN` serves metrics.
    pub fn metrics_address(&mut self) -> SocketAddr {
        self.process
            .until("it says where metrics are", SOON, |log| {
                let line = log
                    .lines()
                    .find(|line| line.contains("metrics and probes"))?;
                let (_, address) = line.split_once("address=")?;
                address.split_whitespace().next()?.parse().ok()
            })
    }

    /// The daemon's state directory.
    pub fn root(&self) -> &PathBuf {
        &self.root
    }

    /// Waits until no buildkitd uses the state directory: the kernel ends that of a gateway that was
    /// killed, and a busy machine takes a moment for it.
    pub fn wait_for_root(&self) {
        let lock = self.root.join("buildkitd.lock");
        let (free, is_free) = mpsc::channel();
        // Its thread stays behind only where the test fails.
        thread::spawn(move || {
            let lock = fs::File::open(lock).expect("buildkitd has made it");
            let _ = free.send(flock(&lock, FlockOperation::LockExclusive));
        });
        let taken = is_free.recv_timeout(SOON);
        taken.expect("no buildkitd holds its lock").expect("a lock");
    }

    /// The directory that the daemon lives in.
    pub fn lab(&self) -> &Arc<Lab> {
        self.process.lab()
    }
}
