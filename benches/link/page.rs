//! `docs/PERFORMANCE.md`: the tables between what stands in `page.md`.

use crate::{result::Row, table};

/// The page with a place for the tables.
const PAGE: &str = include_str!("page.md");

/// The place.
const TABLES: &str = "TABLES\n";

pub fn page(rows: &[Row]) -> String {
    PAGE.replace(TABLES, table::tables(rows).trim_start())
}
