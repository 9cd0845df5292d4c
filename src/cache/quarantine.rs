//! Entries that hold something else than their keys say, or that could not be read.
//!
//! Entries never change, so an entry that was found damaged is neither promised nor taken for
//! existing for as long as this process lives. What replaces it has another key, or the same one
//! after the damaged entry was deleted; either way the mark goes when the new one is confirmed.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::{actions::Identity, digest::Digest};

/// Marks that are kept at once; each was a failed build or a warning.
const MAX_MARKS: usize = 10_000;

/// How long an entry that could not be read is not promised again. It may be whole and its
/// service down, so this ends by itself; long enough that the build which failed over it can be
/// run again.
const UNREADABLE_FOR: Duration = Duration::from_mins(10);

/// What is wrong with the entry of a blob.
#[derive(Debug)]
struct Mark {
    /// The entry's full key.
    key: String,
    /// When it may be promised again; never if it is damaged.
    until: Option<Instant>,
    /// Somebody cleans the cache up already.
    healing: bool,
}

/// The marks of the process.
#[derive(Debug, Default)]
pub(super) struct Quarantine(Mutex<HashMap<(Identity, Digest), Mark>>);

impl Quarantine {
    /// The entry `key` was read and is damaged.
    pub fn add(&self, identity: &Identity, digest: Digest, key: &str) {
        self.mark(identity, digest, key, None);
    }

    /// The entry `key` could not be read although it was promised.
    pub fn unreadable(&self, identity: &Identity, digest: Digest, key: &str) {
        self.mark(identity, digest, key, Some(Instant::now() + UNREADABLE_FOR));
    }

    fn mark(&self, identity: &Identity, digest: Digest, key: &str, until: Option<Instant>) {
        let mut marks = self.lock();
        if let Some(mark) = marks.get(&(identity.clone(), digest))
            && mark.key == key
            && mark.until.is_none()
        {
            return;
        }
        let now = Instant::now();
        if marks.len() >= MAX_MARKS {
            marks.retain(|_, mark| mark.until.is_none_or(|until| now < until));
        }
        if marks.len() < MAX_MARKS {
            let mark = Mark {
                key: key.to_owned(),
                until,
                healing: false,
            };
            marks.insert((identity.clone(), digest), mark);
        }
    }

    /// Whether the entry `key` must not be promised.
    pub fn holds(&self, identity: &Identity, digest: Digest, key: &str) -> bool {
        let marks = self.lock();
        marks.get(&(identity.clone(), digest)).is_some_and(|mark| {
            mark.key == key && mark.until.is_none_or(|until| Instant::now() < until)
        })
    }

    /// The key of the damaged entry of a blob that is to be replaced.
    pub fn key(&self, identity: &Identity, digest: Digest) -> Option<String> {
        let marks = self.lock();
        let mark = marks.get(&(identity.clone(), digest))?;
        mark.until.is_none().then(|| mark.key.clone())
    }

    /// True for the first who asks after the blob was found damaged.
    pub fn begin_repair(&self, identity: &Identity, digest: Digest) -> bool {
        let mut marks = self.lock();
        marks
            .get_mut(&(identity.clone(), digest))
            .is_some_and(|mark| mark.until.is_none() && !std::mem::replace(&mut mark.healing, true))
    }

    /// The damaged entry is gone or has been replaced.
    pub fn release(&self, identity: &Identity, digest: Digest) {
        self.lock().remove(&(identity.clone(), digest));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(Identity, Digest), Mark>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn damage_stays_until_it_is_replaced_and_trouble_passes() {
        let damage = Quarantine::default();
        let (one, other) = (Identity("one".into()), Identity("other".into()));
        let digest = Digest::of("layer");
        damage.unreadable(&one, digest, "k");
        assert!(damage.holds(&one, digest, "k") && !damage.holds(&other, digest, "k"));
        assert_eq!(damage.key(&one, digest), None, "it may be whole");
        assert!(!damage.begin_repair(&one, digest));
        tokio::time::advance(UNREADABLE_FOR).await;
        assert!(!damage.holds(&one, digest, "k"));

        damage.add(&one, digest, "k");
        damage.unreadable(&one, digest, "k");
        tokio::time::advance(UNREADABLE_FOR).await;
        assert!(damage.holds(&one, digest, "k"));
        assert!(!damage.holds(&one, digest, "k#1"), "another entry");
        assert_eq!(damage.key(&one, digest).as_deref(), Some("k"));
        assert!(damage.begin_repair(&one, digest));
        assert!(!damage.begin_repair(&one, digest), "one is enough");
        damage.release(&one, digest);
        assert!(!damage.holds(&one, digest, "k"));
    }
}
