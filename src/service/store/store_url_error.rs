//! Why a URL is no place for content.

/// Why a `--store` cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StoreUrlError {
    /// Not of this form.
    #[error(
        "it must be file:///DIRECTORY, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX"
    )]
    Form,
    /// It holds what belongs elsewhere.
    #[error(
        "it has a user, a port or a query; keys and endpoints belong in the variables of the provider (AWS_*, GOOGLE_*, AZURE_*)"
    )]
    Extra,
    /// Its prefix is none.
    #[error("its prefix has empty parts, or . or ..")]
    Prefix,
}
