//! Content files: `uploads/<id>` while bytes arrive, `blobs/<id>` from the commit on.
//!
//! The order of a commit is what makes a crash harmless: the file is synced, renamed, its directory
//! synced, and only then the entry is put into the database. A file without an entry is garbage, and
//! a crash cannot make an entry without its file.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
};

use super::{api_error::ApiError, data_dir::DataDir, upload_file::UploadFile};

/// The content files of one data directory.
#[derive(Debug)]
pub struct Blobs {
    uploads: PathBuf,
    blobs: PathBuf,
}

impl Blobs {
    /// Opens the directories. Whatever was being uploaded when the last process ended is removed:
    /// nobody can finish it any more.
    pub fn open(data_dir: &DataDir) -> io::Result<Self> {
        let this = Self {
            uploads: data_dir.subdir("uploads")?,
            blobs: data_dir.subdir("blobs")?,
        };
        for file in fs::read_dir(&this.uploads)? {
            fs::remove_file(file?.path())?;
        }
        Ok(this)
    }

    /// A new file that takes the bytes of an upload.
    pub fn create(&self, id: i64) -> io::Result<File> {
        let path = self.upload_path(id);
        let mut options = OpenOptions::new();
        options
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
    }

    /// Makes an uploaded file permanent. After this it survives a loss of power.
    pub fn publish(&self, id: i64, file: &UploadFile) -> Result<(), ApiError> {
        file.sync()?;
        fs::rename(self.upload_path(id), self.path(id))?;
        Ok(File::open(&self.blobs)?.sync_all()?)
    }

    /// Takes a published file back: its entry could not be written.
    pub fn unpublish(&self, id: i64) -> io::Result<()> {
        fs::rename(self.path(id), self.upload_path(id))
    }

    /// Opens a permanent file for reading; it stays readable when it is deleted meanwhile.
    pub fn read(&self, id: i64) -> io::Result<File> {
        File::open(self.path(id))
    }

    /// How long a permanent file is, if it is there.
    pub fn len(&self, id: i64) -> io::Result<Option<u64>> {
        match fs::metadata(self.path(id)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            file => Ok(Some(file?.len())),
        }
    }

    /// Removes a permanent file, if it is there.
    pub fn remove(&self, id: i64) -> io::Result<()> {
        gone_is_fine(fs::remove_file(self.path(id)))
    }

    /// Removes the file of an upload, if it is there.
    pub fn discard(&self, id: i64) -> io::Result<()> {
        gone_is_fine(fs::remove_file(self.upload_path(id)))
    }

    /// The ids of all permanent files.
    pub fn ids(&self) -> io::Result<Vec<i64>> {
        let id = |file: io::Result<fs::DirEntry>| {
            let file = file.map(|file| file.file_name());
            file.map(|name| name.to_str().and_then(|name| name.parse().ok()))
        };
        fs::read_dir(&self.blobs)?
            .map(id)
            .filter_map(Result::transpose)
            .collect()
    }

    fn path(&self, id: i64) -> PathBuf {
        self.blobs.join(id.to_string())
    }

    fn upload_path(&self, id: i64) -> PathBuf {
        self.uploads.join(id.to_string())
    }
}

fn gone_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
