//! Where things lie in the directory, and the small records beside them.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::digest::Digest;

/// The paths of a store.
pub(super) struct Layout {
    root: PathBuf,
}

/// `meta/sha256/<hex>.json`
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct BlobRecord {
    #[serde(with = "rfc3339")]
    pub created_at: SystemTime,
    #[serde(with = "rfc3339")]
    pub updated_at: SystemTime,
    pub labels: BTreeMap<String, String>,
}

/// `ingest/<sha256 of ref>/ingest.json`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct IngestRecord {
    #[serde(rename = "ref")]
    pub reference: String,
    pub total: Option<u64>,
    pub expected: Option<Digest>,
    #[serde(with = "rfc3339")]
    pub started_at: SystemTime,
}

impl BlobRecord {
    /// Of content that has no record.
    pub fn from_file_time(modified: SystemTime) -> Self {
        Self {
            created_at: modified,
            updated_at: modified,
            labels: BTreeMap::new(),
        }
    }
}

impl Layout {
    /// Makes what is missing below `root`.
    pub fn create(root: &Path) -> io::Result<Self> {
        for part in ["blobs/sha256", "meta/sha256", "ingest"] {
            fs::create_dir_all(root.join(part))?;
        }
        Ok(Self {
            root: root.to_owned(),
        })
    }

    pub fn blobs(&self) -> PathBuf {
        self.root.join("blobs/sha256")
    }

    pub fn blob(&self, digest: Digest) -> PathBuf {
        self.blobs().join(digest.hex())
    }

    pub fn meta(&self, digest: Digest) -> PathBuf {
        self.root
            .join("meta/sha256")
            .join(format!("{}.json", digest.hex()))
    }

    pub fn ingests(&self) -> PathBuf {
        self.root.join("ingest")
    }

    /// A ref may be any text, so its digest names the directory.
    pub fn ingest(&self, reference: &str) -> PathBuf {
        self.ingests().join(Digest::sha256(reference).hex())
    }

    /// All committed content; files with other names are not ours.
    pub fn digests(&self) -> io::Result<Vec<Digest>> {
        let mut digests = Vec::new();
        for entry in fs::read_dir(self.blobs())? {
            let name = entry?.file_name();
            let digest = name.to_str().map(|hex| format!("sha256:{hex}").parse());
            digests.extend(digest.and_then(Result::<Digest, _>::ok));
        }
        Ok(digests)
    }
}

/// The record at `path`, if there is one.
pub(super) fn read_record<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Replaces the record at `path`: readers see the old one or the new one, also after a crash.
pub(super) fn write_record<T: Serialize>(path: &Path, record: &T) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(&serde_json::to_vec_pretty(record)?)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    sync(directory)
}

/// Makes names in `directory` outlast a crash.
pub(super) fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Times as people read them, to the nanosecond.
mod rfc3339 {
    use std::time::SystemTime;

    use jiff::Timestamp;
    use serde::{Deserialize as _, Deserializer, Serializer, de, ser};

    pub fn serialize<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
        let time = Timestamp::try_from(*time).map_err(ser::Error::custom)?;
        serializer.collect_str(&time)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SystemTime, D::Error> {
        let text = String::deserialize(deserializer)?;
        let time: Timestamp = text.parse().map_err(de::Error::custom)?;
        SystemTime::try_from(time).map_err(de::Error::custom)
    }
}
