//! Layers that are fetched and verified before they are promised (`import-verify=full`), so that
//! every fault is a miss.

use std::sync::atomic::Ordering;

use super::{
    Core,
    confirm::{ConfirmedLayer, Unavailable},
};
use crate::{
    cache::{blob::Blob, report::Event, unpack},
    digest::Digest,
};

/// Layers that are verified before they are promised stay in the spool until they are pulled: they
/// may have one part in so many of it, so that other pulls have room whatever waits there.
const VERIFIED_SHARE: u64 = 2;

impl Core {
    /// Fetches a layer before it is promised, as long as there is room to keep it.
    pub(super) async fn verified(
        &self,
        digest: Digest,
        promised: ConfirmedLayer,
    ) -> Result<ConfirmedLayer, Unavailable> {
        if let Some(blob) = promised.kept.peek() {
            self.check_diff_id(digest, &blob).await?;
            return Ok(promised);
        }
        let imports = &self.cache.imports;
        if imports.used().saturating_add(promised.size) > imports.capacity() / VERIFIED_SHARE {
            self.tell_of_room(digest, promised.size);
            return Ok(promised);
        }
        let blob = self.download(digest, &promised).await;
        let blob = blob.map_err(Unavailable::Unverified)?;
        self.check_diff_id(digest, &blob).await?;
        promised.kept.put(blob);
        Ok(promised)
    }

    /// A blob may be what its digest says and not what the index says of it: buildkitd would unpack
    /// it without a look.
    async fn check_diff_id(&self, digest: Digest, blob: &Blob) -> Result<(), Unavailable> {
        let unpacked = unpack::diff_id(blob)
            .await
            .map_err(Unavailable::Misdescribed)?;
        let mut said = self.recorded(digest).map(|layer| layer.diff_id);
        match said.find(|diff_id| *diff_id != unpacked) {
            None => Ok(()),
            Some(said) => Err(Unavailable::Misdescribed(format!(
                "it unpacks to {unpacked}, and the index says {said}"
            ))),
        }
    }

    fn tell_of_room(&self, digest: Digest, size: u64) {
        if !self.promises.told_of_room.swap(true, Ordering::Relaxed) {
            self.reporter.report(Event::Note(format!(
                "import-verify=full: no room in the import spool to keep {digest} ({size} bytes) \
                 and maybe others; they are probed instead"
            )));
        }
    }
}
