//! `containerd.services.content.v1.Content` over a [`Host`], which says what lies behind it.

mod host;

pub use host::{
    Commit, ContentInfo, Error, Host, InfoStream, Ingest, IngestSpec, IngestStatus, Opened, Reader,
};
