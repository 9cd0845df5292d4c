//! buildkitd as a child of the gateway.

use std::{
    ffi::OsString,
    io,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Method, Request, header};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    process::{self, Command},
    time::{Instant, MissedTickBehavior},
};

use super::{
    CONFIG_VARIABLE, SECRET_VARIABLES,
    transport::{frame, upstream},
};
use crate::net::Address;

mod socket_dir;
mod steps;

use socket_dir::SocketDir;
pub use steps::share_network;

/// How often a starting buildkitd is asked whether it answers.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// How often people are told that it is still starting: opening a large state takes minutes.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// How long a running buildkitd may take to answer before people are told: one that is busy
/// answers within a second.
const FIRST_ANSWER: Duration = Duration::from_secs(3);

/// A call that every buildkitd answers; whatever it says, it is there.
const FIRST_CALL: &str = "http://localhost/moby.buildkit.v1.Control/Info";

/// Where a Go program on Linux looks for certificates when `SSL_CERT_DIR` does not say, besides the
/// file of `SSL_CERT_FILE` or the system's bundle (Go's crypto/x509).
const CERTIFICATE_FOLDERS: &str = "/etc/ssl/certs:/etc/pki/tls/certs";

/// A gRPC message has at most this, and these answers are one message.
const LARGEST_ANSWER: usize = frame::PREFIX + frame::MAX_MESSAGE;

/// What a shell adds to the number of the signal that ended a process.
const SIGNALLED: i32 = 128;

/// A buildkitd that the gateway has started.
pub struct Child {
    process: process::Child,
    leash: ChildSignals,
    address: Address,
    _socket_dir: SocketDir,
}

/// What buildkitd must trust besides what it trusts anyway.
pub struct Trust {
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
    SocketDir(io::Error),
    /// Nobody would trust the import endpoint.
    #[error("cannot hand the certificate of the import endpoint to buildkitd: {0}")]
    Trust(io::Error),
    /// The program does not run.
    #[error("cannot start {program}: {error}; BUILDKIT_GHA_BUILDKITD names another buildkitd")]
    Spawn {
        /// The program.
        program: PathBuf,
        /// The system's words.
        error: io::Error,
    },
    /// It ended before it answered. What it said is on its standard error, which is ours.
    #[error("buildkitd ended before it answered ({0})")]
    Ended(ExitStatus),
    /// Its state is not known any more.
    #[error("cannot wait for buildkitd: {0}")]
    Wait(io::Error),
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
            leash: ChildSignals(pid.expect("a process that has not been waited for has an id")),
            address,
            _socket_dir: socket_dir,
        })
    }

    /// Waits until buildkitd answers a call.
    pub async fn answers(&mut self) -> Result<(), StartError> {
        let started = Instant::now();
        let mut tell = tokio::time::interval_at(started + TELL_EVERY, TELL_EVERY);
        tell.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = answered(&self.address) => return Ok(()),
                ended = self.process.wait() => {
                    return Err(ended.map_or_else(StartError::Wait, StartError::Ended));
                }
                _ = tell.tick() => {
                    let seconds = started.elapsed().as_secs();
                    tracing::info!(seconds, "waiting for buildkitd to answer");
                }
            }
        }
    }

    /// Where it answers.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// What passes signals on to it.
    pub fn signals(&self) -> ChildSignals {
        self.leash
    }

    /// Waits for its end; the answer is its exit code, as a shell would give it.
    pub async fn wait(&mut self) -> io::Result<u8> {
        self.process.wait().await.map(exit_code)
    }
}

/// Passes signals on to a child.
#[derive(Debug, Clone, Copy)]
pub struct ChildSignals(Pid);

impl ChildSignals {
    /// Passes a signal on. A child that has ended gets none.
    pub fn signal(self, signal: Signal) {
        if let Err(error) = kill_process(self.0, signal) {
            tracing::debug!(%error, ?signal, "buildkitd did not get a signal");
        }
    }
}

/// The exit code that stands for `status`.
pub fn exit_code(status: ExitStatus) -> u8 {
    let code = status
        .code()
        .or_else(|| Some(SIGNALLED + status.signal()?))
        .unwrap_or(1);
    code.try_into().unwrap_or(u8::MAX)
}

/// Says at once if the buildkitd that the gateway fronts does not answer: else only its first
/// client would find out. It may come later, so this is no error.
pub async fn warn_if_silent(address: &Address) {
    let error = match tokio::time::timeout(FIRST_ANSWER, call(address, FIRST_CALL)).await {
        Ok(Ok(_)) => return,
        Ok(Err(error)) => error.to_string(),
        Err(_) => {
            let seconds = FIRST_ANSWER.as_secs();
            format!("no answer from {address} within {seconds} s")
        }
    };
    tracing::warn!(
        "--upstream {address}: no buildkitd answers there ({error}); every call fails until one does"
    );
}

/// Returns when a buildkitd at `address` has answered a call.
async fn answered(address: &Address) {
    let mut every = tokio::time::interval(ASK_EVERY);
    loop {
        every.tick().await;
        match call(address, FIRST_CALL).await {
            Ok(_) => return,
            Err(error) => tracing::trace!(%error, "buildkitd does not answer yet"),
        }
    }
}

/// Makes a call that has no arguments; the answer is the body, with gRPC's framing.
async fn call(
    address: &Address,
    method: &str,
) -> Result<Bytes, Box<dyn std::error::Error + Send + Sync>> {
    let (requests, connection) = upstream::connect(address).await?;
    let call = async {
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = method.parse()?;
        let headers = request.headers_mut();
        let grpc = HeaderValue::from_static("application/grpc");
        headers.insert(header::CONTENT_TYPE, grpc);
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        let (response, mut body) = requests.ready().await?.send_request(request, false)?;
        // One empty gRPC message.
        body.send_data(Bytes::from_static(&[0; 5]), true)?;
        let mut answer = response.await?.into_body();
        let mut bytes = BytesMut::new();
        while let Some(piece) = answer.data().await {
            let piece = piece?;
            answer.flow_control().release_capacity(piece.len())?;
            bytes.extend_from_slice(&piece);
            if bytes.len() > LARGEST_ANSWER {
                return Err("the answer has no end".into());
            }
        }
        Ok(bytes.freeze())
    };
    tokio::select! {
        answer = call => answer,
        ended = connection => {
            ended?;
            Err("the connection ended without an answer".into())
        }
    }
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
        match child.answers().await {
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
