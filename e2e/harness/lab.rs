//! A directory for one test, the logs in it, and the clean-up.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

/// How much of each log a failed test shows.
const TAIL: usize = 6000;

/// How many programs of one name a test may start.
const MAX_LOGS: usize = 1000;

/// A directory for one test. Whatever a test starts holds an `Arc` of it, so that it is the last
/// thing to go.
pub struct Lab {
    dir: tempfile::TempDir,
}

impl Lab {
    /// Makes the directory; fails when the machine cannot run the suite.
    pub fn new() -> Arc<Self> {
        Self::set_up(Self::directory())
    }

    fn directory() -> tempfile::TempDir {
        assert!(
            rustix::process::geteuid().is_root(),
            "the end-to-end tests need root: they run buildkitd and dockerd"
        );
        // Short, since paths of unix sockets end at 107 characters.
        let dir = tempfile::Builder::new().prefix("gha-e2e-").tempdir();
        dir.expect("a temporary directory")
    }

    /// A directory of this size in memory, for tests with more files than some disks delete in
    /// minutes.
    pub fn in_memory(size: &str) -> Arc<Self> {
        let dir = Self::directory();
        mount_tmpfs(dir.path(), size);
        Self::set_up(dir)
    }

    fn set_up(dir: tempfile::TempDir) -> Arc<Self> {
        let lab = Self { dir };
        fs::create_dir(lab.path("logs")).expect("create the log directory");
        Arc::new(lab)
    }

    /// A path in the directory.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A new log file. Names may repeat; files do not.
    pub fn log(&self, name: &str) -> PathBuf {
        (0..MAX_LOGS)
            .map(|n| self.path(format!("logs/{name}-{n}.log")))
            .find(|path| fs::File::create_new(path).is_ok())
            .expect("the log directory takes another file")
    }

    /// All logs so far.
    pub fn logs(&self) -> Vec<PathBuf> {
        let mut logs: Vec<_> = fs::read_dir(self.path("logs"))
            .expect("read the log directory")
            .map(|entry| entry.expect("read the log directory").path())
            .collect();
        logs.sort();
        logs
    }

    fn show_logs(&self) {
        for path in self.logs() {
            let text = fs::read(&path).unwrap_or_default();
            let tail = String::from_utf8_lossy(&text[text.len().saturating_sub(TAIL)..]);
            eprintln!("----- {}\n{tail}", path.display());
        }
    }

    /// A daemon that was killed leaves mounts behind, and they keep the directory from going.
    fn unmount(&self) {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let ours = mounts
            .lines()
            .filter_map(|line| line.split(' ').nth(1))
            .filter(|target| Path::new(target).starts_with(self.dir.path()));
        for target in ours.collect::<Vec<_>>().into_iter().rev() {
            let _ = Command::new("umount").arg("--lazy").arg(target).status();
        }
    }
}

/// Makes a directory of a lab a file system of this size; the lab unmounts it.
pub fn mount_tmpfs(dir: &Path, size: &str) {
    let mut mount = Command::new("mount");
    mount
        .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
        .arg(dir);
    let status = mount.status().expect("mount is installed");
    assert!(status.success(), "cannot mount a tmpfs: {status}");
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.show_logs();
        }
        self.unmount();
    }
}
