//! What the kernel says of this process, under the names that Prometheus' own client libraries use.

use std::fs;

use rustix::process::{Resource, getrlimit};

use super::Registry;

/// `/proc/self/stat` counts time so: a constant of the kernel's interface on all of its machines.
const TICKS_PER_SECOND: f64 = 100.0;

/// Fields of `/proc/self/stat`, counted from the one behind the program's name in its brackets.
const USER_TIME: usize = 11;
const SYSTEM_TIME: usize = 12;
const START_TIME: usize = 19;
const VIRTUAL_MEMORY: usize = 20;

/// Registers what is read of `/proc` whenever the metrics are rendered. What cannot be read is left out.
pub fn register(registry: &Registry) {
    registry.gauge(
        "process_resident_memory_bytes",
        "Memory of the process that is in RAM",
        resident_memory,
    );
    registry.gauge(
        "process_virtual_memory_bytes",
        "Address space of the process",
        || field(VIRTUAL_MEMORY)?.parse().ok(),
    );
    registry.real_counter(
        "process_cpu_seconds",
        "User and system CPU time of the process",
        || Some(seconds(USER_TIME)? + seconds(SYSTEM_TIME)?),
    );
    registry.real_gauge(
        "process_start_time_seconds",
        "When the process started, in seconds since 1970",
        || Some(boot_time()? + seconds(START_TIME)?),
    );
    // Another user's process may not be looked at so; nor may a root that is none outside of its namespace.
    registry.gauge("process_open_fds", "Open files of the process", || {
        let files = fs::read_dir("/proc/self/fd").ok()?;
        Some(files.count() as u64)
    });
    registry.gauge("process_max_fds", "Files that it may have open", || {
        getrlimit(Resource::Nofile).current
    });
    registry.gauge("process_threads", "Threads of the process", || {
        status("Threads:")
    });
}

fn resident_memory() -> Option<u64> {
    Some(status("VmRSS:")? << 10)
}

/// A number of `/proc/self/status`.
fn status(name: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// A field of `/proc/self/stat`.
fn field(number: usize) -> Option<String> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name may have blanks and brackets of its own.
    let (_, fields) = stat.rsplit_once(") ")?;
    fields.split(' ').nth(number).map(str::to_owned)
}

fn seconds(number: usize) -> Option<f64> {
    Some(field(number)?.parse::<f64>().ok()? / TICKS_PER_SECOND)
}

fn boot_time() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let mut lines = stat.lines();
    lines
        .find_map(|line| line.strip_prefix("btime "))?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_says_all_of_a_process_that_may_be_looked_at() {
        let registry = Registry::default();
        register(&registry);
        let text = registry.render();
        let value = |name: &str| -> f64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_else(|| panic!("{name} in:\n{text}"))
                .trim()
                .parse()
                .unwrap()
        };
        let resident = value("process_resident_memory_bytes ");
        assert!(
            resident > 1e6 && resident < value("process_virtual_memory_bytes "),
            "{text}"
        );
        assert!(value("process_cpu_seconds_total ") >= 0.0);
        let now = f64::from(u32::try_from(jiff::Timestamp::now().as_second()).unwrap());
        let started = value("process_start_time_seconds ");
        assert!(
            started <= now && now - started < 86_400.0,
            "{started} {now}"
        );
        assert!(value("process_open_fds ") >= 3.0);
        assert!(value("process_max_fds ") >= value("process_open_fds "));
        assert!(value("process_threads ") >= 1.0);
    }
}
