//! What the REST API lists: proof of many blobs in one call, where a token for it was given.
//!
//! One listing serves all jobs of a build. A row proves what a lookup would, but does not touch the
//! entry: one that nobody has read for long is about to be evicted, and is looked up as well.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

use super::quarantine::Quarantine;
use crate::{
    actions::{Client, Identity},
    digest::Digest,
    lifecycle::{TaskGuard, Tasks},
    protocol::{key, key::BlobKey, rest},
};

/// A listing that is no older serves another job too: those of one build begin together.
const SHARED_FOR: Duration = Duration::from_mins(1);

/// How long a layer waits for the listing before it is looked up instead. BuildKit's slots wait
/// meanwhile, which are for all builds.
const LISTING_WAIT: Duration = Duration::from_secs(1);

/// An entry lives for 7 days after it was last read.
const FRESH: SignedDuration = SignedDuration::from_hours(5 * 24);

/// How long one listing may take: a page takes well below a second.
const LISTING_TIME: Duration = Duration::from_secs(30);

/// An entry that holds a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub key: String,
    pub size: u64,
}

type Rows = HashMap<Digest, Row>;

/// Blobs that are remembered as gone at once. Those that no listing can still name make room.
const MAX_GONE: usize = 10_000;

/// The blobs that a token can read.
pub(super) struct Listing {
    identity: Identity,
    begun: Instant,
    rows: watch::Receiver<Option<Rows>>,
    _task: TaskGuard,
}

/// The listings of the process.
pub(super) struct Listings {
    /// For how long a listing is a proof.
    age: Duration,
    newest: Mutex<HashMap<Identity, Arc<Listing>>>,
    /// Blobs that were looked for in vain, or of which this process has deleted an entry, and when.
    gone: Mutex<HashMap<(Identity, Digest), Instant>>,
}

impl Listings {
    /// Listings that count for `age`.
    pub fn new(age: Duration) -> Self {
        Self {
            age,
            newest: Mutex::default(),
            gone: Mutex::default(),
        }
    }

    /// The listing for this client: one that has just begun, else a new one. `None` if there is no
    /// REST API.
    pub fn newest_or_begin(
        &self,
        client: &Client,
        version: &str,
        tasks: &Tasks,
    ) -> Option<Arc<Listing>> {
        if !client.has_rest() {
            return None;
        }
        let mut newest = self.newest.lock();
        newest.retain(|_, listing| listing.begun.elapsed() <= SHARED_FOR);
        let begin = || Arc::new(Listing::begin(client, version, tasks));
        let listing = newest.entry(client.identity().clone());
        Some(Arc::clone(listing.or_insert_with(begin)))
    }

    /// This blob is not there, or not to be relied on: what was listed before is no proof of it.
    pub fn forget(&self, identity: &Identity, digest: Digest) {
        let mut gone = self.gone.lock();
        if gone.len() >= MAX_GONE {
            gone.retain(|_, at| at.elapsed() <= self.age);
        }
        if gone.len() < MAX_GONE {
            gone.insert((identity.clone(), digest), Instant::now());
        }
    }

    fn is_gone(&self, identity: &Identity, digest: Digest, since: Instant) -> bool {
        let gone = self.gone.lock();
        let at = gone.get(&(identity.clone(), digest));
        at.is_some_and(|at| *at >= since)
    }
}

impl Listing {
    fn begin(client: &Client, version: &str, tasks: &Tasks) -> Self {
        let (sender, rows) = watch::channel(None);
        let begun = Instant::now();
        let identity = client.identity().clone();
        let client = client.with_deadline(begun + LISTING_TIME);
        let version = version.to_owned();
        let task = tasks.spawn_guarded("list entries", async move {
            let listed = client.list(key::BLOB_PREFIX).await;
            let listed = listed.inspect_err(|error| {
                tracing::warn!(%error, "entries are looked up one by one instead of listed");
            });
            let scopes = client.token().readable();
            let scopes = scopes.map(|scope| scope.name.as_str()).collect();
            let rows = readable(listed.unwrap_or_default(), &version, &scopes);
            sender.send_replace(Some(rows));
        });
        Self {
            identity,
            begun,
            rows,
            _task: task,
        }
    }

    /// When it was asked for. What it says is as old as that.
    pub fn asked_at(&self) -> Instant {
        self.begun
    }

    /// The entry of a blob, if the listing has it, is no older than a proof may be, and the entry
    /// is not known to be damaged or gone.
    pub async fn row(
        &self,
        listings: &Listings,
        quarantine: &Quarantine,
        digest: Digest,
    ) -> Option<Row> {
        if self.begun.elapsed() > listings.age {
            return None;
        }
        let mut rows = self.rows.clone();
        let listed = timeout(LISTING_WAIT, rows.wait_for(Option::is_some)).await;
        let row = listed.ok()?.ok()?.as_ref()?.get(&digest).cloned()?;
        let unusable = quarantine.holds(&self.identity, digest, &row.key)
            || listings.is_gone(&self.identity, digest, self.begun);
        (!unusable).then_some(row)
    }
}

/// The blobs among the rows that a token with these scopes can read, each with its newest entry.
fn readable(listed: Vec<rest::Cache>, version: &str, scopes: &HashSet<&str>) -> Rows {
    let oldest = Timestamp::now() - FRESH;
    let mut rows = Rows::new();
    for row in listed {
        let usable = row.version == version
            && scopes.contains(row.git_ref.as_str())
            && row.last_accessed_at >= oldest;
        let Some(digest) = BlobKey::parse_digest(&row.key).filter(|_| usable) else {
            continue;
        };
        let number = |key: &str| BlobKey::new(digest).number(key);
        let found = Row {
            key: row.key,
            size: row.size_in_bytes,
        };
        let kept = rows.entry(digest).or_insert_with(|| found.clone());
        // What has taken an entry's place has a higher number.
        if number(&found.key) > number(&kept.key) {
            *kept = found;
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(key: &str, git_ref: &str, days: i64) -> rest::Cache {
        let now = Timestamp::now();
        rest::Cache {
            id: 1,
            git_ref: git_ref.to_owned(),
            key: key.to_owned(),
            version: "v".to_owned(),
            last_accessed_at: now - SignedDuration::from_hours(24 * days),
            created_at: now,
            size_in_bytes: 7,
        }
    }

    #[test]
    fn a_row_counts_if_a_lookup_would_find_it_and_it_is_not_about_to_go() {
        let digests = ["a", "b", "c", "d"].map(Digest::sha256);
        let key = |n: usize| BlobKey::new(digests[n]).entry(0);
        let mut other = cache(&key(3), "main", 0);
        other.version = "w".to_owned();
        let listed = vec![
            cache(&key(0), "main", 0),
            cache(&BlobKey::new(digests[0]).entry(2), "main", 0),
            cache(&BlobKey::new(digests[0]).entry(1), "main", 0),
            cache(&key(1), "elsewhere", 0),
            cache(&key(2), "main", 6),
            cache("index-x-1-y#1", "main", 0),
            other,
        ];
        let rows = readable(listed, "v", &HashSet::from(["main"]));
        let expected = Row {
            key: BlobKey::new(digests[0]).entry(2),
            size: 7,
        };
        assert_eq!(rows, Rows::from([(digests[0], expected)]));
    }
}
