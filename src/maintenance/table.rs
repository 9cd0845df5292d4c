//! Tables as docker prints them: columns that are as wide as their widest cell, three spaces apart.

use std::{fmt::Write as _, time::Duration};

use jiff::Timestamp;

use crate::{digest::Digest, units::human};

/// Between two columns.
const GAP: usize = 3;

/// Hex digits of a digest that people need to tell it from others.
const SHORT_DIGITS: usize = 12;

/// Rows of text.
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with only its head.
    pub fn new(head: &[&str]) -> Self {
        Self {
            rows: vec![head.iter().map(ToString::to_string).collect()],
        }
    }

    /// Adds a row.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into());
    }

    /// The lines, each with its end.
    pub fn render(&self) -> String {
        let columns = self.rows[0].len();
        let width = |at: usize| self.rows.iter().map(|row| row[at].chars().count()).max();
        let widths: Vec<_> = (0..columns).map(|at| width(at).unwrap_or(0)).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                // Writing to a String cannot fail.
                let _ = write!(line, "{cell:width$}{:GAP$}", "");
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// `2 hours ago`.
pub(super) fn ago(then: Timestamp, now: Timestamp) -> String {
    let passed = Duration::try_from(now.duration_since(then)).unwrap_or_default();
    format!("{} ago", human::duration(passed))
}

/// A digest as docker shortens it.
pub(super) fn short(digest: &Digest) -> String {
    digest.hex()[..SHORT_DIGITS].to_owned()
}

/// What is not known.
pub(super) fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_must_be() {
        let mut table = Table::new(&["A", "LONG"]);
        table.row(["longer".to_owned(), "x".to_owned()]);
        table.row(["é".to_owned(), String::new()]);
        assert_eq!(table.render(), "A        LONG\nlonger   x\né\n");
    }
}
