//! A look at the entry of one layer.

use super::context::ExportContext;
use crate::{
    actions::{Client, Error},
    cache::{layer_size, lookup},
    digest::Digest,
};

/// What a look at a layer's entry has shown.
pub(super) enum EntryState {
    /// It can be read and has the right size.
    Whole,
    /// The entry with this key is damaged.
    Damaged(String),
    /// There is none.
    Missing,
}

/// Looks at the entry of one layer.
pub(super) struct EntryCheck<'a> {
    pub context: &'a ExportContext,
    pub client: &'a Client,
    pub digest: Digest,
    /// The size of the layer, where it is known.
    pub size: Option<u64>,
}

impl EntryCheck<'_> {
    /// Looks once, and once more where the entry has a wrong size: that counts when a URL of its own
    /// shows it again, since a proxy may have answered with a page of its own.
    pub async fn look(&self) -> Result<EntryState, Error> {
        let mut state = self.look_once().await?;
        if self.is_new_damage(&state) {
            state = self.look_once().await?;
        }
        if let EntryState::Damaged(key) = &state
            && self.is_new_damage(&state)
        {
            tracing::warn!(digest = %self.digest, key, "an entry is damaged");
            self.context.blobs.add_damaged(self.digest, key);
        }
        Ok(state)
    }

    /// True for damage that nobody has found before.
    fn is_new_damage(&self, state: &EntryState) -> bool {
        matches!(state, EntryState::Damaged(key) if self.quarantined_key().as_ref() != Some(key))
    }

    async fn look_once(&self) -> Result<EntryState, Error> {
        let version = &self.context.version;
        let Some(entry) = lookup::blob(self.client, self.digest, version).await? else {
            return Ok(EntryState::Missing);
        };
        if self.quarantined_key().as_ref() == Some(&entry.key) {
            return Ok(EntryState::Damaged(entry.key));
        }
        let actual = self.client.probe(&entry, 1).await?.total;
        Ok(if layer_size::matches(self.size, actual) {
            EntryState::Whole
        } else {
            EntryState::Damaged(entry.key)
        })
    }

    fn quarantined_key(&self) -> Option<String> {
        self.context.blobs.damaged_key(self.digest)
    }
}
