//! What is asked of a row on the link of GitHub.

use std::fmt::Write as _;

use crate::{
    content::Content,
    links::Wire,
    result::{Row, median, median_of},
    side::Side,
    work::Work,
};

/// New layers may take two calls each; with them the index and what may stand in the way.
const CALLS_BESIDE_LAYERS: u64 = 6;

/// Layers of the row with 60.
const SIXTY: u64 = 60;

/// What a row must keep.
#[derive(Clone, Copy, Debug, Default)]
struct Target {
    /// Seconds, beyond the same row without a link where `beyond` is set.
    seconds: f64,
    beyond: bool,
    /// API calls.
    calls: Option<u64>,
    /// Nothing is reserved.
    no_new_entry: bool,
}

impl Target {
    fn for_row(row: &Row) -> Option<Self> {
        if row.wire != Wire::Gh {
            return None;
        }
        let seconds = |seconds| Self {
            seconds,
            ..Self::default()
        };
        let unchanged = |limit, calls| Self {
            calls: Some(calls),
            no_new_entry: true,
            ..seconds(limit)
        };
        Some(match (row.content, row.work) {
            (Content::Sixty, Work::Export) => Self {
                calls: Some(2 * SIXTY + CALLS_BESIDE_LAYERS),
                ..seconds(2.0)
            },
            (Content::Mixed, Work::Export) => seconds(2.5),
            (Content::Large, Work::Export) => seconds(2.8),
            (Content::Sixty, Work::Unchanged) => unchanged(0.6, 4),
            // A new builder's import looks each layer up, whatever a listing says.
            (Content::Sixty, Work::Later | Work::NewBuilder | Work::NewBuilderListing) => {
                unchanged(1.0, SIXTY + CALLS_BESIDE_LAYERS)
            }
            (Content::Large, Work::Import) => Self {
                beyond: true,
                ..seconds(2.2)
            },
            (Content::Sixty, Work::Import) => Self {
                beyond: true,
                ..seconds(0.6)
            },
            _ => return None,
        })
    }
}

/// The target in words, and whether it is met; empty where there is none.
pub fn verdict(row: &Row, rows: &[Row]) -> String {
    let Some(target) = Target::for_row(row) else {
        return String::new();
    };
    let mut seconds = median(row.seconds(Side::Ours));
    let mut words = format!("≤ {} s", target.seconds);
    if target.beyond {
        let Some(without) = row.without_link(rows) else {
            return format!("+ {} s on no link", target.seconds);
        };
        let base = median(without.seconds(Side::Ours));
        seconds -= base;
        words = format!(
            "+ {seconds:.2} s on no link's {base:.2} s, ≤ {}",
            target.seconds
        );
    }
    if !target.beyond
        && let Some(without) = row.without_link(rows)
    {
        let base = median(without.seconds(Side::Ours));
        let _ = write!(words, " ({base:.2} s on no link)");
    }
    let mut met = seconds <= target.seconds;
    if let Some(calls) = target.calls {
        let _ = write!(words, ", ≤ {calls} calls");
        #[expect(clippy::cast_precision_loss, reason = "hundreds")]
        let most = calls as f64;
        met &= median_of(&row.ours, |m| m.api) <= most;
    }
    if target.no_new_entry {
        words += ", no new entry";
        met &= row.ours.iter().all(|m| m.reserved == 0);
    }
    format!("{words}: {}", if met { "met" } else { "**missed**" })
}
