//! The data directory and what stands in it: nobody's but the service's own.
//!
//! A directory below `/tmp`, or one that was once open to others, may hold what somebody has planted:
//! a secret that he knows, a link to a file of ours, a pipe at which an open waits for ever. So
//! everything is looked at before it is used, no link is followed, and what is made is private.

use std::{
    fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{
        DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _,
        PermissionsExt as _,
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FlockOperation, OFlags, flock},
    process::geteuid,
};

/// Nobody but the service's user has business in its files.
const DIR_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// Permissions of others to write, and to do anything at all.
const OTHERS_WRITE: u32 = 0o022;
const OTHERS: u32 = 0o077;

/// The file that is locked.
const LOCK: &str = "lock";

/// More than any text in it has.
const MAX_TEXT_BYTES: u64 = 1 << 10;

/// With whom a process shares a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lock {
    /// With others that share it.
    Shared,
    /// With nobody.
    Exclusive,
}

/// A data directory that was looked at.
#[derive(Debug, Clone)]
pub(super) struct DataDir {
    path: PathBuf,
    owner: u32,
}

impl DataDir {
    /// Opens or creates the directory of a service that runs as this user.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let own = geteuid().as_raw();
        check_link(path, own)?;
        DirBuilder::new()
            .recursive(true)
            .mode(DIR_MODE)
            .create(path)?;
        Self::inspect(path, own)
    }

    /// The directory of a service that may run as another user, if this one is root: whoever mints
    /// tokens need not be the service.
    pub(super) fn open_existing(path: &Path) -> io::Result<Self> {
        let own = geteuid().as_raw();
        let owner = fs::metadata(path)?.uid();
        Self::inspect(path, if own == 0 { owner } else { own })
    }

    fn inspect(path: &Path, owner: u32) -> io::Result<Self> {
        // SQLite follows no link either, and would see one in the middle of the path.
        let path = fs::canonicalize(path)?;
        let found = fs::symlink_metadata(&path)?;
        check_owner(&path, &found, owner)?;
        if !found.is_dir() {
            return Err(refused(&path, "is no directory"));
        }
        let dir = Self { path, owner };
        if found.mode() & OTHERS_WRITE != 0 {
            dir.claim(&found)?;
        }
        Ok(dir)
    }

    /// Takes a directory from others who may write it, if nobody has yet: a fresh file system is often
    /// open to all.
    fn claim(&self, found: &Metadata) -> io::Result<()> {
        let is_empty = || Ok::<_, io::Error>(fs::read_dir(&self.path)?.next().is_none());
        if self.is_own() && is_empty()? {
            fs::set_permissions(&self.path, Permissions::from_mode(DIR_MODE))?;
            if is_empty()? {
                return Ok(());
            }
            // Somebody was quicker. It must not look like ours when it is opened again.
            fs::set_permissions(&self.path, found.permissions())?;
        }
        check_mode(&self.path, found, OTHERS_WRITE)
    }

    /// Where it is, without links.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// True if it is this user's.
    pub(super) fn is_own(&self) -> bool {
        self.owner == geteuid().as_raw()
    }

    /// A directory in it, which is made if it is not there.
    pub(super) fn subdir(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.path.join(name);
        match DirBuilder::new().mode(DIR_MODE).create(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let found = fs::symlink_metadata(&path)?;
        if !found.is_dir() {
            return Err(refused(&path, kind_of(&found)));
        }
        check_owner(&path, &found, self.owner)?;
        check_mode(&path, &found, OTHERS_WRITE)?;
        if found.mode() & OTHERS != 0 {
            fs::set_permissions(&path, Permissions::from_mode(DIR_MODE))?;
        }
        Ok(path)
    }

    /// A file in it that may be made. One that others could read so far is made private.
    pub(super) fn file(&self, name: &str) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true);
        let (path, file, found) = self.open_file(name, &mut options)?;
        check_mode(&path, &found, OTHERS_WRITE)?;
        if found.mode() & OTHERS != 0 {
            file.set_permissions(Permissions::from_mode(FILE_MODE))?;
        }
        Ok(file)
    }

    /// Looks at a file that somebody else opens: one that is there must be the service's, and is made
    /// private.
    pub(super) fn secure_if_present(&self, name: &str) -> io::Result<()> {
        match fs::symlink_metadata(self.path.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            _ => self.file(name).map(drop),
        }
    }

    /// A file in it that nobody else could ever read, if it is there.
    pub(super) fn secret(&self, name: &str) -> io::Result<Option<File>> {
        match self.open_file(name, OpenOptions::new().read(true)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
            Ok((path, file, found)) => {
                check_mode(&path, &found, OTHERS)?;
                Ok(Some(file))
            }
        }
    }

    /// Makes a file with this text, which appears whole or not at all; of several that make it at once one wins, and so
    /// does one that is there already.
    pub(super) fn create_text(&self, name: &str, text: &str) -> io::Result<()> {
        // Made with mode 0600, which linking it under its final name keeps.
        let mut file = tempfile::NamedTempFile::new_in(&self.path)?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        match file.persist_noclobber(self.path.join(name)) {
            Err(lost) if lost.error.kind() != io::ErrorKind::AlreadyExists => Err(lost.error),
            _ => File::open(&self.path)?.sync_all(),
        }
    }

    /// A text that nobody else could ever read, if it is there.
    pub(super) fn text(&self, name: &str) -> io::Result<Option<String>> {
        let Some(file) = self.secret(name)? else {
            return Ok(None);
        };
        let mut text = String::new();
        file.take(MAX_TEXT_BYTES).read_to_string(&mut text)?;
        Ok(Some(text))
    }

    /// Whether there is anything of this name in it.
    pub(super) fn has(&self, name: &str) -> bool {
        fs::symlink_metadata(self.path.join(name)).is_ok()
    }

    /// Takes its lock until the file is dropped: `WouldBlock` if another process has one that does not go with it.
    pub(super) fn lock(&self, kind: Lock) -> io::Result<File> {
        let file = self.file(LOCK)?;
        let operation = match kind {
            Lock::Shared => FlockOperation::NonBlockingLockShared,
            Lock::Exclusive => FlockOperation::NonBlockingLockExclusive,
        };
        flock(&file, operation)?;
        Ok(file)
    }

    fn open_file(
        &self,
        name: &str,
        options: &mut OpenOptions,
    ) -> io::Result<(PathBuf, File, Metadata)> {
        let path = self.path.join(name);
        // Looked at before it is opened, for the words; and after, since only that is binding.
        if let Ok(found) = fs::symlink_metadata(&path)
            && !found.is_file()
        {
            return Err(refused(&path, kind_of(&found)));
        }
        // NONBLOCK: a pipe has no end to wait for.
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let flags = i32::try_from(flags.bits()).map_err(io::Error::other)?;
        let file = options.mode(FILE_MODE).custom_flags(flags).open(&path)?;
        let found = file.metadata()?;
        if !found.is_file() {
            return Err(refused(&path, kind_of(&found)));
        }
        check_owner(&path, &found, self.owner)?;
        Ok((path, file, found))
    }
}

