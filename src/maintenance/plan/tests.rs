use std::collections::HashMap;

use jiff::SignedDuration;

use super::*;
use crate::{
    digest::Digest,
    maintenance::{
        content::{IndexSummary, UnreadableIndex},
        entries::{
            IndexEntry,
            tests::{now, row},
        },
        filter::FilterArg,
    },
    protocol::key::{self, BlobKey},
};

const MAIN: &str = "refs/heads/main";
const PULL: &str = "refs/pull/7/merge";
const DAY: Duration = Duration::from_hours(24);

fn options() -> Options {
    Options {
        grace: DAY,
        filter: Filter::default(),
        until: None,
        all: false,
        max_used_space: None,
        reserved_space: 0,
    }
}

/// A cache whose entries have 100 bytes each; ids are given in order.
#[derive(Default)]
struct Build {
    next: i64,
    rows: Vec<(
        crate::protocol::rest::Cache,
        Option<Result<IndexSummary, UnreadableIndex>>,
    )>,
    blobs: Vec<BlobEntry>,
}

impl Build {
    fn blob(mut self, name: &str, git_ref: &str, days: i64) -> Self {
        self.next += 1;
        let key = key::blob(&Digest::sha256(name));
        self.blobs
            .push(BlobEntry::new(row(self.next, &key, git_ref, days)).unwrap());
        self
    }

    fn index(mut self, key: &str, git_ref: &str, days: i64, names: &[&str]) -> Self {
        self.next += 1;
        let layers = names.iter().map(|name| (Digest::sha256(name), 100));
        let summary = IndexSummary {
            digest: Digest::sha256(key),
            layers: layers.collect(),
            records: 1,
        };
        self.rows
            .push((row(self.next, key, git_ref, days), Some(Ok(summary))));
        self
    }

    fn unread(mut self, key: &str, git_ref: &str, days: i64) -> Self {
        self.next += 1;
        let row = row(self.next, key, git_ref, days);
        self.rows.push((row, Some(Err(UnreadableIndex::NotFound))));
        self
    }

    fn plan(&self, options: &Options) -> HashMap<i64, Reason> {
        let rows = self.rows.iter().map(|(row, _)| row.clone()).collect();
        let content = |entry: &IndexEntry| {
            let mut rows = self.rows.iter();
            rows.find(|(row, _)| row.id == entry.row.id)
                .unwrap()
                .1
                .clone()
        };
        let indexes = IndexEntry::from_rows(rows).into_iter();
        let snapshot = Snapshot {
            taken: now(),
            indexes: indexes
                .map(|entry| Index {
                    content: content(&entry),
                    entry,
                })
                .collect(),
            blobs: self.blobs.clone(),
            hidden: false,
        };
        let plan = Plan::new(&snapshot, options);
        let indexes = plan
            .indexes
            .iter()
            .map(|(at, why)| (snapshot.indexes[*at].entry.row.id, *why));
        let blobs = plan
            .blobs
            .iter()
            .map(|(at, why)| (snapshot.blobs[*at].row.id, *why));
        indexes.chain(blobs).collect()
    }
}

#[test]
fn what_no_index_names_goes_after_the_grace() {
    let cache = Build::default()
        .blob("named", MAIN, 5)
        .blob("old", MAIN, 5)
        .blob("new", MAIN, 0)
        .index("index-app-1-f921bd05#2", MAIN, 1, &["named"])
        .index("index-app-1-f921bd05#1", MAIN, 3, &["old"]);
    let plan = cache.plan(&options());
    let expected = HashMap::from([(2, Reason::Unreachable), (5, Reason::Superseded)]);
    assert_eq!(plan, expected);
    let at_once = Options {
        grace: Duration::ZERO,
        ..options()
    };
    assert_eq!(cache.plan(&at_once).get(&3), Some(&Reason::Unreachable));
}

#[test]
fn an_index_that_was_superseded_just_now_stays_with_what_it_names() {
    let cache = Build::default()
        .blob("old", MAIN, 5)
        .index("index-app-1-f921bd05#2", MAIN, 0, &[])
        .index("index-app-1-f921bd05#1", MAIN, 3, &["old"]);
    assert_eq!(cache.plan(&options()), HashMap::new());
}

