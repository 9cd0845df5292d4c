//! `verify`: downloads every layer that indexes name, and checks its digest.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    sync::atomic::{AtomicU64, Ordering},
};

use futures_util::{StreamExt as _, stream};
use serde::Serialize;

use super::{
    content::UnreadableIndex,
    download,
    filter::Filter,
    listing::ListError,
    output::Document,
    progress::Progress,
    remote::Remote,
    snapshot::{Index, Snapshot, unread_note},
    table::{Table, short},
};
use crate::{
    actions::{Client, Error, Kind},
    digest::Digest,
    protocol::key::{self, BlobKey},
    units::human,
};

/// Layers that are downloaded side by side: as many as BuildKit pulls at once.
const PARALLEL: usize = 4;

/// What came of a verification.
#[derive(Debug, Serialize)]
pub struct Verified {
    /// `owner/repo`.
    pub repository: String,
    /// How many indexes were read.
    pub indexes: usize,
    /// How many layers they name, each counted once.
    pub layers: usize,
    /// How many of these are what their digest says.
    pub intact: usize,
    /// How many bytes were downloaded.
    pub bytes: u64,
    /// All that is wrong.
    pub problems: Vec<Problem>,
    /// What is not known, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// What is wrong with one layer or index.
#[derive(Debug, Clone, Serialize)]
pub struct Problem {
    /// What kind of problem it is.
    pub kind: ProblemKind,
    /// The layer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// The key of its entry, or of the index.
    pub key: String,
    /// The scopes whose indexes name it.
    pub scopes: BTreeSet<String>,
    /// What was found.
    pub detail: String,
}

/// The kinds of problems.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemKind {
    /// There is no entry: the next build runs the step again and stores the layer.
    Missing,
    /// Its bytes are not what its digest says.
    Damaged,
    /// The service did not give it.
    Unreadable,
}

impl ProblemKind {
    fn text(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Damaged => "damaged",
            Self::Unreadable => "unreadable",
        }
    }
}

impl Verified {
    /// True if nothing is wrong.
    pub fn is_intact(&self) -> bool {
        self.problems.is_empty()
    }
}

/// A layer, as all indexes together say.
#[derive(Default)]
struct Layer {
    scopes: BTreeSet<String>,
    sizes: BTreeSet<u64>,
}

/// Verifies the newest indexes that the filter takes.
pub async fn verify(remote: &Remote, filter: &Filter) -> Result<Verified, ListError> {
    let snapshot = Snapshot::take(remote, |index| {
        index.superseded_at.is_none() && filter.takes_index(index)
    })
    .await?;
    let indexes: Vec<_> = (snapshot.newest())
        .filter(|index| filter.takes_index(&index.entry))
        .collect();
    let mut problems: Vec<_> = indexes.iter().filter_map(|index| unread(index)).collect();
    let layers = layers(&indexes);
    let mut verified = Verified {
        repository: remote.repository.clone(),
        indexes: indexes.iter().filter(|i| i.summary().is_some()).count(),
        layers: layers.len(),
        intact: 0,
        bytes: 0,
        problems: Vec::new(),
        notes: unread_note(&snapshot).into_iter().collect(),
    };
    if let Ok(client) = &remote.content {
        let checked = check_all(client, &layers, &remote.progress, &mut verified.bytes).await;
        verified.intact = layers.len() - checked.len();
        problems.extend(checked);
    }
    remote.progress.clear();
    verified.problems = problems;
    Ok(verified)
}

/// An index that should be readable and is not. That one token does not read another ref is no fault.
fn unread(index: &Index) -> Option<Problem> {
    let reason = index.unread()?;
    let kind = match reason {
        UnreadableIndex::NoContent(_)
        | UnreadableIndex::OtherRef(_)
        | UnreadableIndex::Shadowed(_) => {
            return None;
        }
        UnreadableIndex::NotFound => ProblemKind::Missing,
        UnreadableIndex::Remote(_) => ProblemKind::Unreadable,
        UnreadableIndex::Invalid(_) => ProblemKind::Damaged,
    };
    Some(Problem {
        kind,
        digest: None,
        key: index.entry.row.key.clone(),
        scopes: BTreeSet::from([index.entry.name.scope.clone()]),
        detail: reason.to_string(),
    })
}

