//! Every cell by itself, as JSON.

use serde_json::{Value, json};

use super::{matrix::Result, table};

/// One object for each cell.
pub fn json(results: &[Result]) -> Value {
    let cell = |result: &Result| {
        let seen = &result.seen;
        json!({
            "cell": result.cell.to_string(),
            "word": table::word(result),
            "seconds": seen.seconds,
            "cost_seconds": seen.cost,
            "faults_made": seen.hits,
            "told": seen.told,
            "detail": seen.detail,
            "next_run_with_fault": seen.denied,
            "next_run_by_stock": seen.stock_read,
            "broken": result.broken,
        })
    };
    results.iter().map(cell).collect()
}
