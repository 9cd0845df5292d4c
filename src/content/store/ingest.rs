//! Ingests: content that is being written.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use async_trait::async_trait;
use bytes::Bytes;

use super::{
    Shared, blocking, failed,
    layout::{BlobRecord, IngestRecord, Layout, read_record, sync, write_record},
};
use crate::{
    content::host::{Commit, Error, Ingest, IngestSpec, IngestStatus, OpenedIngest},
    digest::{Digest, Hasher},
};

const DATA: &str = "data";
const RECORD: &str = "ingest.json";

/// How much is hashed at a time when an ingest is opened again.
const HASH_BYTES: usize = 1 << 20;

/// A writer as the service sees it: the state after the last step, and the writer itself, which
/// is away while a step works on it. A client that leaves during a step thus cannot free the ref
/// before the step has ended.
pub(super) struct StoreIngest {
    status: IngestStatus,
    digest: Digest,
    writer: Option<Writer>,
}

struct Writer {
    ref_lock: RefLock,
    directory: PathBuf,
    data: File,
    hasher: Hasher,
    status: IngestStatus,
}

/// The sole right to write a ref, given back on drop.
struct RefLock {
    shared: Arc<Shared>,
    reference: String,
}

impl RefLock {
    fn new(shared: &Arc<Shared>, reference: &str) -> Result<Self, Error> {
        if !shared.writing.lock().insert(reference.to_owned()) {
            return Err(Error::Locked(reference.to_owned()));
        }
        Ok(Self {
            shared: Arc::clone(shared),
            reference: reference.to_owned(),
        })
    }
}

impl Drop for RefLock {
    fn drop(&mut self) {
        self.shared.writing.lock().remove(&self.reference);
    }
}

impl StoreIngest {
    pub fn open(shared: &Arc<Shared>, spec: &IngestSpec) -> Result<OpenedIngest, Error> {
        let ref_lock = RefLock::new(shared, &spec.reference)?;
        if let Some(digest) = spec.expected.filter(|digest| shared.has(*digest)) {
            return Ok(OpenedIngest::Exists(digest));
        }
        let writer = Writer::open(ref_lock, spec).map_err(|e| failed(&spec.reference, &e))?;
        Ok(OpenedIngest::Writer(Box::new(Self {
            status: writer.status.clone(),
            digest: writer.digest(),
            writer: Some(writer),
        })))
    }

    async fn step<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Writer) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let lost = || {
            Error::Aborted(format!(
                "{}: a step was cut off",
                self.status.spec.reference
            ))
        };
        let mut writer = self.writer.take().ok_or_else(lost)?;
        let (writer, result) = blocking(move || {
            let result = work(&mut writer);
            Ok((writer, result))
        })
        .await?;
        self.status = writer.status.clone();
        self.digest = writer.digest();
        self.writer = Some(writer);
        result
    }
}

#[async_trait]
impl Ingest for StoreIngest {
    fn status(&self) -> IngestStatus {
        self.status.clone()
    }

    fn digest(&self) -> Option<Digest> {
        Some(self.digest)
    }

    async fn write(&mut self, data: Bytes) -> Result<(), Error> {
        self.step(move |writer| writer.append(&data).map_err(|e| writer.failed(&e)))
            .await
    }

    async fn restart(&mut self) -> Result<(), Error> {
        self.step(|writer| writer.restart().map_err(|e| writer.failed(&e)))
            .await
    }

    async fn commit(&mut self, commit: Commit) -> Result<Digest, Error> {
        self.step(move |writer| writer.commit(commit)).await
    }
}

impl Writer {
    /// Opens what was left under this ref, if it is of the same content, else begins anew.
    fn open(ref_lock: RefLock, spec: &IngestSpec) -> io::Result<Self> {
        let directory = ref_lock.shared.layout.ingest(&spec.reference);
        let change = ref_lock.shared.change();
        fs::create_dir_all(&directory)?;
        let data = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(directory.join(DATA))?;
        // A record that cannot be read is no reason to refuse the ref for ever.
        let left: Option<IngestRecord> = read_record(&directory.join(RECORD)).ok().flatten();
        let record = match left.as_ref().and_then(|left| resumed(left, spec)) {
            Some(record) => record,
            None => begin(&data, spec)?,
        };
        if left.as_ref() != Some(&record) {
            write_record(&directory.join(RECORD), &record)?;
        }
        drop(change);
        let (hasher, offset) = hash(&data)?;
        let status = ingest_status(record, offset, data.metadata()?.modified()?);
        Ok(Self {
            ref_lock,
            directory,
            data,
            hasher,
            status,
        })
    }

    fn digest(&self) -> Digest {
        self.hasher.clone().finish()
    }

    fn failed(&self, error: &io::Error) -> Error {
        failed(&self.status.spec.reference, error)
    }

    fn append(&mut self, data: &[u8]) -> io::Result<()> {
        self.data.write_all_at(data, self.status.offset)?;
        self.hasher.update(data);
        self.status.offset += data.len() as u64;
        self.touch()
    }

