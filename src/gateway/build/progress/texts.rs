//! The words of summaries, indexes and waits, as the build's log has them.

use std::time::Duration;

use jiff::Timestamp;

use crate::{
    cache::{ExportEnd, ExportSummary, ImportSummary, IndexSummary, NoIndex, ServiceUsage},
    units::size,
};

/// Shorter waits are not worth a word: calls that are spaced wait so at any time.
const SHORTEST_WAIT: Duration = Duration::from_secs(1);

/// A transfer that took less says nothing of the link.
const SHORTEST_RATED: Duration = Duration::from_millis(1);

/// Why BuildKit reads a layer.
const NEEDED: &str = "because steps or outputs needed them";

/// The last line of an export; `None` for one that was not begun.
pub(super) fn export(summary: &ExportSummary) -> Option<String> {
    let state = match summary.state {
        ExportEnd::Skipped => return None,
        ExportEnd::Written => "written",
        ExportEnd::Unchanged => "unchanged",
        // How many layers were there already is not known yet.
        ExportEnd::Pending => "",
        ExportEnd::Cancelled | ExportEnd::Failed => "not written",
    };
    let sent = moved(
        summary.layers_sent,
        "sent",
        summary.bytes_sent,
        summary.sending,
    );
    if summary.state == ExportEnd::Pending {
        let usage = usage(&summary.usage);
        let text = format!("cache goes on after the build (async=true): {sent} so far; {usage}");
        return Some(text);
    }
    Some(format!(
        "cache {state}: {sent}, {} already there, {} left out; {}",
        summary.layers_present,
        summary.layers_left_out,
        usage(&summary.usage)
    ))
}

/// The last line of an import; `None` where nothing was asked of it.
pub(super) fn import(summary: &ImportSummary) -> Option<String> {
    let asked = summary.layers_confirmed + summary.layers_gone;
    if asked == 0 {
        return None;
    }
    let fetched = moved(
        summary.layers_fetched,
        "fetched",
        summary.bytes_fetched,
        summary.fetching,
    );
    let why = match (summary.layers_fetched, summary.layers_ahead) {
        (0, _) => ", none of their bytes was needed".to_owned(),
        (_, 0) => format!(" {NEEDED}"),
        (_, ahead) => format!(" {NEEDED} ({ahead} of them ahead of need)"),
    };
    Some(format!(
        "scope {}: {} confirmed, {} gone; {fetched}{why}; {}",
        summary.scope,
        layers(summary.layers_confirmed),
        summary.layers_gone,
        usage(&summary.usage)
    ))
}

/// What was found of the indexes of an import.
pub(super) fn indexes(scope: &str, indexes: &[IndexSummary], now: Timestamp) -> String {
    let found = indexes.iter().filter_map(|index| {
        let found = index.found.as_ref().ok()?;
        let age = found
            .created
            .map_or_else(String::new, |at| format!("{}, ", age(at, now)));
        Some(format!("{} ({age}{})", index.branch, layers(found.layers)))
    });
    let found: Vec<_> = found.collect();
    let mut parts = Vec::new();
    if !found.is_empty() {
        parts.push(format!("index from {}", found.join(" and ")));
    } else if let Some(branches) = branches(indexes, NoIndex::Absent) {
        parts.push(format!("no index found on {branches}"));
    }
    for (reason, text) in [
        (NoIndex::Failed, "could not be read"),
        (NoIndex::Unusable, "cannot be used"),
        (NoIndex::Late, "did not arrive in time"),
    ] {
        let branches = branches(indexes, reason);
        parts.extend(branches.map(|branches| format!("the index of {branches} {text}")));
    }
    format!("scope {scope}: {}", parts.join("; "))
}

/// The branches without an index for this reason, if there are any.
fn branches(indexes: &[IndexSummary], reason: NoIndex) -> Option<String> {
    let indexes = indexes.iter();
    let indexes = indexes.filter(|index| index.found.as_ref().err() == Some(&reason));
    let branches: Vec<_> = indexes.map(|index| index.branch.as_str()).collect();
    (!branches.is_empty()).then(|| branches.join(", "))
}

/// Bytes in a time; `None` if there were none, or no time.
pub(super) fn rate(bytes: u64, time: Duration) -> Option<String> {
    if bytes == 0 || time < SHORTEST_RATED {
        return None;
    }
    let millis = time.as_millis();
    let rate = u128::from(bytes) * 1000 / millis;
    Some(format!(
        "{}/s",
        size::approximate(rate.try_into().unwrap_or(u64::MAX))
    ))
}

fn moved(count: usize, verb: &str, bytes: u64, time: Duration) -> String {
    if count == 0 {
        return format!("0 layers {verb}");
    }
    let rate = rate(bytes, time).map_or_else(String::new, |rate| format!(" at {rate}"));
    format!(
        "{} {verb} ({}{rate})",
        layers(count),
        size::approximate(bytes)
    )
}

fn usage(usage: &ServiceUsage) -> String {
    let calls = match usage.calls {
        1 => "1 call".to_owned(),
        calls => format!("{calls} calls"),
    };
    if usage.waited < SHORTEST_WAIT {
        return calls;
    }
    let causes = usage
        .waits
        .iter()
        .filter(|(_, time)| **time >= SHORTEST_WAIT);
    let causes: Vec<_> = causes.map(|(cause, _)| cause.as_str()).collect();
    let why = match &causes[..] {
        [] => String::new(),
        causes => format!(" for {}", causes.join(" and ")),
    };
    format!("{calls}, waited {}{why}", seconds(usage.waited))
}

