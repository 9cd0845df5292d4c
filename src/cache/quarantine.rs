//! Entries that hold something else than their keys say, or that could not be read.
//!
//! Entries never change, so an entry that was found damaged is neither confirmed nor taken for
//! existing for as long as this process lives. What replaces it has another key, or the same one
//! after the damaged entry was deleted; either way the record here goes when the new one is confirmed.

use std::{collections::HashMap, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{actions::Identity, digest::Digest};

/// Entries that are kept at once; each was a failed build or a warning.
const MAX_ENTRIES: usize = 10_000;

/// How long an entry that could not be read is not used again. It may be whole and its
/// service down, so this ends by itself; long enough that the build which failed over it can be
/// run again.
const UNREADABLE_FOR: Duration = Duration::from_mins(10);

/// What is wrong with the entry of a blob.
#[derive(Debug)]
struct Quarantined {
    /// The entry's full key.
    key: String,
    /// When it may be confirmed again; never if it is damaged.
    until: Option<Instant>,
    /// Somebody repairs the cache already.
    repairing: bool,
}

impl Quarantined {
    fn is_damaged(&self) -> bool {
        self.until.is_none()
    }
}

/// The entries that the process does not use.
#[derive(Debug, Default)]
pub(super) struct Quarantine(Mutex<HashMap<(Identity, Digest), Quarantined>>);

impl Quarantine {
    /// The entry `key` was read and is damaged.
    pub fn add(&self, identity: &Identity, digest: Digest, key: &str) {
        self.insert(identity, digest, key, None);
    }

    /// The entry `key` could not be read although it was confirmed.
    pub fn unreadable(&self, identity: &Identity, digest: Digest, key: &str) {
        self.insert(identity, digest, key, Some(Instant::now() + UNREADABLE_FOR));
    }

    fn insert(&self, identity: &Identity, digest: Digest, key: &str, until: Option<Instant>) {
        let mut entries = self.0.lock();
        if let Some(entry) = entries.get(&(identity.clone(), digest))
            && entry.key == key
            && entry.is_damaged()
        {
            return;
        }
        let now = Instant::now();
        if entries.len() >= MAX_ENTRIES {
            entries.retain(|_, entry| entry.until.is_none_or(|until| now < until));
        }
        if entries.len() < MAX_ENTRIES {
            let entry = Quarantined {
                key: key.to_owned(),
                until,
                repairing: false,
            };
            entries.insert((identity.clone(), digest), entry);
        }
    }

    /// Whether the entry `key` must not be used.
    pub fn holds(&self, identity: &Identity, digest: Digest, key: &str) -> bool {
        let entries = self.0.lock();
        let entry = entries.get(&(identity.clone(), digest));
        entry.is_some_and(|entry| {
            entry.key == key && entry.until.is_none_or(|until| Instant::now() < until)
        })
    }

    /// The key of the damaged entry of a blob that is to be replaced.
    pub fn damaged_key(&self, identity: &Identity, digest: Digest) -> Option<String> {
        let entries = self.0.lock();
        let entry = entries.get(&(identity.clone(), digest))?;
        entry.is_damaged().then(|| entry.key.clone())
    }

    /// True for the first who asks after the blob was found damaged.
    pub fn begin_repair(&self, identity: &Identity, digest: Digest) -> bool {
        let mut entries = self.0.lock();
        let entry = entries.get_mut(&(identity.clone(), digest));
        entry.is_some_and(|entry| {
            entry.is_damaged() && !std::mem::replace(&mut entry.repairing, true)
        })
    }

    /// The damaged entry is gone or has been replaced.
    pub fn release(&self, identity: &Identity, digest: Digest) {
        self.0.lock().remove(&(identity.clone(), digest));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn damage_stays_until_it_is_replaced_and_an_unreadable_entry_is_tried_again() {
        let quarantine = Quarantine::default();
        let (one, other) = (Identity("one".into()), Identity("other".into()));
        let digest = Digest::sha256("layer");
        quarantine.unreadable(&one, digest, "k");
        assert!(quarantine.holds(&one, digest, "k") && !quarantine.holds(&other, digest, "k"));
        assert_eq!(
            quarantine.damaged_key(&one, digest),
            None,
            "it may be whole"
        );
        assert!(!quarantine.begin_repair(&one, digest));
        tokio::time::advance(UNREADABLE_FOR).await;
        assert!(!quarantine.holds(&one, digest, "k"));

        quarantine.add(&one, digest, "k");
        quarantine.unreadable(&one, digest, "k");
        tokio::time::advance(UNREADABLE_FOR).await;
        assert!(quarantine.holds(&one, digest, "k"));
        assert!(!quarantine.holds(&one, digest, "k#1"), "another entry");
        assert_eq!(quarantine.damaged_key(&one, digest).as_deref(), Some("k"));
        assert!(quarantine.begin_repair(&one, digest));
        assert!(!quarantine.begin_repair(&one, digest), "one is enough");
        quarantine.release(&one, digest);
        assert!(!quarantine.holds(&one, digest, "k"));
    }
}
