//! The table.

use serde::Serialize;

use crate::vitals::Cost;

const MIB: f64 = 1_048_576.0;

/// A row of the table.
#[derive(Debug, Serialize)]
pub struct Row {
    what: String,
    /// Layers in all.
    layers: usize,
    seconds: f64,
    /// What it cost the gateway.
    gateway: Cost,
}

impl Row {
    pub fn new(what: String, layers: usize, seconds: f64, gateway: Cost) -> Self {
        Self {
            what,
            layers,
            seconds,
            gateway,
        }
    }

    pub fn line(&self) -> String {
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let (layers, memory) = (self.layers as f64, self.gateway.memory as f64 / MIB);
        format!(
            "| {} | {:.2} s | {:.1} ms | {:.2} s | {memory:.0} MiB |",
            self.what,
            self.seconds,
            self.seconds / layers * 1000.0,
            self.gateway.cpu,
        )
    }
}

pub fn table(rows: &[Row]) -> String {
    let lines: Vec<String> = rows.iter().map(Row::line).collect();
    format!(
        "| | seconds | per layer | CPU of the gateway | its most memory |\n\
         |---|--:|--:|--:|--:|\n{}\n",
        lines.join("\n")
    )
}
