//! Says when an index takes the place of one that names other layers.
//!
//! The newest index counts and is not merged with older ones. Where another export has written it
//! while this build ran, both are in use and one of them is lost: that is worth a warning. Where it is
//! older than the build, it is most likely what the last build has left.

use std::collections::HashSet;

use super::{
    latest_index::LatestIndex,
    previous_index::{IndexReader, PreviousIndex},
    scopes::reads_own_scope,
};
use crate::{
    actions::Client,
    cache::{
        index_format::CacheConfig,
        report::{Event, Reporter},
    },
    digest::Digest,
    protocol::key::IndexKey,
};

/// Compares the index that was written with the one whose place it took.
pub(super) struct ReplacedIndex<'a> {
    pub client: &'a Client,
    pub reader: &'a IndexReader,
    pub reporter: &'a dyn Reporter,
    pub index: &'a IndexKey,
    /// The newest index, as it was when the build began.
    pub at_build_start: &'a LatestIndex,
}

impl ReplacedIndex<'_> {
    /// Tells what of the index whose place was taken is not in the new one, which was `written` after
    /// `previous` had been read.
    pub async fn report(
        &self,
        previous: Option<&PreviousIndex>,
        kept: &CacheConfig,
        written: &str,
    ) {
        if let Some(key) = self.passed_over(previous, written) {
            return self.report_concurrent(kept, &key).await;
        }
        let Some(previous) = previous else { return };
        let missing = missing(previous, kept);
        if missing == 0 {
            return;
        }
        let key = &previous.key;
        if was_there(self.at_build_start, key).await {
            self.reporter.report(Event::Note(replaces(key, missing)));
        } else {
            self.warn_of_concurrent(key, missing);
        }
    }

    /// The number before that of the index that was written, if another export had taken it.
    fn passed_over(&self, previous: Option<&PreviousIndex>, written: &str) -> Option<String> {
        if !reads_own_scope(self.client.token()) {
            return None;
        }
        let index = self.index;
        let newest = previous.and_then(|previous| index.number(&previous.key));
        let before = index.number(written)?.checked_sub(1)?;
        (before > newest.unwrap_or(0)).then(|| index.entry(before))
    }

    /// Tells of an export that has taken a number meanwhile. It may have died there, too.
    async fn report_concurrent(&self, kept: &CacheConfig, key: &str) {
        match self.reader.exact(self.client, key).await {
            Ok(Some(other)) => {
                let missing = missing(&other, kept);
                if missing > 0 {
                    self.warn_of_concurrent(key, missing);
                }
            }
            Ok(None) | Err(_) => self.reporter.report(Event::Note(format!(
                "another export has reserved the index {key} and not finished it: if it still does, \
                 it takes the place of this one"
            ))),
        }
    }

    fn warn_of_concurrent(&self, key: &str, missing: usize) {
        let detail = "another export wrote it while this build ran; of exports to one scope the last \
                      index counts: give each its own scope=";
        let short = format!("cache export: {}", replaces(key, missing));
        self.reporter
            .report(Event::warning(short, detail.to_owned()));
    }
}

fn replaces(key: &str, missing: usize) -> String {
    let layers = match missing {
        1 => "1 layer of it is".to_owned(),
        _ => format!("{missing} layers of it are"),
    };
    format!("replaces the index {key}, {layers} not in this one")
}

/// How many layers of the previous index the new one has not.
fn missing(previous: &PreviousIndex, kept: &CacheConfig) -> usize {
    let named: HashSet<Digest> = kept.layers.iter().map(|layer| layer.blob).collect();
    let layers = previous.layers.keys();
    layers.filter(|layer| !named.contains(layer)).count()
}

/// Whether the index was the newest one when the build began, as far as that could be read.
async fn was_there(at_build_start: &LatestIndex, key: &str) -> bool {
    match at_build_start.result().await {
        Some(Ok(before)) => before.is_some_and(|before| before.key == key),
        Some(Err(_)) | None => true,
    }
}
