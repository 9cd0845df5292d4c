//! A row with its figures, and what is said of them.

use serde::Serialize;

use crate::{
    content::Content,
    limit,
    links::Wire,
    measure::Measured,
    plan::{Plan, api_name},
    side::Side,
    work::Work,
};

/// The figures of both sides.
#[derive(Debug, Serialize)]
pub struct Row {
    pub wire: Wire,
    pub api: &'static str,
    pub content: Content,
    pub work: Work,
    pub stock: Vec<Measured>,
    pub ours: Vec<Measured>,
}

impl Row {
    pub fn new(plan: &Plan, work: Work, measured: &[(Side, Measured)]) -> Self {
        let of = |side| {
            let ours = measured.iter().filter(|(of, _)| *of == side);
            ours.map(|(_, measured)| *measured).collect()
        };
        Self {
            wire: plan.wire,
            api: api_name(plan.api),
            content: plan.content,
            work,
            stock: of(Side::Stock),
            ours: of(Side::Ours),
        }
    }

    /// The seconds that count in this row, of each round.
    pub fn seconds(&self, side: Side) -> Vec<f64> {
        let counts = |measured: &Measured| match measured.export {
            Some(export) if self.work.compresses() => export.prepare + export.send,
            Some(export) if !self.work.counts_wall() => export.send,
            _ => measured.wall,
        };
        self.rounds(side).iter().map(counts).collect()
    }

    /// The rounds of a side.
    pub fn rounds(&self, side: Side) -> &[Measured] {
        match side {
            Side::Stock => &self.stock,
            Side::Ours => &self.ours,
        }
    }

    /// What the link takes at least for our bytes.
    pub fn limit(&self) -> f64 {
        let bytes = |of: fn(&Measured) -> u64| median_of(&self.ours, of);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "bytes"
        )]
        let most = bytes(|m| m.up).max(bytes(|m| m.down)) as u64;
        let in_parts = self.content != Content::Sixty;
        limit::seconds(self.wire, self.work, most, in_parts)
    }

    /// The same row on a machine without a link, among those measured before.
    pub fn without_link<'a>(&self, rows: &'a [Self]) -> Option<&'a Self> {
        rows.iter().find(|row| {
            let same = (row.api, row.content, row.work) == (self.api, self.content, self.work);
            same && row.wire == Wire::None
        })
    }
}

/// The median of a figure over rounds.
pub fn median_of(rounds: &[Measured], figure: impl Fn(&Measured) -> u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    median(rounds.iter().map(|round| figure(round) as f64))
}

/// The median; 0 of nothing.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        n if n % 2 == 1 => values[n / 2],
        n => f64::midpoint(values[n / 2 - 1], values[n / 2]),
    }
}
