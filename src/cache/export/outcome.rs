//! What an export comes to.

/// What an export has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is under way, or has ended without a manifest: an empty result, nothing written.
    Open,
    /// The build left, or was told to.
    Cancelled,
    /// The index would say what the newest one says, so it was not written.
    Unchanged,
    /// Nothing was left to put in an index; the older one stays.
    Nothing,
    /// It went on after its build, and meanwhile a later export has written the index.
    Superseded,
    /// The index was written.
    Written {
        /// Its key.
        key: String,
        /// Layers that it names.
        layers: usize,
        /// Layers that were left out.
        left_out: usize,
    },
    /// The index was not written. The text is what the error of the manifest's COMMIT said.
    Failed(String),
}
