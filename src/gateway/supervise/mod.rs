//! buildkitd as a child of the gateway.

use std::{
    ffi::OsString,
    io,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    process::{self, Command},
    time::{Instant, MissedTickBehavior},
};

use super::config::{CONFIG_VARIABLE, SECRET_VARIABLES};
use crate::net::Address;

mod probe;
mod socket_dir;
mod worker_network;

pub(crate) use probe::{buildkitd_version, silence, warn_if_silent};
use socket_dir::SocketDir;
pub(crate) use worker_network::steps_share_network;

/// How often the log says that it is still starting: opening a large state takes minutes.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Where a Go program on Linux looks for certificates when `SSL_CERT_DIR` does not say, besides the
/// file of `SSL_CERT_FILE` or the system's bundle (Go's crypto/x509).
const CERTIFICATE_FOLDERS: &str = "/etc/ssl/certs:/etc/pki/tls/certs";

/// What a shell adds to the number of the signal that ended a process.
const SIGNALLED: i32 = 128;

/// A buildkitd that the gateway has started.
pub(crate) struct Child {
    process: process::Child,
    signals: ChildSignals,
    address: Address,
    _socket_dir: SocketDir,
}

/// What buildkitd must trust besides what it trusts anyway.
pub(crate) struct Trust {
    /// A certificate in PEM.
    pub certificate: String,
    /// The folders that buildkitd's environment names, if any.
    pub folders: Option<String>,
}

/// Why buildkitd could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No place for the inner socket.
    #[error("cannot make a folder for buildkitd's inner socket: {0}")]
    SocketDir(#[source] io::Error),
    /// Nobody would trust the import endpoint.
    #[error("cannot hand the certificate of the import endpoint to buildkitd: {0}")]
    Trust(#[source] io::Error),
    /// The program does not run.
    #[error("cannot start {program}: {error}; BUILDKIT_GHA_BUILDKITD names another buildkitd")]
    Spawn {
        program: PathBuf,
        #[source]
        error: io::Error,
    },
    /// It ended before it answered. What it said is on its standard error, which is ours.
    #[error("buildkitd ended before it answered ({0})")]
    Ended(ExitStatus),
    /// Its state is not known any more.
    #[error("cannot wait for buildkitd: {0}")]
    Wait(#[source] io::Error),
}

impl Child {
    /// Starts `program` with `args` on an inner socket. It is killed when the gateway dies: `via`
    /// is the command that makes sure of it.
    pub fn start(
        via: &[OsString],
        program: &Path,
        args: &[OsString],
        trust: Option<&Trust>,
    ) -> Result<Self, StartError> {
        let socket_dir = SocketDir::new().map_err(StartError::SocketDir)?;
        let address = Address::Unix(socket_dir.socket());
        let mut words = via.iter().map(OsString::as_os_str);
        let mut command = match words.next() {
            Some(first) => {
                let mut command = Command::new(first);
                command.args(words).arg(program);
                command
            }
            None => Command::new(program),
        };
        // Whatever it says reaches buildkitd as a flag.
        command.env_remove(CONFIG_VARIABLE);
        for name in SECRET_VARIABLES {
            command.env_remove(name);
        }
        if let Some(trust) = trust {
            let added = socket_dir.certify(&trust.certificate);
            let folders = trust.folders.as_deref().unwrap_or(CERTIFICATE_FOLDERS);
            let mut folders = OsString::from(folders);
            folders.push(":");
            folders.push(added.map_err(StartError::Trust)?);
            command.env("SSL_CERT_DIR", folders);
        }
        let process = command
            .args(args)
            .arg(format!("--addr={address}"))
            .spawn()
            .map_err(|error| StartError::Spawn {
                program: program.into(),
                error,
            })?;
        let pid = process
            .id()
            .and_then(|id| Pid::from_raw(id.try_into().ok()?));
        Ok(Self {
            process,
            signals: ChildSignals(pid.expect("a process that has not been waited for has an id")),
            address,
            _socket_dir: socket_dir,
        })
    }

    /// Waits until buildkitd answers a call.
    pub async fn wait_until_ready(&mut self) -> Result<(), StartError> {
        let started = Instant::now();
        let mut log = tokio::time::interval_at(started + LOG_INTERVAL, LOG_INTERVAL);
        log.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = probe::poll_until_answered(&self.address) => return Ok(()),
                ended = self.process.wait() => {
                    return Err(ended.map_or_else(StartError::Wait, StartError::Ended));
                }
                _ = log.tick() => {
                    let seconds = started.elapsed().as_secs();
                    tracing::info!(seconds, "waiting for buildkitd to answer");
                }
            }
        }
    }

    pub fn address(&self) -> &Address {
        &self.address
    }

    pub fn signals(&self) -> ChildSignals {
        self.signals
    }

    /// Waits for its end; the answer is its exit code, as a shell would give it.
    pub async fn wait(&mut self) -> io::Result<u8> {
        self.process.wait().await.map(exit_code)
    }
}

/// Passes signals on to a child.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChildSignals(Pid);

impl ChildSignals {
    /// Passes a signal on. A child that has ended gets none.
    pub fn signal(self, signal: Signal) {
        if let Err(error) = kill_process(self.0, signal) {
            tracing::debug!(%error, ?signal, "buildkitd did not get a signal");
        }
    }
}

/// The exit code that stands for `status`.
pub(super) fn exit_code(status: ExitStatus) -> u8 {
    let code = status
        .code()
        .or_else(|| Some(SIGNALLED + status.signal()?))
        .unwrap_or(1);
    code.try_into().unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Child {
        let args = ["-c".into(), script.into()];
        Child::start(&[], Path::new("sh"), &args, None).unwrap()
    }

    #[tokio::test]
    async fn a_child_that_ends_before_it_answers_is_an_error() {
        let mut child = shell("exit 7");
        match child.wait_until_ready().await {
            Err(StartError::Ended(status)) => assert_eq!(exit_code(status), 7),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_signal_reaches_the_child_and_shows_in_the_exit_code() {
        let mut child = shell("while :; do sleep 1; done");
        child.signals().signal(Signal::KILL);
        assert_eq!(child.wait().await.unwrap(), 128 + 9);
    }

    /// What buildkitd trusted before, it trusts still.
    #[tokio::test]
    async fn a_certificate_is_added_to_the_folders_that_count_anyway() {
        for (folders, expected) in [
            (None, CERTIFICATE_FOLDERS),
            (Some("/of/the/user:/another"), "/of/the/user:/another"),
        ] {
            let told = tempfile::tempdir().unwrap();
            let file = told.path().join("told");
            let script = format!(
                "(echo ${{SSL_CERT_DIR%:*}}; cat ${{SSL_CERT_DIR##*:}}/*) > {}",
                file.display()
            );
            let trust = Trust {
                certificate: "the certificate".to_owned(),
                folders: folders.map(str::to_owned),
            };
            let args = ["-c".into(), script.into()];
            let mut child = Child::start(&[], Path::new("sh"), &args, Some(&trust)).unwrap();
            assert_eq!(child.wait().await.unwrap(), 0);
            let told = std::fs::read_to_string(file).unwrap();
            assert_eq!(told, format!("{expected}\nthe certificate"));
        }
    }

    #[test]
    fn a_program_that_does_not_exist_is_named() {
        let Err(error) = Child::start(&[], Path::new("/no/buildkitd"), &[], None) else {
            panic!("there is no such program");
        };
        assert!(error.to_string().contains("/no/buildkitd"));
        assert!(error.to_string().contains("BUILDKIT_GHA_BUILDKITD"));
    }
}