/// Refuses a path that is a link of somebody else's: it leads wherever he likes.
fn check_link(path: &Path, own: u32) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() && ![0, own].contains(&found.uid()) => {
            let whose = found.uid();
            Err(refused(
                path,
                &format!("is a link that user {whose} has made"),
            ))
        }
        _ => Ok(()),
    }
}

fn check_owner(path: &Path, found: &Metadata, owner: u32) -> io::Result<()> {
    let whose = found.uid();
    if whose == owner {
        return Ok(());
    }
    let what = format!("belongs to user {whose} and not to user {owner}, who runs the service");
    Err(refused(path, &what))
}

fn check_mode(path: &Path, found: &Metadata, forbidden: u32) -> io::Result<()> {
    let mode = found.mode() & 0o777;
    if mode & forbidden == 0 {
        return Ok(());
    }
    let may = if forbidden & mode & OTHERS_WRITE != 0 {
        "write"
    } else {
        "read"
    };
    let what = format!(
        "has mode {mode:04o}: others may {may} it. If you trust what is in it, take that from them \
         with chmod; else remove it"
    );
    Err(refused(path, &what))
}

fn kind_of(found: &Metadata) -> &'static str {
    let kind = found.file_type();
    if kind.is_symlink() {
        "is a link, which is not followed"
    } else if kind.is_fifo() {
        "is a pipe"
    } else if kind.is_dir() {
        "is a directory"
    } else {
        "is not of the kind that the service makes"
    }
}

fn refused(path: &Path, what: &str) -> io::Error {
    io::Error::other(format!("{} {what}", path.display()))
}
