//! The kinds of rows.

use serde::Serialize;

/// Kinds of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Work {
    /// All layers are new to the cache.
    Export,
    /// The same, and new to the builder, which compresses them so.
    First(Compression),
    /// Nothing has changed, and this gateway has just exported the same.
    Unchanged,
    /// Nothing has changed, and what this gateway knows is older than it believes.
    Later,
    /// Nothing has changed, on a new builder: an import and an export.
    NewBuilder,
    /// The same with a token for the REST API.
    NewBuilderListing,
    /// A new builder imports, and runs one more step on the result.
    Import,
    /// A new builder imports, one source file has changed, and the result is exported.
    Change,
}

/// What an export does with layers that are not compressed yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Stock's only one.
    Gzip,
    Zstd,
    /// Nothing.
    Uncompressed,
}

impl Compression {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Gzip, Self::Zstd, Self::Uncompressed];

    /// As the attribute of an export.
    pub fn attribute(self) -> &'static str {
        match self {
            Self::Gzip => "",
            Self::Zstd => ",compression=zstd",
            Self::Uncompressed => ",compression=uncompressed",
        }
    }
}

impl Work {
    /// What the table calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Export => "export",
            Self::First(Compression::Gzip) => "first export, gzip",
            Self::First(Compression::Zstd) => "first export, zstd",
            Self::First(Compression::Uncompressed) => "first export, uncompressed",
            Self::Unchanged => "nothing changed, same builder",
            Self::Later => "nothing changed, same builder, later",
            Self::NewBuilder => "nothing changed, new builder",
            Self::NewBuilderListing => "nothing changed, new builder, REST",
            Self::Import => "import",
            Self::Change => "one source changed, new builder",
        }
    }

    /// True if each round compresses, so that all of the export counts, and not its send alone.
    pub fn compresses(self) -> bool {
        matches!(self, Self::First(_))
    }

    /// True if the wall is what counts, and not the export's send.
    pub fn counts_wall(self) -> bool {
        matches!(self, Self::Import | Self::Change)
    }
}
