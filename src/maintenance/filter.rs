//! `--filter`: which entries a command is about, in docker's words.

use std::{str::FromStr, time::Duration};

use super::entries::{BlobEntry, IndexEntry};
use crate::units::duration;

/// One `--filter NAME=VALUE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FilterArg {
    /// Entries of this ref; `*` stands for anything.
    Ref(String),
    /// Indexes of this scope, and what only they name; `*` stands for anything.
    Scope(String),
    /// What no build has used for so long.
    Until(Duration),
}

/// A filter that there is not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// No `=`.
    #[error("a filter is of the form NAME=VALUE")]
    Form,
    /// Another name.
    #[error("{0:?} is not a filter; there are until, ref and scope")]
    Name(String),
    /// Not a duration.
    #[error("\"until\" filter expects a duration (e.g., 24h or 7d): {0}")]
    Until(duration::InvalidDuration),
}

impl FromStr for FilterArg {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        let (name, value) = text.split_once('=').ok_or(FilterError::Form)?;
        match name {
            "ref" => Ok(Self::Ref(value.to_owned())),
            "scope" => Ok(Self::Scope(value.to_owned())),
            // `unused-for` is buildx's older word.
            "until" | "unused-for" => duration::parse(value)
                .map(Self::Until)
                .map_err(FilterError::Until),
            other => Err(FilterError::Name(other.to_owned())),
        }
    }
}

/// Which entries may be removed: those that one of the refs and one of the scopes matches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    refs: Vec<String>,
    scopes: Vec<String>,
}

impl Filter {
    /// The filter of these, and the shortest `until` among them.
    pub fn new(args: impl IntoIterator<Item = FilterArg>) -> (Self, Option<Duration>) {
        let (mut filter, mut until) = (Self::default(), None);
        for arg in args {
            match arg {
                FilterArg::Ref(pattern) => filter.refs.push(pattern),
                FilterArg::Scope(pattern) => filter.scopes.push(pattern),
                FilterArg::Until(age) => {
                    until = Some(until.map_or(age, |least: Duration| least.min(age)));
                }
            }
        }
        (filter, until)
    }

    pub(super) fn takes_index(&self, index: &IndexEntry) -> bool {
        matches_one(&self.refs, &index.row.git_ref) && matches_one(&self.scopes, &index.name.scope)
    }

    /// Blobs have no scope: they are judged by the indexes that name them.
    pub(super) fn takes_blob(&self, blob: &BlobEntry) -> bool {
        matches_one(&self.refs, &blob.row.git_ref)
    }
}

fn matches_one(patterns: &[String], text: &str) -> bool {
    patterns.is_empty() || patterns.iter().any(|pattern| matches(pattern, text))
}

/// Whether a pattern, in which `*` stands for anything, matches all of a text.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or_default()) else {
        return false;
    };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_anything() {
        for (pattern, text, found) in [
            ("refs/heads/main", "refs/heads/main", true),
            ("refs/heads/main", "refs/heads/main2", false),
            ("refs/pull/*", "refs/pull/7/merge", true),
            ("refs/pull/*/merge", "refs/pull/7/merge", true),
            ("refs/pull/*/head", "refs/pull/7/merge", false),
            ("*", "", true),
            ("*a*b", "xaxb", true),
            ("a*a", "a", false),
        ] {
            assert_eq!(matches(pattern, text), found, "{pattern} {text}");
        }
    }

    #[test]
    fn filters_are_read_as_buildx_reads_them() {
        let day = Duration::from_hours(24);
        assert_eq!("until=24h".parse(), Ok(FilterArg::Until(day)));
        assert_eq!("unused-for=1d".parse(), Ok(FilterArg::Until(day)));
        assert_eq!("ref=a=b".parse(), Ok(FilterArg::Ref("a=b".to_owned())));
        assert_eq!("until".parse::<FilterArg>(), Err(FilterError::Form));
        let unknown = "id=7".parse::<FilterArg>();
        assert_eq!(unknown, Err(FilterError::Name("id".to_owned())));
        let args = ["until=2d", "until=24h", "scope=app"].map(|arg| arg.parse().unwrap());
        let (filter, until) = Filter::new(args);
        assert_eq!((filter.scopes.len(), until), (1, Some(day)));
    }
}
