//! Where content is, when it is not in the data directory.

use std::{fmt, path::PathBuf};

use url::Url;

use super::{bucket::BucketUrl, store_url_error::StoreUrlError};

/// What the URL of a directory begins with.
const FILE: &str = "file:";

/// `file:///DIRECTORY`, or a place in a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// A directory, by its absolute path.
    Directory(PathBuf),
    /// A place in a bucket.
    Bucket(BucketUrl),
}

impl StoreUrl {
    /// Reads what an operator has written.
    pub fn parse(text: &str) -> Result<Self, StoreUrlError> {
        if text.starts_with(FILE) {
            return directory(text).map(Self::Directory);
        }
        BucketUrl::parse(text).map(Self::Bucket)
    }
}

/// The directory of a URL. The root of all files is none.
fn directory(text: &str) -> Result<PathBuf, StoreUrlError> {
    // What stands before the third slash is a host, and `file:cache` would be a path from the root.
    if !text.starts_with("file:///") {
        return Err(StoreUrlError::Form);
    }
    let url = Url::parse(text).map_err(|_| StoreUrlError::Form)?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err(StoreUrlError::Extra);
    }
    let path = url.to_file_path().map_err(|()| StoreUrlError::Form)?;
    path.parent()
        .is_some()
        .then_some(path)
        .ok_or(StoreUrlError::Form)
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => write!(f, "file://{}", path.display()),
            Self::Bucket(url) => url.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_an_absolute_path() {
        let url = StoreUrl::parse("file:///mnt/our%20cache").unwrap();
        assert_eq!(url, StoreUrl::Directory("/mnt/our cache".into()));
        assert_eq!(url.to_string(), "file:///mnt/our cache");
        let why = |text: &str| StoreUrl::parse(text).unwrap_err();
        for text in ["file:cache", "file://host/cache", "file:///", "/cache"] {
            assert_eq!(why(text), StoreUrlError::Form, "{text}");
        }
        assert_eq!(why("file:///cache?mode=1"), StoreUrlError::Extra);
    }

    #[test]
    fn a_bucket_is_none() {
        let url = StoreUrl::parse("s3://cache/a").unwrap();
        assert!(matches!(url, StoreUrl::Bucket(_)));
        assert_eq!(url.to_string(), "s3://cache/a");
    }
}
