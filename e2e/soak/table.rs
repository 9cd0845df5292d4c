//! What has happened, counted and printed.

use std::{
    fs,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::lock;
use crate::harness::{Process, Vitals};

/// What a row of a step says that a cache had.
const CACHED: &str = "\"cached\":true";

/// What a warning of ours begins with, in base64 as it travels: "cache".
const WARNING: &str = "\"short\":\"Y2FjaG";

/// Counts of one run.
#[derive(Default)]
pub struct Table {
    built: AtomicU64,
    killed: AtomicU64,
    evicted: AtomicU64,
    cached: AtomicU64,
    warnings: AtomicU64,
    most_memory: AtomicU64,
    most_descriptors: AtomicU64,
    most_threads: AtomicU64,
    failures: Mutex<Vec<String>>,
}

impl Table {
    /// A build has ended by itself: without success, or with a result that was judged.
    pub fn built(&self, number: u64, found: Option<&Result<(), String>>, log: &str) {
        count(&self.built, 1);
        count(&self.cached, log.matches(CACHED).count() as u64);
        count(&self.warnings, log.matches(WARNING).count() as u64);
        let failure = match found {
            Some(Ok(())) => return,
            Some(Err(wrong)) => format!("build {number}: {wrong}"),
            None => format!("build {number} failed:\n{log}"),
        };
        lock(&self.failures).push(failure);
    }

    /// A build was killed.
    pub fn killed(&self) {
        count(&self.killed, 1);
    }

    /// A layer was removed from the cache.
    pub fn evicted(&self) {
        count(&self.evicted, 1);
    }

    /// What the gateway has now.
    pub fn sample(&self, gateway: &Process) {
        let descriptors = fs::read_dir(gateway.proc("fd")).expect("the gateway is running");
        most(&self.most_descriptors, descriptors.count() as u64);
        most(&self.most_memory, gateway.status("VmRSS") * 1024);
        most(&self.most_threads, gateway.status("Threads"));
    }

    /// What has gone wrong.
    pub fn failures(&self) -> Vec<String> {
        lock(&self.failures).clone()
    }

    /// Prints all of it.
    #[allow(clippy::cast_precision_loss, reason = "megabytes for people")]
    pub fn print(&self, took: Duration, faults: u64, vitals: [&Vitals; 3]) {
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        println!(
            "| builds | failed | killed | evictions | faults | cached steps | warnings | time |"
        );
        println!("|---|---|---|---|---|---|---|---|");
        println!(
            "| {} | {} | {} | {} | {faults} | {} | {} | {} s |",
            get(&self.built) + get(&self.killed),
            self.failures().len(),
            get(&self.killed),
            get(&self.evicted),
            get(&self.cached),
            get(&self.warnings),
            took.as_secs(),
        );
        println!("\n| the gateway | after the warm-up | after half | at the end | at most |");
        println!("|---|---|---|---|---|");
        let megabytes = |bytes: u64| format!("{:.1} MB", bytes as f64 / 1e6);
        let row = |name: &str, of: &dyn Fn(&Vitals) -> String, most: String| {
            let [first, middle, last] = vitals.map(of);
            println!("| {name} | {first} | {middle} | {last} | {most} |");
        };
        let memory = |vitals: &Vitals| megabytes(vitals.memory);
        row("memory", &memory, megabytes(get(&self.most_memory)));
        let descriptors = |vitals: &Vitals| (vitals.files.len() + vitals.sockets).to_string();
        let most = get(&self.most_descriptors).to_string();
        row("descriptors", &descriptors, most);
        let threads = |vitals: &Vitals| vitals.threads.to_string();
        row("threads", &threads, get(&self.most_threads).to_string());
        for name in [
            "tasks",
            "connections",
            "handles",
            "export_spool",
            "import_spool",
        ] {
            let said = |vitals: &Vitals| vitals.said(name).to_string();
            row(name, &said, String::new());
        }
    }
}

fn count(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

fn most(counter: &AtomicU64, now: u64) {
    counter.fetch_max(now, Ordering::Relaxed);
}
