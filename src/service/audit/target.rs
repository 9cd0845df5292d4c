//! A file of events, or standard output.

use std::{
    convert::Infallible,
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    str::FromStr,
};

use parking_lot::Mutex;

/// Who deletes what is nobody's business but the operator's.
const FILE_MODE: u32 = 0o600;

/// Where the lines of the audit log go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditTarget {
    /// To standard output.
    Stdout,
    /// To a file, which may be moved away at any time.
    File(PathBuf),
}

impl FromStr for AuditTarget {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text {
            "-" => Self::Stdout,
            path => Self::File(path.into()),
        })
    }
}

impl fmt::Display for AuditTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("-"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

/// What lines are written to.
#[derive(Debug)]
pub(super) struct AuditSink {
    /// `None` for standard output.
    path: Option<PathBuf>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The file, as it was when the last line was written.
    file: Option<File>,
    /// Whether the last line is not there, or not whole.
    failed: bool,
}

impl AuditSink {
    /// Opens the file, or makes it. Blocks.
    pub(super) fn open(target: &AuditTarget) -> io::Result<Self> {
        let path = match target {
            AuditTarget::Stdout => None,
            AuditTarget::File(path) => Some(path.clone()),
        };
        let file = path.as_deref().map(open).transpose()?;
        Ok(Self {
            path,
            state: Mutex::new(State {
                file,
                failed: false,
            }),
        })
    }

    /// Writes a line, to a new file if the present one was moved or removed. A failure is the operator's to read.
    /// Blocks.
    pub(super) fn write(&self, mut line: String) {
        line.push('\n');
        let mut state = self.state.lock();
        let written = match &self.path {
            None => io::stdout().write_all(line.as_bytes()),
            Some(path) => state.append(path, &line),
        };
        match written {
            Err(error) if !state.failed => {
                tracing::error!(%error, "the audit log cannot be written");
                state.failed = true;
            }
            Err(_) => {}
            Ok(()) => state.failed = false,
        }
    }
}

impl State {
    fn append(&mut self, path: &Path, line: &str) -> io::Result<()> {
        let file = match self.file.take() {
            Some(file) if is_at(&file, path)? => file,
            _ => open(path)?,
        };
        let file = self.file.insert(file);
        // A disk that was full may have the beginning of the last line.
        if self.failed {
            file.write_all(b"\n")?;
        }
        file.write_all(line.as_bytes())
    }
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(FILE_MODE).open(path)
}

/// Whether a path still leads to a file.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let own = file.metadata()?;
    match fs::metadata(path) {
        Ok(found) => Ok((found.dev(), found.ino()) == (own.dev(), own.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
