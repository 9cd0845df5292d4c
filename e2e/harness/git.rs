//! A git repository that `git daemon` serves on a port of its own.

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::OwnedFd,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    thread,
};

use super::{Lab, SOON, command, run};

/// What it is called below the address.
const NAME: &str = "repository";

/// A repository with one commit. It is served until the test's process ends.
pub struct Repository {
    address: SocketAddr,
}

impl Repository {
    /// Commits all that is in a folder, and serves that.
    pub fn of(lab: &Arc<Lab>, folder: &Path) -> Self {
        let parent = lab.path("repositories");
        fs::create_dir(&parent).expect("create a directory");
        let target = parent.join(NAME);
        let git = |words: &[&str]| {
            let mut git = command(lab, "git");
            git.arg("--work-tree").arg(folder);
            git.arg("--git-dir").arg(&target).args(words);
            run(lab, "git", git, SOON).ok("git");
        };
        git(&["init", "--quiet", "--initial-branch=main"]);
        git(&["add", "--all"]);
        let author = ["-c", "user.name=test", "-c", "user.email=test@example.com"];
        git(&[&author[..], &["commit", "--quiet", "--message=One"]].concat());
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        // The directory goes with the test, not with this thread.
        let lab = Arc::downgrade(lab);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Some(lab) = lab.upgrade() else { return };
                let daemon = daemon(&lab, &parent, client);
                thread::spawn(move || run_daemon(daemon));
            }
        });
        Self { address }
    }

    /// Where clients find it.
    pub fn url(&self) -> String {
        format!("git://{}/{NAME}", self.address)
    }
}

/// `git daemon` for one connection, as inetd would start it: so the port can be any.
fn daemon(lab: &Lab, parent: &Path, client: TcpStream) -> Command {
    let mut daemon = command(lab, "git");
    daemon.args(["daemon", "--inetd", "--export-all"]);
    let base = format!("--base-path={}", parent.display());
    daemon.arg(base).arg(parent);
    let output = client.try_clone().expect("a socket");
    daemon.stdin(OwnedFd::from(client));
    daemon.stdout(OwnedFd::from(output)).stderr(Stdio::null());
    daemon
}

fn run_daemon(mut daemon: Command) {
    let status = daemon.status();
    if !status.as_ref().is_ok_and(std::process::ExitStatus::success) {
        eprintln!("git daemon: {status:?}");
    }
}
