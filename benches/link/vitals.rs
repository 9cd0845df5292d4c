//! What a build costs a process: its most memory, and the time it computed.

use std::fs;

use serde::Serialize;

use crate::harness::Process;

/// The kernel counts CPU time in hundredths of a second towards programs, on every machine.
const TICKS_PER_SECOND: f64 = 100.0;

/// What `clear_refs` takes to begin the most memory anew.
const RESET_PEAK: &str = "5";

/// The cost to one process.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Cost {
    /// The most memory, in bytes.
    pub memory: u64,
    /// Seconds of CPU.
    pub cpu: f64,
}

/// A process that is watched from now on.
pub struct Watch<'a> {
    process: &'a Process,
    before: f64,
}

impl<'a> Watch<'a> {
    pub fn begin(process: &'a Process) -> Self {
        fs::write(process.proc("clear_refs"), RESET_PEAK).expect("root may reset the peak");
        let before = cpu(process);
        Self { process, before }
    }

    pub fn end(self) -> Cost {
        Cost {
            memory: self.process.peak_memory(),
            cpu: cpu(self.process) - self.before,
        }
    }
}

/// Seconds of CPU so far.
fn cpu(process: &Process) -> f64 {
    let stat = fs::read_to_string(process.proc("stat")).expect("the program is running");
    // The name may hold spaces and stands in brackets; user and system time are the 14th and
    // 15th field of all.
    let (_, fields) = stat.rsplit_once(") ").expect("a name in brackets");
    let ticks = fields.split(' ').skip(11).take(2);
    let ticks: u32 = ticks
        .map(|field| field.parse::<u32>().expect("ticks"))
        .sum();
    f64::from(ticks) / TICKS_PER_SECOND
}
