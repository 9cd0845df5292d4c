//! What tells the samples of one metric apart.

use crate::telemetry::Labels;

/// What a request asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Either API's search for an entry.
    Lookup,
    /// Either API's reservation of a key.
    Reserve,
    /// One part of an upload: `PATCH` or Put Block.
    UploadPart,
    /// Put Blob.
    PutBlob,
    /// Put Block List.
    PutBlockList,
    /// Either API's commit of an upload.
    Commit,
    /// Reading content, or asking for its size.
    Download,
    /// The REST listing.
    List,
    /// A deletion over REST or on the page.
    Delete,
    /// What is not the cache and goes to the results service upstream.
    Forward,
    /// The page for administrators, and what it asks for.
    Page,
    /// Anything else.
    Other,
}

impl Operation {
    const ALL: [Self; 12] = [
        Self::Lookup,
        Self::Reserve,
        Self::UploadPart,
        Self::PutBlob,
        Self::PutBlockList,
        Self::Commit,
        Self::Download,
        Self::List,
        Self::Delete,
        Self::Forward,
        Self::Page,
        Self::Other,
    ];

    /// What counters and the log call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lookup => "lookup",
            Self::Reserve => "reserve",
            Self::UploadPart => "upload_part",
            Self::PutBlob => "put_blob",
            Self::PutBlockList => "put_block_list",
            Self::Commit => "commit",
            Self::Download => "download",
            Self::List => "list",
            Self::Delete => "delete",
            Self::Forward => "forward",
            Self::Page => "page",
            Self::Other => "other",
        }
    }
}

/// A request that was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct RequestLabels {
    pub operation: Operation,
    pub code: u16,
}

impl Labels for RequestLabels {
    const NAMES: &'static [&'static str] = &["operation", "code"];

    fn values(&self) -> Vec<String> {
        vec![self.operation.name().to_owned(), self.code.to_string()]
    }
}

impl Labels for Operation {
    const NAMES: &'static [&'static str] = &["operation"];

    fn values(&self) -> Vec<String> {
        vec![self.name().to_owned()]
    }

    fn known() -> Vec<Self> {
        Self::ALL.to_vec()
    }
}

/// What a lookup has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Found {
    /// The entry with the key that is wanted most.
    Exact,
    /// One with another of the keys, or whose key begins with one.
    Prefix,
    /// None.
    Nothing,
}

impl Found {
    const ALL: [Self; 3] = [Self::Exact, Self::Prefix, Self::Nothing];

    /// What the key of the entry that was found means to whoever wants `primary` most.
    pub fn of(primary: &str, key: Option<&str>) -> Self {
        match key {
            Some(key) if key == primary => Self::Exact,
            Some(_) => Self::Prefix,
            None => Self::Nothing,
        }
    }
}

impl Labels for Found {
    const NAMES: &'static [&'static str] = &["result"];

    fn values(&self) -> Vec<String> {
        let name = match self {
            Self::Exact => "exact",
            Self::Prefix => "prefix",
            Self::Nothing => "miss",
        };
        vec![name.to_owned()]
    }

    fn known() -> Vec<Self> {
        Self::ALL.to_vec()
    }
}

/// Whether a replica has answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Answered(pub bool);

impl Labels for Answered {
    const NAMES: &'static [&'static str] = &["outcome"];

    fn values(&self) -> Vec<String> {
        vec![if self.0 { "answered" } else { "failed" }.to_owned()]
    }

    fn known() -> Vec<Self> {
        vec![Self(true), Self(false)]
    }
}
