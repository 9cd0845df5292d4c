//! What a build or a load costs processes: their most memory, and the time they computed.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::Serialize;

use crate::harness::Process;

/// The kernel counts CPU time in hundredths of a second towards programs, on every machine.
const TICKS_PER_SECOND: f64 = 100.0;

/// What `clear_refs` takes to begin the most memory anew.
const RESET_PEAK: &str = "5";

/// The cost to the processes that are watched.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Cost {
    /// The most memory, in bytes; of several processes the sum of what each had at most.
    pub memory: u64,
    /// Seconds of CPU.
    pub cpu: f64,
}

/// Processes that are watched from now on.
pub struct Watch {
    /// Their directories below `/proc`.
    processes: Vec<PathBuf>,
    before: f64,
}

#[allow(dead_code, reason = "each bench begins in one way")]
impl Watch {
    /// Watches a process alone.
    pub fn begin(process: &Process) -> Self {
        Self::begin_of(vec![process.proc("")])
    }

    /// Watches processes and those that they have started.
    pub fn begin_with_children<'a>(processes: impl IntoIterator<Item = &'a Process>) -> Self {
        let of = |process: &Process| {
            let children = process.children().into_iter();
            let children = children.map(|pid| format!("/proc/{}", pid.as_raw_nonzero()).into());
            children.chain([process.proc("")]).collect::<Vec<_>>()
        };
        Self::begin_of(processes.into_iter().flat_map(of).collect())
    }

    fn begin_of(processes: Vec<PathBuf>) -> Self {
        for process in &processes {
            let reset = fs::write(process.join("clear_refs"), RESET_PEAK);
            reset.expect("root may reset the peak");
        }
        let before = processes.iter().map(|process| cpu(process)).sum();
        Self { processes, before }
    }

    pub fn end(self) -> Cost {
        let cpu: f64 = self.processes.iter().map(|process| cpu(process)).sum();
        Cost {
            memory: self.processes.iter().map(|process| peak(process)).sum(),
            cpu: cpu - self.before,
        }
    }
}

/// The most memory since the peak was reset, in bytes.
fn peak(process: &Path) -> u64 {
    let status = fs::read_to_string(process.join("status")).expect("the program is running");
    let mut lines = status.lines();
    let peak = lines.find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = peak.and_then(|peak| peak.split_whitespace().next()?.parse::<u64>().ok());
    kib.expect("a peak in KiB") * 1024
}

/// Seconds of CPU so far.
fn cpu(process: &Path) -> f64 {
    let stat = fs::read_to_string(process.join("stat")).expect("the program is running");
    // The name may hold spaces and stands in brackets; user and system time are the 14th and
    // 15th field of all.
    let (_, fields) = stat.rsplit_once(") ").expect("a name in brackets");
    let ticks = fields.split(' ').skip(11).take(2);
    let ticks: u32 = ticks
        .map(|field| field.parse::<u32>().expect("ticks"))
        .sum();
    f64::from(ticks) / TICKS_PER_SECOND
}