#[test]
fn what_cannot_be_read_counts_as_alive() {
    let cache = Build::default()
        .blob("of main", MAIN, 5)
        .blob("of another", "refs/pull/8/merge", 5)
        .unread("index-app-1-f921bd05#1", PULL, 3);
    let plan = cache.plan(&options());
    assert_eq!(plan, HashMap::from([(2, Reason::Unreachable)]));
    // With that index goes all that it may have named.
    let until = Options {
        until: Some(2 * DAY),
        ..options()
    };
    let plan = cache.plan(&until);
    assert_eq!(plan.len(), 3, "{plan:?}");
    assert_eq!(plan[&3], Reason::Unused);
}

#[test]
fn a_shared_layer_stays_for_as_long_as_one_index_names_it() {
    let cache = Build::default()
        .blob("shared", MAIN, 5)
        .blob("own", PULL, 5)
        .index("index-app-1-f921bd05#1", MAIN, 5, &["shared"])
        .index("index-app-1-00000000#1", PULL, 5, &["shared", "own"]);
    let (filter, _) = Filter::new([FilterArg::Ref("refs/pull/*".to_owned())]);
    let all = Options {
        all: true,
        filter,
        ..options()
    };
    let expected = HashMap::from([(4, Reason::All), (2, Reason::Unreachable)]);
    assert_eq!(cache.plan(&all), expected);
}

#[test]
fn a_size_is_reached_by_the_index_that_was_used_longest_ago() {
    let cache = Build::default()
        .blob("a", MAIN, 6)
        .blob("b", MAIN, 4)
        .blob("c", MAIN, 2)
        .index("index-a-1-f921bd05#1", MAIN, 6, &["a"])
        .index("index-b-1-f921bd05#1", MAIN, 4, &["b"])
        .index("index-c-1-f921bd05#1", MAIN, 2, &["c"]);
    for (most, left) in [(600, 6), (599, 4), (400, 4), (399, 2), (0, 0)] {
        let options = Options {
            max_used_space: Some(most),
            ..options()
        };
        assert_eq!(cache.plan(&options).len(), 6 - left, "{most}");
    }
    let plan = cache.plan(&Options {
        max_used_space: Some(400),
        ..options()
    });
    assert_eq!(plan[&4], Reason::Space);
    // What is reserved is not taken for its age.
    let until = Some(3 * DAY);
    for (reserved_space, left) in [(0, 2), (400, 4), (500, 4), (600, 6)] {
        let options = Options {
            until,
            reserved_space,
            ..options()
        };
        assert_eq!(cache.plan(&options).len(), 6 - left, "{reserved_space}");
    }
}

/// A command that reads an index makes its entry look used; its layers were not looked up.
#[test]
fn reading_an_index_is_no_use_of_it() {
    let mut cache =
        Build::default()
            .blob("a", MAIN, 6)
            .index("index-a-1-f921bd05#1", MAIN, 6, &["a"]);
    cache.rows[0].0.last_accessed_at = now() - SignedDuration::from_hours(1);
    let until = Options {
        until: Some(5 * DAY),
        ..options()
    };
    assert_eq!(cache.plan(&until).len(), 2);
    cache.blobs[0].row.last_accessed_at = now() - SignedDuration::from_hours(30);
    assert_eq!(cache.plan(&until), HashMap::new());
}

#[test]
fn a_damaged_entry_that_was_written_again_goes() {
    let mut cache =
        Build::default()
            .blob("a", MAIN, 6)
            .index("index-a-1-f921bd05#1", MAIN, 2, &["a"]);
    let key = BlobKey::new(Digest::sha256("a")).entry(1);
    cache
        .blobs
        .push(BlobEntry::new(row(9, &key, MAIN, 3)).unwrap());
    assert_eq!(
        cache.plan(&options()),
        HashMap::from([(1, Reason::Replaced)])
    );
}

/// The largest cache that is worth one: 10,000 layers and 200 indexes of 500 layers each.
#[test]
fn ten_thousand_entries_are_planned_at_once() {
    let mut cache = Build::default();
    for at in 0..10_000 {
        cache = cache.blob(&at.to_string(), MAIN, 3);
    }
    for at in 0..200 {
        let names: Vec<_> = (0..500).map(|n| (at * 40 + n).to_string()).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        cache = cache.index(&format!("index-{at}-1-f921bd05#1"), MAIN, 2, &names);
    }
    let begun = std::time::Instant::now();
    let plan = cache.plan(&options());
    assert_eq!(plan.len(), 10_000 - (199 * 40 + 500));
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "{:?}",
        begun.elapsed()
    );
}
