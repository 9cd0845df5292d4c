//! The two parts of a cache export, read from a build's raw progress: `BuildKit` prepares it, which
//! is compressing for the most part, and then it is sent.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What every cache export is called, stock's and ours.
const EXPORT: &str = "exporting ";

/// The row below it that ends when all is compressed.
const PREPARE: &str = "preparing build cache for export";

#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    vertexes: Vec<Vertex>,
    #[serde(default)]
    statuses: Vec<Status>,
}

#[derive(Deserialize)]
struct Vertex {
    digest: String,
    name: String,
    started: Option<Timestamp>,
    completed: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Status {
    id: String,
    vertex: String,
    completed: Option<Timestamp>,
}

/// Seconds of the parts of an export.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Export {
    /// Until all is compressed.
    pub prepare: f64,
    /// From then to the end.
    pub send: f64,
}

impl Export {
    /// Of the one cache export of a build; `None` if it has none.
    pub fn parse(progress: &str) -> Option<Self> {
        let mut export: Option<Vertex> = None;
        let mut prepared = Vec::new();
        for line in progress.lines().filter(|line| line.starts_with('{')) {
            let Ok(line) = serde_json::from_str::<Line>(line) else {
                continue;
            };
            for vertex in line.vertexes {
                if vertex.name.starts_with(EXPORT) && vertex.name.to_lowercase().contains("cache") {
                    export = Some(vertex);
                }
            }
            prepared.extend(line.statuses.into_iter().filter(|row| row.id == PREPARE));
        }
        let export = export?;
        let mut rows = prepared.iter().filter(|row| row.vertex == export.digest);
        let prepared = rows.find_map(|row| row.completed)?;
        Some(Self {
            prepare: seconds(export.started?, prepared),
            send: seconds(prepared, export.completed?),
        })
    }
}

fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64()
}
