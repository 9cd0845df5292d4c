//! The tables.

use std::fmt::Write as _;

use crate::{
    CLIENTS,
    cost::{Cost, Rows},
    figures::median,
    large::Large,
    load::Load,
    work::Work,
};

const MIB: f64 = 1_048_576.0;

/// One line for those who wait.
pub fn line(load: &Load) -> String {
    let clients = load.clients;
    let failed = match load.failed {
        0 => String::new(),
        failed => format!(", {failed} failed"),
    };
    let rate = with_unit(load.work, rate(load));
    format!(
        "{}: {}, {clients} clients: {rate}{failed}",
        load.server,
        load.work.name()
    )
}

/// Loads of some servers, the first of which the others are compared with.
pub struct Comparison<'a> {
    loads: &'a [Load],
    servers: Vec<&'a str>,
}

impl<'a> Comparison<'a> {
    pub fn new(loads: &'a [Load]) -> Self {
        let mut servers: Vec<&str> = Vec::new();
        for load in loads {
            if !servers.contains(&load.server.as_str()) {
                servers.push(&load.server);
            }
        }
        Self { loads, servers }
    }

    /// What each has done in a second, and in brackets how many times that the first one has done.
    pub fn rates(&self) -> String {
        let mut text = self.head("| | clients |", "|---|--:|");
        for work in Work::ALL {
            for clients in CLIENTS {
                let _ = write!(text, "| {} | {clients} |", work.name());
                let first = self.median(self.servers[0], work, clients, rate);
                for (at, server) in self.servers.iter().enumerate() {
                    let rate = self.median(server, work, clients, rate);
                    let shown = with_unit(work, rate);
                    let _ = match at {
                        0 => write!(text, " {shown} |"),
                        _ => write!(text, " {shown} ({:.1} ×) |", first / rate),
                    };
                }
                text.push('\n');
            }
        }
        text
    }

    /// What a second of processor time does with 16 clients, how long the slowest took with 256, and the most memory.
    pub fn costs(&self) -> String {
        let mut text = self.head("| |", "|---|");
        for work in Work::ALL {
            let _ = write!(text, "| {}, by second of processor time |", work.name());
            for server in &self.servers {
                let rate = self.median(server, work, 16, |load| amount(load) / load.cost.cpu);
                let _ = write!(text, " {} |", with_unit(work, rate));
            }
            text.push('\n');
        }
        for work in Work::ALL {
            let _ = write!(text, "| {}, slowest with 256 clients |", work.name());
            for server in &self.servers {
                let slowest = self.median(server, work, 256, |load| load.slowest);
                let _ = write!(text, " {:.0} ms |", slowest * 1000.0);
            }
            text.push('\n');
        }
        for clients in CLIENTS {
            let _ = write!(text, "| most memory with {clients} clients |");
            for server in &self.servers {
                let memory = Work::ALL
                    .map(|work| self.median(server, work, clients, |load| mib(load.cost.memory)));
                let most = memory.into_iter().fold(0.0, f64::max);
                let _ = write!(text, " {most:.0} MiB |");
            }
            text.push('\n');
        }
        let _ = write!(text, "| failed |");
        for server in &self.servers {
            let loads = self.loads.iter().filter(|load| load.server == *server);
            let failed: u64 = loads.map(|load| load.failed).sum();
            let _ = write!(text, " {failed} |");
        }
        text.push('\n');
        text
    }

    fn head(&self, names: &str, rule: &str) -> String {
        let servers = self.servers.join(" | ");
        let rules = "--:|".repeat(self.servers.len());
        format!("{names} {servers} |\n{rule}{rules}\n")
    }

    fn median(&self, server: &str, work: Work, clients: usize, of: impl Fn(&Load) -> f64) -> f64 {
        let matching =
            |load: &&Load| load.server == server && load.work == work && load.clients == clients;
        let values: Vec<f64> = self.loads.iter().filter(matching).map(of).collect();
        median(&values)
    }
}

/// What each thing asks of the engines.
pub fn costs(costs: &[Cost], rows: &Rows) -> String {
    let mut text = String::from(
        "| once | transactions | rows written | write-ahead log | requests to the bucket |\n\
         |---|--:|--:|--:|---|\n",
    );
    for cost in costs {
        let requests: Vec<_> = cost
            .requests
            .iter()
            .map(|(name, each)| format!("{each:.1} {name}"))
            .collect();
        let _ = writeln!(
            text,
            "| {} | {:.1} | {:.1} | {:.1} KiB | {} |",
            cost.work.name(),
            cost.transactions,
            cost.rows,
            cost.wal / 1024.0,
            requests.join(", "),
        );
    }
    let each = rows.bytes / rows.entries;
    let _ = writeln!(
        text,
        "\n{} entries take {each:.0} bytes each in the database.",
        rows.entries
    );
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

fn rate(load: &Load) -> f64 {
    amount(load) / load.seconds
}

/// How many were done, or of work that counts bytes how many MiB were moved.
fn amount(load: &Load) -> f64 {
    if load.work.counts_bytes() {
        return mib(load.bytes);
    }
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let done = load.done as f64;
    done
}

fn with_unit(work: Work, rate: f64) -> String {
    let unit = if work.counts_bytes() { " MiB" } else { "" };
    format!("{rate:.0}{unit}")
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / MIB
}
