//! `du`: how much of the cache is for what.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::{
    listing::ListError,
    liveness::{LiveSet, Liveness, replaced},
    output::Document,
    remote::Remote,
    snapshot::{Snapshot, notes},
    table::Table,
};
use crate::{digest::Digest, units::human};

/// How much of the cache is for what.
#[derive(Debug, Clone, Serialize)]
pub struct Usage {
    /// `owner/repo`.
    pub repository: String,
    /// Of each scope, in order.
    pub scopes: Vec<ScopeUsage>,
    /// Of each ref, in order.
    pub refs: Vec<RefUsage>,
    /// Of all.
    pub total: Sizes,
    /// What is not known, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// What the newest indexes of one scope, in all refs, name.
#[derive(Debug, Clone, Serialize)]
pub struct ScopeUsage {
    /// The attribute `scope`.
    pub scope: String,
    /// How many indexes, one for each ref.
    pub indexes: usize,
    /// How many of them could not be read.
    pub indexes_unread: usize,
    /// How many layers they name that are there.
    pub layers: usize,
    /// The bytes of the entries of these.
    pub size: u64,
    /// As many of them belong to another scope as well.
    pub shared: u64,
}

/// The entries of one ref.
#[derive(Debug, Clone, Serialize)]
pub struct RefUsage {
    /// The branch, tag or pull request.
    #[serde(rename = "ref")]
    pub git_ref: String,
    /// Their bytes.
    #[serde(flatten)]
    pub sizes: Sizes,
}

/// Bytes of entries.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Sizes {
    /// How many entries.
    pub entries: usize,
    /// Bytes in all.
    pub size: u64,
    /// Bytes of the newest indexes and of what they name.
    pub live: u64,
    /// Bytes that an index may name that could not be read.
    pub unknown: u64,
    /// Bytes that nothing needs: a prune removes them when they are old enough.
    pub reclaimable: u64,
}

impl Sizes {
    fn add(&mut self, size: u64, liveness: Liveness) {
        self.entries += 1;
        self.size += size;
        *match liveness {
            Liveness::Named => &mut self.live,
            Liveness::Unknown => &mut self.unknown,
            Liveness::Dead => &mut self.reclaimable,
        } += size;
    }
}

/// Measures.
pub async fn usage(remote: &Remote) -> Result<Usage, ListError> {
    let snapshot = Snapshot::take(remote, |index| index.superseded_at.is_none()).await?;
    let (total, refs) = sizes(&snapshot);
    Ok(Usage {
        repository: remote.repository.clone(),
        scopes: scopes(&snapshot),
        refs,
        total,
        notes: notes(remote, &snapshot),
    })
}

fn sizes(snapshot: &Snapshot) -> (Sizes, Vec<RefUsage>) {
    let needed = LiveSet::from_indexes(snapshot.newest(), snapshot.hidden);
    let replaced = replaced(&snapshot.blobs);
    let indexes = snapshot.indexes.iter().map(|index| {
        let live = index.is_newest();
        let liveness = if live {
            Liveness::Named
        } else {
            Liveness::Dead
        };
        (&index.entry.row, liveness)
    });
    let blobs = snapshot.blobs.iter().map(|blob| {
        let gone = replaced.contains(&blob.row.id);
        let liveness = if gone {
            Liveness::Dead
        } else {
            needed.liveness(blob)
        };
        (&blob.row, liveness)
    });
    let mut total = Sizes::default();
    let mut refs: BTreeMap<&str, Sizes> = BTreeMap::new();
    for (row, liveness) in indexes.chain(blobs) {
        total.add(row.size_in_bytes, liveness);
        let of_ref = refs.entry(&row.git_ref).or_default();
        of_ref.add(row.size_in_bytes, liveness);
    }
    let of_ref = |(git_ref, sizes): (&str, Sizes)| RefUsage {
        git_ref: git_ref.to_owned(),
        sizes,
    };
    (total, refs.into_iter().map(of_ref).collect())
}

fn scopes(snapshot: &Snapshot) -> Vec<ScopeUsage> {
    let mut stored: HashMap<Digest, u64> = HashMap::new();
    for blob in &snapshot.blobs {
        *stored.entry(blob.digest).or_default() += blob.row.size_in_bytes;
    }
    let mut named: BTreeMap<&str, (usize, usize, HashMap<Digest, u64>)> = BTreeMap::new();
    for index in snapshot.newest() {
        let (indexes, unread, layers) = named.entry(&index.entry.name.scope).or_default();
        *indexes += 1;
        match index.summary() {
            None => *unread += 1,
            Some(summary) => layers.extend(
                summary
                    .layers
                    .keys()
                    .filter_map(|digest| Some((*digest, *stored.get(digest)?))),
            ),
        }
    }
    let mut owners: HashMap<Digest, usize> = HashMap::new();
    for digest in named.values().flat_map(|(_, _, layers)| layers.keys()) {
        *owners.entry(*digest).or_default() += 1;
    }
    let usage =
        |(scope, (indexes, indexes_unread, layers)): (&str, (_, _, HashMap<Digest, u64>))| {
            let shared = layers.iter().filter(|(digest, _)| owners[*digest] > 1);
            ScopeUsage {
                scope: scope.to_owned(),
                indexes,
                indexes_unread,
                layers: layers.len(),
                size: layers.values().sum(),
                shared: shared.map(|(_, size)| size).sum(),
            }
        };
    named.into_iter().map(usage).collect()
}

impl Document for Usage {
    fn table(&self) -> String {
        let mut scopes = Table::new(&["SCOPE", "INDEXES", "LAYERS", "SIZE", "SHARED"]);
        for scope in &self.scopes {
            scopes.row([
                scope.scope.clone(),
                scope.indexes.to_string(),
                scope.layers.to_string(),
                human::size(scope.size),
                human::size(scope.shared),
            ]);
        }
        let head = ["REF", "ENTRIES", "SIZE", "LIVE", "UNKNOWN", "RECLAIMABLE"];
        let mut refs = Table::new(&head);
        for of_ref in &self.refs {
            refs.row([
                of_ref.git_ref.clone(),
                of_ref.sizes.entries.to_string(),
                human::size(of_ref.sizes.size),
                human::size(of_ref.sizes.live),
                human::size(of_ref.sizes.unknown),
                human::size(of_ref.sizes.reclaimable),
            ]);
        }
        format!(
            "{}\n{}\nReclaimable:   {}\nTotal:         {}\n",
            scopes.render(),
            refs.render(),
            human::size(self.total.reclaimable),
            human::size(self.total.size),
        )
    }

    fn notes(&self) -> &[String] {
        &self.notes
    }
}
