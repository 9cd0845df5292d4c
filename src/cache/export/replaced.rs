//! Says when an index takes the place of one that names other layers.
//!
//! The newest index counts and is not merged with older ones. Where another export has written it
//! while this build ran, both are in use and one of them is lost: that is worth a warning. Where it is
//! older than the build, it is most likely what the last build has left.

use std::collections::HashSet;

use super::{Core, LatestIndex, latest_index::PreviousIndex};
use crate::{
    actions::Client,
    cache::{index, index_format::CacheConfig, report::Event},
    digest::Digest,
};

impl Core {
    /// Tells what of the index whose place was taken is not in the new one, which was `written` after
    /// `older` had been read.
    pub(super) async fn tell_of_replaced(
        &self,
        client: &Client,
        older: Option<&PreviousIndex>,
        kept: &CacheConfig,
        written: &str,
    ) {
        if let Some(key) = self.stepped_over(older, written) {
            return self.tell_of_other(client, kept, &key).await;
        }
        let Some(older) = older else { return };
        let lost = missing(older, kept);
        if lost == 0 {
            return;
        }
        if was_there(&self.known, &older.key).await {
            self.tell(Event::Note(replaces(&older.key, lost)));
        } else {
            self.warn_of_other(&older.key, lost);
        }
    }

    /// The number before that of the index that was written, if another export had taken it.
    fn stepped_over(&self, older: Option<&PreviousIndex>, written: &str) -> Option<String> {
        if self.lane.cannot_read_own_scope() {
            return None;
        }
        let index = &self.lane.index;
        let newest = older.and_then(|older| index.number(&older.key));
        let before = index.number(written)?.checked_sub(1)?;
        (before > newest.unwrap_or(0)).then(|| index.entry(before))
    }

    /// Tells of an export that has taken a number meanwhile. It may have died there, too.
    async fn tell_of_other(&self, client: &Client, kept: &CacheConfig, key: &str) {
        match index::exact(client, key, &self.lane.version).await {
            Ok(Some(newest)) => {
                let other = PreviousIndex::of(&self.lane, client, newest).await;
                let lost = missing(&other, kept);
                if lost > 0 {
                    self.warn_of_other(key, lost);
                }
            }
            Ok(None) | Err(_) => self.tell(Event::Note(format!(
                "another export has reserved the index {key} and not finished it: if it still does, \
                 it takes the place of this one"
            ))),
        }
    }

    fn warn_of_other(&self, key: &str, lost: usize) {
        let detail = "another export wrote it while this build ran; of exports to one scope the last \
                      index counts: give each its own scope=";
        self.tell(Event::Warning {
            short: format!("cache export: {}", replaces(key, lost)),
            detail: vec![detail.to_owned()],
        });
    }
}

fn replaces(key: &str, lost: usize) -> String {
    let layers = match lost {
        1 => "1 layer of it is".to_owned(),
        _ => format!("{lost} layers of it are"),
    };
    format!("replaces the index {key}, {layers} not in this one")
}

/// How many layers of the older index the new one has not.
fn missing(older: &PreviousIndex, kept: &CacheConfig) -> usize {
    let named: HashSet<Digest> = kept.layers.iter().map(|layer| layer.blob).collect();
    let layers = older.layers.keys();
    layers.filter(|layer| !named.contains(layer)).count()
}

/// Whether the index was the newest one when the build began, as far as that could be read.
async fn was_there(known: &LatestIndex, key: &str) -> bool {
    let known = known.outcome().await;
    match known {
        Some(Ok(before)) => before.is_some_and(|before| before.key == key),
        Some(Err(_)) | None => true,
    }
}