    fn restart(&mut self) -> io::Result<()> {
        self.data.set_len(0)?;
        self.hasher = Hasher::default();
        self.status.offset = 0;
        self.touch()
    }

    /// Keeps the time in the file itself, more exactly than the kernel's tick.
    fn touch(&mut self) -> io::Result<()> {
        self.status.updated_at = SystemTime::now();
        self.data.set_modified(self.status.updated_at)
    }

    fn commit(&mut self, commit: Commit) -> Result<Digest, Error> {
        let shared = &self.ref_lock.shared;
        let digest = self.digest();
        // Like containerd: that the expected content exists goes before what was written.
        let wanted = commit.expected.unwrap_or(digest);
        if shared.has(wanted) {
            return Err(self.already(wanted));
        }
        self.check(&commit, digest)?;
        self.data.sync_all().map_err(|e| self.failed(&e))?;

        let _change = shared.change();
        if shared.has(digest) {
            return Err(self.already(digest));
        }
        let now = SystemTime::now();
        let record = BlobRecord {
            created_at: now,
            updated_at: now,
            labels: commit.labels,
        };
        // The blob comes last: it is what makes the content visible.
        write_record(&shared.layout.meta(digest), &record).map_err(|e| self.failed(&e))?;
        let moved = fs::rename(self.directory.join(DATA), shared.layout.blob(digest));
        moved.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Error::Aborted(format!(
                "{}: the ingest was aborted while it was written",
                self.status.spec.reference
            )),
            _ => self.failed(&error),
        })?;
        sync(&shared.layout.blobs()).map_err(|e| self.failed(&e))?;
        self.remove();
        Ok(digest)
    }

    fn check(&self, commit: &Commit, digest: Digest) -> Result<(), Error> {
        let IngestStatus { spec, offset, .. } = &self.status;
        let reference = &spec.reference;
        if let Some(total) = commit.total.filter(|total| total != offset) {
            return Err(Error::FailedPrecondition(format!(
                "{reference}: {offset} bytes were written, not {total}"
            )));
        }
        if let Some(expected) = commit.expected.filter(|expected| *expected != digest) {
            return Err(Error::FailedPrecondition(format!(
                "{reference}: what was written is {digest}, not {expected}"
            )));
        }
        Ok(())
    }

    fn already(&self, digest: Digest) -> Error {
        self.remove();
        Error::AlreadyExists(digest.to_string())
    }

    /// What is left of an ingest that is over takes room but harms nothing.
    fn remove(&self) {
        if let Err(error) = fs::remove_dir_all(&self.directory) {
            tracing::warn!(path = %self.directory.display(), %error, "cannot remove an ingest");
        }
    }
}

/// The record with which an ingest goes on; none if it was of other content.
fn resumed(left: &IngestRecord, spec: &IngestSpec) -> Option<IngestRecord> {
    let other = left.reference != spec.reference
        || matches!((left.total, spec.total), (Some(left), Some(new)) if left != new)
        || matches!((left.expected, spec.expected), (Some(left), Some(new)) if left != new);
    (!other).then(|| IngestRecord {
        total: spec.total.or(left.total),
        expected: spec.expected.or(left.expected),
        ..left.clone()
    })
}

fn begin(data: &File, spec: &IngestSpec) -> io::Result<IngestRecord> {
    let now = SystemTime::now();
    data.set_len(0)?;
    data.set_modified(now)?;
    Ok(IngestRecord {
        reference: spec.reference.clone(),
        total: spec.total,
        expected: spec.expected,
        started_at: now,
    })
}

fn hash(mut data: &File) -> io::Result<(Hasher, u64)> {
    let mut hasher = Hasher::default();
    let mut offset = 0;
    let mut buffer = vec![0; HASH_BYTES];
    loop {
        match data.read(&mut buffer)? {
            0 => return Ok((hasher, offset)),
            read => {
                hasher.update(&buffer[..read]);
                offset += read as u64;
            }
        }
    }
}

fn ingest_status(record: IngestRecord, offset: u64, updated_at: SystemTime) -> IngestStatus {
    IngestStatus {
        spec: IngestSpec {
            reference: record.reference,
            total: record.total,
            expected: record.expected,
        },
        offset,
        started_at: record.started_at,
        updated_at,
    }
}

/// The state of the ingest in `directory`.
pub(super) fn status(directory: &Path) -> io::Result<IngestStatus> {
    let data = fs::metadata(directory.join(DATA))?;
    let record = read_record(&directory.join(RECORD))?.ok_or(io::ErrorKind::NotFound)?;
    Ok(ingest_status(record, data.len(), data.modified()?))
}

/// The states of all ingests, without those that end meanwhile.
pub(super) fn statuses(layout: &Layout) -> io::Result<Vec<IngestStatus>> {
    let mut statuses = Vec::new();
    for entry in fs::read_dir(layout.ingests())? {
        match status(&entry?.path()) {
            Ok(status) => statuses.push(status),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(statuses)
}
