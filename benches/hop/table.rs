//! The table.

use std::fmt::Write as _;

use crate::{
    figures::median,
    row::{Measured, Target},
};

const MIB: f64 = 1_048_576.0;

pub fn table(rows: &[Measured]) -> String {
    let mut text = String::from(
        "| | rounds | direct | gateway | | asked | CPU of the gateway, a round | its most memory |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for row in rows {
        let _ = writeln!(text, "{}", line(row));
    }
    text
}

/// A row in one line.
pub fn line(measured: &Measured) -> String {
    let [direct, gateway] = [&measured.direct, &measured.gateway].map(|times| median(times));
    let (is, asked) = match measured.row.target() {
        Target::Ratio(most) => (
            format!("× {:.2}", gateway / direct),
            format!("≤ × {most:.1}"),
        ),
        Target::More(most) => (
            format!("{:+.1} ms", (gateway - direct) * 1000.0),
            format!("≤ +{:.0} ms", most * 1000.0),
        ),
    };
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let (rounds, memory) = (
        measured.direct.len() as f64,
        measured.cost.memory as f64 / MIB,
    );
    format!(
        "| {} | {rounds} | {direct:.3} s | {gateway:.3} s | {is} | {asked} | {:.2} s | {memory:.0} MiB |",
        measured.row.name(),
        measured.cost.cpu / rounds,
    )
}
