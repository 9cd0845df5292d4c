//! `containerd.services.content.v1.Content` over a [`Host`], which says what lies behind it.
//!
//! [`service()`] is the surface: it translates messages, checks arguments and filters lists. The
//! conversation of a Write is decided by `write`, as plain data. Three hosts exist: the export
//! job and the import host of the cache, and the directory store of this module.
//!
//! What the service promises is what containerd's own server promises (its conformance suite
//! runs against it, see `e2e/conformance`), except that an argument that makes no sense, such as
//! a negative offset, is always [`Error::InvalidArgument`].

mod convert;
mod filter;
mod host;
mod service;
mod store;
mod write;

pub use filter::Filter;
pub use host::{
    Commit, ContentInfo, Error, Host, InfoStream, Ingest, IngestSpec, IngestStatus, LabelChange,
    OpenedIngest, Reader,
};
pub use service::{ContentService, Surface, service};
pub use store::Store;
