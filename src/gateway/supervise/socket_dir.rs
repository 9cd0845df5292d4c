//! The folder of buildkitd's inner socket: nobody else may enter, for whoever reached the socket
//! would pass the gateway by. A gateway that was killed could not remove its own; the next one
//! does.

use std::{
    fs::{self, File, Permissions},
    io,
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _},
        net::UnixStream,
    },
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::{
    fs::{CWD, FlockOperation, Mode, OFlags, flock, openat},
    process::geteuid,
};
use tempfile::TempDir;

/// What the names of these folders begin with.
const PREFIX: &str = "buildkit-gha-";

/// The socket in it.
const SOCKET: &str = "buildkitd.sock";

/// The folder in it with what buildkitd must trust: a folder of its own, for Go reads all files of one.
const CERTIFICATES: &str = "certs";

/// The file in that.
const CERTIFICATE: &str = "import-endpoint.pem";
/// Only its owner may enter. The socket's own mode is not enough: buildkitd gives it to the group that
/// may use the gateway's.
const MODE: u32 = 0o700;

/// A folder that has just been made may not be locked yet.
const MIN_AGE: Duration = Duration::from_mins(1);

/// A folder with mode 0700, locked as long as it is in use.
pub(super) struct SocketDir {
    dir: TempDir,
    _lock: File,
}

impl SocketDir {
    /// A new folder, in /run or where the system has temporary files.
    pub fn new() -> io::Result<Self> {
        // A user's gateway may not write to /run.
        Self::within(Path::new("/run")).or_else(|_| Self::within(&std::env::temp_dir()))
    }

    fn within(parent: &Path) -> io::Result<Self> {
        sweep(parent);
        let dir = tempfile::Builder::new()
            .prefix(PREFIX)
            .permissions(Permissions::from_mode(MODE))
            .tempdir_in(parent)?;
        let lock = open_own(dir.path())?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self { dir, _lock: lock })
    }

    /// Puts a certificate there; the answer is the folder that it is alone in.
    pub fn certify(&self, pem: &str) -> io::Result<PathBuf> {
        let folder = self.dir.path().join(CERTIFICATES);
        fs::create_dir(&folder)?;
        fs::write(folder.join(CERTIFICATE), pem)?;
        Ok(folder)
    }

    /// Where the socket belongs.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join(SOCKET)
    }
}

/// Removes the folders of gateways that are gone.
fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        let dir = entry.path();
        if let Err(error) = remove_if_abandoned(&dir) {
            tracing::debug!(dir = %dir.display(), %error, "a folder was not removed");
        }
    }
}

/// Opens a folder of ours. In a place where everybody may write there may be anything of that name: what is
/// no folder is not opened, since to open a pipe is to wait for whoever made it.
fn open_own(dir: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = File::from(openat(CWD, dir, flags, Mode::empty())?);
    if opened.metadata()?.uid() != geteuid().as_raw() {
        let another = "the folder is another user's";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, another));
    }
    Ok(opened)
}

fn remove_if_abandoned(dir: &Path) -> io::Result<()> {
    let opened = open_own(dir)?;
    let age = opened.metadata()?.modified()?.elapsed();
    let young = age.is_ok_and(|age| age < MIN_AGE);
    let socket = dir.join(SOCKET);
    if young
        || flock(&opened, FlockOperation::NonBlockingLockExclusive).is_err()
        || UnixStream::connect(&socket).is_ok()
    {
        return Ok(());
    }
    let certificates = dir.join(CERTIFICATES);
    ignore_missing(fs::remove_file(&socket))?;
    ignore_missing(fs::remove_file(certificates.join(CERTIFICATE)))?;
    ignore_missing(fs::remove_dir(certificates))?;
    // Fails if anything else is in it, which is not ours then.
    fs::remove_dir(dir)
}

fn ignore_missing(removed: io::Result<()>) -> io::Result<()> {
    removed.or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    })
}

#[cfg(test)]
mod tests {
    use std::{os::unix::net::UnixListener, time::SystemTime};

    use rustix::fs::{FileType, mknodat};

    use super::*;

    fn grow_old(dir: &Path) {
        let before = SystemTime::now() - 2 * MIN_AGE;
        File::open(dir).unwrap().set_modified(before).unwrap();
    }

    #[test]
    fn folders_of_gateways_that_are_gone_are_removed_and_no_others() {
        let parent = tempfile::tempdir().unwrap();
        let made = |name: &str| {
            let dir = parent.path().join(name);
            fs::create_dir(&dir).unwrap();
            dir
        };
        let in_use = SocketDir::within(parent.path()).unwrap();
        let (dead, ended, young) = (
            made("buildkit-gha-dead"),
            made("buildkit-gha-ended"),
            made("buildkit-gha-young"),
        );
        drop(UnixListener::bind(dead.join(SOCKET)).unwrap());
        fs::create_dir(dead.join(CERTIFICATES)).unwrap();
        fs::write(dead.join(CERTIFICATES).join(CERTIFICATE), "").unwrap();
        let (link, pipe) = (
            parent.path().join("buildkit-gha-link"),
            parent.path().join("buildkit-gha-pipe"),
        );
        std::os::unix::fs::symlink(&dead, &link).unwrap();
        let everybody = Mode::from_raw_mode(0o666);
        mknodat(CWD, &pipe, FileType::Fifo, everybody, 0).unwrap();
        let (answers, strange) = (made("buildkit-gha-answers"), made("another"));
        let _listener = UnixListener::bind(answers.join(SOCKET)).unwrap();
        for dir in [in_use.dir.path(), &dead, &ended, &answers, &strange] {
            grow_old(dir);
        }

        let next = SocketDir::within(parent.path()).unwrap();
        for dir in [
            in_use.dir.path(),
            next.dir.path(),
            &young,
            &answers,
            &strange,
            &pipe,
        ] {
            assert!(dir.exists(), "{}", dir.display());
        }
        assert!(link.is_symlink());
        let permissions = next.dir.path().metadata().unwrap().permissions();
        assert_eq!(permissions.mode() & 0o777, MODE);
        for dir in [dead, ended] {
            assert!(!dir.exists(), "{}", dir.display());
        }
    }
}
