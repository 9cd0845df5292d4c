//! The uploads of the process, so that exports of the same layer find one another.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;

use super::upload::{Share, Upload};
use crate::{
    actions::{Deadline, Identity},
    digest::Digest,
};

/// The uploads of the process that somebody waits for.
#[derive(Default)]
pub(in crate::cache) struct Uploads(Mutex<HashMap<(Identity, Digest), Weak<Upload>>>);

impl Uploads {
    /// How many are under way.
    pub fn count(&self) -> usize {
        let uploads = self.0.lock();
        uploads
            .values()
            .filter(|upload| upload.strong_count() > 0)
            .count()
    }

    /// A share in the upload of this blob, if one is under way or has just been confirmed.
    pub fn find(&self, identity: &Identity, digest: Digest, deadline: &Deadline) -> Option<Share> {
        let uploads = self.0.lock();
        let upload = uploads.get(&(identity.clone(), digest))?.upgrade()?;
        upload.join(deadline)
    }

    /// A share in the upload of this blob: the one under way, else the one that `begin` makes.
    pub(super) fn find_or_begin(
        &self,
        identity: &Identity,
        digest: Digest,
        deadline: &Deadline,
        begin: impl FnOnce() -> Share,
    ) -> Share {
        let mut uploads = self.0.lock();
        uploads.retain(|_, upload| upload.strong_count() > 0);
        let key = (identity.clone(), digest);
        let found = uploads.get(&key).and_then(Weak::upgrade);
        if let Some(share) = found.and_then(|upload| upload.join(deadline)) {
            return share;
        }
        let share = begin();
        uploads.insert(key, Arc::downgrade(&share.upload));
        share
    }
}
