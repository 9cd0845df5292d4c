//! The remote calls, by the names that people read.

use std::fmt;

/// The remote calls there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Call {
    /// Looking a key up.
    Lookup,
    /// Reserving a key.
    Reserve,
    /// Sending one part, or all of a small entry.
    UploadPart,
    /// Making one blob of the parts (v2).
    JoinParts,
    /// Making an uploaded entry visible.
    Finish,
    /// Reading bytes of an entry.
    Download,
    /// Reading a few of its bytes, or a small entry, to know that it is there.
    Probe,
    /// Listing entries through the REST API.
    List,
    /// Deleting an entry through the REST API.
    Delete,
}

impl Call {
    pub(super) const ALL: [Self; 9] = [
        Self::Lookup,
        Self::Reserve,
        Self::UploadPart,
        Self::JoinParts,
        Self::Finish,
        Self::Download,
        Self::Probe,
        Self::List,
        Self::Delete,
    ];

    /// True if it reads bytes of an entry.
    pub(super) const fn reads(self) -> bool {
        matches!(self, Self::Download | Self::Probe)
    }

    /// True if it leaves everything as it is, so that it may be given up at any time.
    pub(super) const fn changes_nothing(self) -> bool {
        matches!(
            self,
            Self::Lookup | Self::Download | Self::Probe | Self::List
        )
    }

    /// The name of the call, as it is in messages, logs and rows of a build.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lookup => "lookup",
            Self::Reserve => "reserve",
            Self::UploadPart => "upload part",
            Self::JoinParts => "join parts",
            Self::Finish => "finish upload",
            Self::Download => "download",
            Self::Probe => "probe",
            Self::List => "list",
            Self::Delete => "delete",
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
