//! Reads one byte of what live indexes name: GitHub removes what nobody has read for a week, and a read of a
//! range counts.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;
use serde::Serialize;

use super::{entries::last_used, remote::Remote, snapshot::Snapshot};
use crate::{
    actions::{Client, Error},
    digest::Digest,
    protocol::key::{self, BlobKey},
};

/// What was read less than this ago is not about to go, and costs no calls.
const FRESH: Duration = Duration::from_hours(24);

/// Layers that are read side by side: each takes two short calls.
const PARALLEL: usize = 8;

/// What was read so that it stays.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct KeptAlive {
    /// Layers of which a byte was read.
    pub read: usize,
    /// Layers that were read less than a day ago, and were left alone.
    pub fresh: usize,
    /// Layers that are not there.
    pub gone: usize,
    /// Layers that could not be read.
    pub failed: usize,
}

impl KeptAlive {
    pub(super) fn text(&self) -> String {
        let Self {
            read,
            fresh,
            gone,
            failed,
        } = self;
        format!(
            "Kept alive: {read} layers read, {fresh} read less than a day ago, {gone} gone, {failed} failed"
        )
    }
}

/// Reads what the newest indexes name, but for those in `goes`.
pub(super) async fn run(remote: &Remote, snapshot: &Snapshot, goes: &HashSet<usize>) -> KeptAlive {
    let mut kept = KeptAlive::default();
    let (stale, fresh) = layers(snapshot, goes);
    kept.fresh = fresh;
    let Ok(client) = &remote.content else {
        kept.failed = stale.len();
        return kept;
    };
    let total = stale.len() as u64;
    let reads = stale.into_iter().map(|digest| read(client, digest));
    let mut reads = stream::iter(reads).buffer_unordered(PARALLEL);
    let mut done = 0;
    while let Some(outcome) = reads.next().await {
        match outcome {
            Ok(true) => kept.read += 1,
            Ok(false) => kept.gone += 1,
            Err(error) => {
                tracing::warn!(%error, "a layer could not be read");
                kept.failed += 1;
            }
        }
        done += 1;
        remote.progress.count("keeping alive", done, total);
    }
    remote.progress.clear();
    kept
}

/// The layers to be read, in order, and how many need not be.
fn layers(snapshot: &Snapshot, goes: &HashSet<usize>) -> (Vec<Digest>, usize) {
    let mut read_at: HashMap<Digest, Timestamp> = HashMap::new();
    for blob in &snapshot.blobs {
        let at = last_used(&blob.row);
        let newest = read_at.entry(blob.digest).or_insert(at);
        *newest = at.max(*newest);
    }
    let indexes = snapshot.indexes.iter().enumerate();
    let indexes = indexes.filter(|(at, index)| index.is_newest() && !goes.contains(at));
    let named = indexes.filter_map(|(_, index)| index.summary());
    let named: HashSet<_> = named.flat_map(|summary| summary.layers.keys()).collect();
    let is_fresh = |digest: &Digest| {
        let age = read_at
            .get(digest)
            .map(|at| snapshot.taken.duration_since(*at));
        age.is_some_and(|age| {
            Duration::try_from(age).is_ok_and(|age| age < FRESH) || age.is_negative()
        })
    };
    let (fresh, mut stale): (Vec<_>, Vec<_>) = named.into_iter().copied().partition(is_fresh);
    stale.sort_unstable();
    (stale, fresh.len())
}

/// False if it is not there.
async fn read(client: &Client, digest: Digest) -> Result<bool, Error> {
    let keys = BlobKey::new(digest);
    let [numbered, plain] = keys.preference();
    let found = client
        .lookup_first(&[&numbered, &plain], &key::version())
        .await?;
    let Some(entry) = found.filter(|entry| keys.number(&entry.key).is_some()) else {
        return Ok(false);
    };
    client.probe(&entry, 1).await?;
    Ok(true)
}