fn layers(indexes: &[&Index]) -> BTreeMap<Digest, Layer> {
    let mut layers: BTreeMap<Digest, Layer> = BTreeMap::new();
    for index in indexes {
        for (digest, size) in index.summary().into_iter().flat_map(|s| &s.layers) {
            let layer = layers.entry(*digest).or_default();
            layer.scopes.insert(index.entry.name.scope.clone());
            layer.sizes.extend((*size > 0).then_some(*size));
        }
    }
    layers
}

async fn check_all(
    client: &Client,
    layers: &BTreeMap<Digest, Layer>,
    progress: &Progress,
    bytes: &mut u64,
) -> Vec<Problem> {
    let sizes = layers.values().filter_map(|layer| layer.sizes.last());
    let total: u64 = sizes.sum();
    let read = AtomicU64::new(0);
    let checks = layers.iter().map(|(digest, layer)| {
        let on_bytes = |more: u64| {
            let done = read.fetch_add(more, Ordering::Relaxed) + more;
            progress.bytes("verifying", &short(digest), done, total);
        };
        async move {
            let outcome = check(client, *digest, layer, on_bytes).await;
            outcome.err().map(|fault| Problem {
                kind: fault.kind,
                digest: Some(*digest),
                key: fault.key,
                scopes: layer.scopes.clone(),
                detail: fault.detail,
            })
        }
    });
    let mut checks = stream::iter(checks).buffer_unordered(PARALLEL);
    let mut problems = Vec::new();
    while let Some(problem) = checks.next().await {
        problems.extend(problem);
    }
    drop(checks);
    *bytes = read.into_inner();
    problems.sort_by_key(|problem| problem.digest);
    problems
}

/// What is wrong with a layer.
struct Fault {
    kind: ProblemKind,
    key: String,
    detail: String,
}

async fn check(
    client: &Client,
    digest: Digest,
    layer: &Layer,
    read: impl Fn(u64),
) -> Result<(), Fault> {
    let keys = BlobKey::new(digest);
    let fault = |kind, key: &str, detail: String| Fault {
        kind,
        key: key.to_owned(),
        detail,
    };
    let failed = |key: &str, error: &Error| {
        let about_the_entry = matches!(
            error.kind,
            Kind::NotFound | Kind::Rejected(_) | Kind::Protocol | Kind::Incomplete
        );
        let kind = if about_the_entry {
            ProblemKind::Damaged
        } else {
            ProblemKind::Unreadable
        };
        fault(kind, key, error.to_string())
    };
    let [numbered, plain] = keys.preference();
    let found = client
        .lookup_first(&[&numbered, &plain], &key::version())
        .await
        .map_err(|error| failed(&plain, &error))?;
    let Some(entry) = found.filter(|entry| keys.number(&entry.key).is_some()) else {
        return Err(fault(
            ProblemKind::Missing,
            &plain,
            "there is no entry".to_owned(),
        ));
    };
    let key = entry.key.as_str();
    let probe = client.probe(&entry, 1).await;
    let size = probe.map_err(|error| failed(key, &error))?.total;
    if let Some(expected) = layer.sizes.iter().find(|expected| **expected != size) {
        let detail = format!("the entry has {size} bytes, and the index says {expected}");
        return Err(fault(ProblemKind::Damaged, key, detail));
    }
    let actual = download::digest(client, &entry, size, read).await;
    let actual = actual.map_err(|error| failed(key, &error))?;
    if actual != digest {
        let detail = format!("its content is {actual}");
        return Err(fault(ProblemKind::Damaged, key, detail));
    }
    Ok(())
}

impl Document for Verified {
    fn table(&self) -> String {
        let mut text = String::new();
        if !self.problems.is_empty() {
            let mut table = Table::new(&["PROBLEM", "ENTRY", "SCOPES", "WHAT WAS FOUND"]);
            for problem in &self.problems {
                let scopes: Vec<_> = problem.scopes.iter().map(String::as_str).collect();
                table.row([
                    problem.kind.text().to_owned(),
                    problem.key.clone(),
                    scopes.join(","),
                    problem.detail.clone(),
                ]);
            }
            text = table.render() + "\n";
        }
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "Indexes:    {}\nLayers:     {}\nIntact:     {}\nDownloaded: {}",
            self.indexes,
            self.layers,
            self.intact,
            human::size(self.bytes)
        );
        text
    }

    fn notes(&self) -> &[String] {
        &self.notes
    }
}
