//! A file that does nothing but take space, for the day when there is none left.
//!
//! Deleting an entry and opening the database both write to the disk before they can free any of it.
//! On a disk that is full to its last block neither would work, and nobody could make room through
//! the service. So some blocks are set aside, and given up just for that.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use rustix::fs::{FallocateFlags, fallocate};

/// What a deletion or a start writes at most: some pages of the write-ahead log and its index, with
/// room to spare.
const BYTES: u64 = 1 << 20;

/// The file's name in the data directory.
const FILE: &str = "ballast";

/// The space that is set aside in one data directory.
#[derive(Debug)]
pub struct Ballast {
    path: PathBuf,
}

impl Ballast {
    /// The ballast of a data directory, whether it is there or not.
    pub fn new(data_dir: &Path) -> Self {
        Self {
            path: data_dir.join(FILE),
        }
    }

    /// Gives the space up.
    pub fn release(&self) {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, "the space that is set aside cannot be given up");
            }
            _ => {}
        }
    }

    /// Sets the space aside again if it is not, and if there is any.
    pub fn restore(&self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|file| file.len() == BYTES) {
            return;
        }
        let set_aside = || {
            // Whatever stands there is not the ballast, and is not followed.
            self.release();
            let mut options = File::options();
            let options = options.write(true).create_new(true).mode(0o600);
            let file = options.open(&self.path)?;
            fallocate(&file, FallocateFlags::empty(), 0, BYTES).map_err(io::Error::from)
        };
        if let Err(error) = set_aside() {
            tracing::warn!(%error, "no space can be set aside for deletions on a full disk");
            self.release();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn it_takes_real_space_until_it_is_released() {
        let dir = tempfile::tempdir().unwrap();
        let ballast = Ballast::new(dir.path());
        ballast.release();
        ballast.restore();
        let file = fs::metadata(dir.path().join(FILE)).unwrap();
        assert!(file.blocks() * 512 >= BYTES);
        ballast.release();
        assert!(!dir.path().join(FILE).exists());
    }
}
