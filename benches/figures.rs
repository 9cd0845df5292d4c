//! What benches do with their figures.

use std::{fs, path::Path};

use serde::Serialize;

/// Where they go.
const RESULTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/bench");

/// Writes them to a file of this name.
pub fn save(name: &str, figures: &impl Serialize) {
    fs::create_dir_all(RESULTS).expect("create a folder below target");
    let path = Path::new(RESULTS).join(name);
    let json = serde_json::to_vec_pretty(figures).expect("figures are JSON");
    fs::write(&path, json).expect("write the figures");
    eprintln!("written: {}", path.display());
}

/// The one in the middle.
#[allow(dead_code, reason = "not all of them have rounds")]
pub fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
