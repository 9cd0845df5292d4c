//! The tables.

use std::fmt::Write as _;

use crate::{figures::median, large::Large, load::Load};

const MIB: f64 = 1_048_576.0;

/// One line for those who wait.
pub fn line(load: &Load) -> String {
    let clients = load.clients;
    format!("{}, {clients} clients: {}", load.work.name(), rate(load))
}

/// All loads.
pub fn loads(loads: &[Load]) -> String {
    let mut text = String::from(
        "| | clients | per second | slowest | CPU of the service | its most memory |\n\
         |---|--:|--:|--:|--:|--:|\n",
    );
    for load in loads {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {:.0} ms | {:.0} % | {:.0} MiB |",
            load.work.name(),
            load.clients,
            rate(load),
            load.slowest * 1000.0,
            load.cost.cpu / load.seconds * 100.0,
            mib(load.cost.memory),
        );
    }
    text
}

/// The large entry.
pub fn large(large: &Large) -> String {
    let dd = median(&large.dd);
    let mut text = String::from(
        "| 1 GiB, file to file, synced | seconds | of `dd`'s speed |\n|---|--:|--:|\n",
    );
    for (name, times) in [
        ("dd", &large.dd),
        ("upload", &large.up),
        ("download", &large.down),
    ] {
        let time = median(times);
        let _ = writeln!(text, "| {name} | {time:.2} | {:.0} % |", dd / time * 100.0);
    }
    let _ = writeln!(
        text,
        "\nThe service's most memory: {:.0} MiB.",
        mib(large.cost.memory)
    );
    text
}

fn rate(load: &Load) -> String {
    if load.work.counts_bytes() {
        format!("{:.0} MiB", mib(load.bytes) / load.seconds)
    } else {
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let done = load.done as f64;
        format!("{:.0}", done / load.seconds)
    }
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / MIB
}
