//! Messages to our types and back, and the one place where errors become gRPC codes.

use std::collections::{BTreeMap, HashMap};

use prost_types::FieldMask;
use tonic::{Code, Status};

use super::host::{ContentInfo, Error, IngestStatus, LabelChange};
use crate::{
    digest::Digest,
    proto::content::{Info, Status as StatusMessage},
};

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let code = match &error {
            Error::NotFound(_) => Code::NotFound,
            Error::AlreadyExists(_) => Code::AlreadyExists,
            Error::InvalidArgument(_) => Code::InvalidArgument,
            Error::FailedPrecondition(_) => Code::FailedPrecondition,
            Error::OutOfRange(_) => Code::OutOfRange,
            Error::Locked(_) => Code::Unavailable,
            Error::ResourceExhausted(_) => Code::ResourceExhausted,
            Error::Unimplemented(_) => Code::Unimplemented,
            Error::Aborted(_) => Code::Aborted,
            Error::Internal(_) => Code::Internal,
        };
        Self::new(code, error.to_string())
    }
}

/// A digest that must be there.
pub(super) fn digest(text: &str) -> Result<Digest, Error> {
    text.parse()
        .map_err(|error: crate::digest::InvalidDigest| Error::InvalidArgument(error.to_string()))
}

/// A digest that may be left out.
pub(super) fn optional_digest(text: &str) -> Result<Option<Digest>, Error> {
    (!text.is_empty()).then(|| digest(text)).transpose()
}

/// A ref, which is never empty.
pub(super) fn reference(text: String) -> Result<String, Error> {
    if text.is_empty() {
        return Err(Error::InvalidArgument("the ref must not be empty".into()));
    }
    Ok(text)
}

/// An offset or a size: protobuf has it signed, nobody means less than 0.
pub(super) fn count(name: &str, value: i64) -> Result<u64, Error> {
    u64::try_from(value)
        .map_err(|_| Error::InvalidArgument(format!("{name} must not be negative, but is {value}")))
}

/// Back to what protobuf has. No file reaches 2^63 bytes.
pub(super) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// What an Update asks for: all labels, or those that the mask names as `labels.<key>`.
pub(super) fn label_change(
    labels: HashMap<String, String>,
    mask: Option<FieldMask>,
) -> Result<LabelChange, Error> {
    let paths = mask.unwrap_or_default().paths;
    let mut some = BTreeMap::new();
    for path in &paths {
        match path.strip_prefix("labels.") {
            Some(key) => {
                let value = labels.get(key).filter(|value| !value.is_empty());
                some.insert(key.to_owned(), value.cloned());
            }
            None if path == "labels" => return Ok(LabelChange::Replace(sorted(labels))),
            None => {
                return Err(Error::InvalidArgument(format!(
                    "only labels can be updated, not {path:?}"
                )));
            }
        }
    }
    Ok(if paths.is_empty() {
        LabelChange::Replace(sorted(labels))
    } else {
        LabelChange::Merge(some)
    })
}

/// Labels in our order.
pub(super) fn sorted(labels: HashMap<String, String>) -> BTreeMap<String, String> {
    labels.into_iter().collect()
}

pub(super) fn info_message(info: ContentInfo) -> Info {
    Info {
        digest: info.digest.to_string(),
        size: signed(info.size),
        created_at: Some(info.created_at.into()),
        updated_at: Some(info.updated_at.into()),
        labels: info.labels.into_iter().collect(),
    }
}

pub(super) fn status_message(status: IngestStatus) -> StatusMessage {
    StatusMessage {
        started_at: Some(status.started_at.into()),
        updated_at: Some(status.updated_at.into()),
        r#ref: status.spec.reference,
        offset: signed(status.offset),
        total: signed(status.spec.total.unwrap_or(0)),
        expected: digest_text(status.spec.expected),
    }
}

/// An unknown digest is an empty string on the wire.
pub(super) fn digest_text(digest: Option<Digest>) -> String {
    digest.map(|digest| digest.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> HashMap<String, String> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn mask(paths: &[&str]) -> FieldMask {
        FieldMask {
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
        }
    }

    #[test]
    fn a_mask_names_the_labels_that_change() {
        let old = sorted(labels(&[("keep", "1"), ("a.b/c", "2"), ("gone", "3")]));
        let new = labels(&[("a.b/c", "new"), ("other", "ignored")]);

        let change = label_change(new.clone(), Some(mask(&["labels.a.b/c", "labels.gone"])));
        let merged = change.expect("a good mask").apply(old.clone());
        assert_eq!(merged, sorted(labels(&[("keep", "1"), ("a.b/c", "new")])));

        for all in [
            None,
            Some(mask(&[])),
            Some(mask(&["labels.gone", "labels"])),
        ] {
            let change = label_change(new.clone(), all).expect("a good mask");
            assert_eq!(change.apply(old.clone()), sorted(new.clone()));
        }
        assert!(matches!(
            label_change(new, Some(mask(&["size"]))),
            Err(Error::InvalidArgument(_))
        ));
    }

    #[test]
    fn negative_counts_and_foreign_digests_are_refused() {
        assert_eq!(count("offset", 0), Ok(0));
        assert!(matches!(
            count("offset", -1),
            Err(Error::InvalidArgument(_))
        ));
        assert_eq!(optional_digest(""), Ok(None));
        assert!(matches!(digest(""), Err(Error::InvalidArgument(_))));
        assert!(matches!(
            optional_digest("sha512:00"),
            Err(Error::InvalidArgument(_))
        ));
    }
}
