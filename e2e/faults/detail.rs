//! Every cell by itself, as JSON: for programs, and for a later run that needs only what is new.

use std::{collections::HashMap, fs, path::Path};

use serde::{Deserialize, Serialize};

use super::{matrix::Result, observation::Observation, time::Time};

/// What is written of a cell.
#[derive(Serialize, Deserialize)]
struct Record {
    cell: String,
    seen: Observation,
    time: Time,
    broken: Vec<String>,
}

/// Writes one object for each cell.
pub fn write(path: &Path, results: &[Result]) {
    let record = |result: &Result| Record {
        cell: result.cell.to_string(),
        seen: result.seen.clone(),
        time: result.time,
        broken: result.broken.clone(),
    };
    let records: Vec<_> = results.iter().map(record).collect();
    let json = serde_json::to_string_pretty(&records).expect("it is plain data");
    fs::write(path, json).expect("write what was seen");
}

/// What an earlier run has seen of the cells that were as they should be, by their names.
pub fn read(path: &Path) -> HashMap<String, (Observation, Time)> {
    let json = fs::read(path).expect("an earlier run has written it");
    let records: Vec<Record> = serde_json::from_slice(&json).expect("it is what a run writes");
    let good = records
        .into_iter()
        .filter(|record| record.broken.is_empty());
    good.map(|record| (record.cell, (record.seen, record.time)))
        .collect()
}