/// A time in whole seconds, or in minutes where those are many.
pub(super) fn seconds(time: Duration) -> String {
    match u64::try_from(time.as_nanos().div_ceil(1_000_000_000)).unwrap_or(u64::MAX) {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds => format!("{} min", seconds.div_ceil(60)),
    }
}

fn age(made: Timestamp, now: Timestamp) -> String {
    match now.duration_since(made).as_secs() {
        // Clocks differ.
        ..60 => "less than a minute old".to_owned(),
        seconds @ 60..7_200 => format!("{} min old", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h old", seconds / 3_600),
        seconds => format!("{} days old", seconds / 86_400),
    }
}

fn layers(count: usize) -> String {
    match count {
        1 => "1 layer".to_owned(),
        count => format!("{count} layers"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::cache::{FoundIndex, WaitCause};

    const SECOND: Duration = Duration::from_secs(1);

    fn waited() -> ServiceUsage {
        let github = WaitCause::RateLimit { github: true };
        ServiceUsage {
            calls: 41,
            waited: 12 * SECOND,
            waits: BTreeMap::from([(github, 12 * SECOND), (WaitCause::Retry, SECOND / 2)]),
        }
    }

    #[test]
    fn an_export_is_summed_up_in_one_line() {
        let summary = ExportSummary {
            state: ExportEnd::Written,
            layers_sent: 12,
            layers_present: 28,
            bytes_sent: 640_000_000,
            sending: Duration::from_millis(7_529),
            usage: waited(),
            ..ExportSummary::skipped("app")
        };
        assert_eq!(
            export(&summary).unwrap(),
            "cache written: 12 layers sent (640 MB at 85.0 MB/s), 28 already there, 0 left out; 41 calls, \
             waited 12 s for GitHub's rate limit"
        );
        let unchanged = ExportSummary {
            state: ExportEnd::Unchanged,
            layers_present: 40,
            ..ExportSummary::skipped("app")
        };
        assert_eq!(
            export(&unchanged).unwrap(),
            "cache unchanged: 0 layers sent, 40 already there, 0 left out; 0 calls"
        );
        assert_eq!(export(&ExportSummary::skipped("app")), None);
    }

    #[test]
    fn an_import_says_why_it_fetched() {
        let mut summary = ImportSummary {
            scope: "app".to_owned(),
            indexes: Vec::new(),
            layers_confirmed: 40,
            layers_gone: 1,
            layers_fetched: 3,
            bytes_fetched: 120_000_000,
            layers_ahead: 0,
            fetching: 2 * SECOND,
            usage: ServiceUsage::default(),
            duration: SECOND,
            late: false,
        };
        assert_eq!(
            import(&summary).unwrap(),
            "scope app: 40 layers confirmed, 1 gone; 3 layers fetched (120 MB at 60.0 MB/s) because steps or \
             outputs needed them; 0 calls"
        );
        (summary.layers_fetched, summary.bytes_fetched) = (0, 0);
        let warm = import(&summary).unwrap();
        assert!(
            warm.contains("; 0 layers fetched, none of their bytes was needed;"),
            "{warm}"
        );
        (summary.layers_confirmed, summary.layers_gone) = (0, 0);
        assert_eq!(import(&summary), None);
    }

    #[test]
    fn an_index_that_could_not_be_read_is_not_said_to_be_absent() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let none = |branch: &str, reason| IndexSummary {
            branch: branch.to_owned(),
            found: Err(reason),
        };
        let found = IndexSummary {
            branch: "main".to_owned(),
            found: Ok(FoundIndex {
                created: None,
                layers: 2,
            }),
        };
        let failed = none("refs/pull/7/merge", NoIndex::Failed);
        assert_eq!(
            indexes("app", &[failed.clone(), found], now),
            "scope app: index from main (2 layers); the index of refs/pull/7/merge could not be read"
        );
        let absent = none("main", NoIndex::Absent);
        assert_eq!(
            indexes("app", &[failed, absent], now),
            "scope app: no index found on main; the index of refs/pull/7/merge could not be read"
        );
        let unusable = none("main", NoIndex::Unusable);
        assert_eq!(
            indexes("app", &[unusable], now),
            "scope app: the index of main cannot be used"
        );
    }

    #[test]
    fn an_index_has_an_age_and_a_branch() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let index = |branch: &str, ago: Option<i64>| IndexSummary {
            branch: branch.to_owned(),
            found: ago.ok_or(NoIndex::Absent).map(|ago| FoundIndex {
                created: Some(Timestamp::from_second(1_000_000 - ago).unwrap()),
                layers: 40,
            }),
        };
        let main = index("refs/heads/main", Some(3 * 3_600));
        let pull = index("refs/pull/7/merge", None);
        assert_eq!(
            indexes("app", &[pull.clone(), main], now),
            "scope app: index from refs/heads/main (3 h old, 40 layers)"
        );
        assert_eq!(
            indexes("app", &[pull, index("main", None)], now),
            "scope app: no index found on refs/pull/7/merge, main"
        );
        for (ago, text) in [
            (-5, "less than a minute old"),
            (61, "1 min old"),
            (200_000, "2 days old"),
        ] {
            let said = indexes("a", &[index("b", Some(ago))], now);
            assert!(said.contains(text), "{said}");
        }
    }
}
