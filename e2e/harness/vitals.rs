//! What a running gateway holds: what the kernel knows of it, and what it says itself.

use std::{collections::BTreeMap, fs, time::Duration};

use rustix::process::Signal;

use super::{SOON, process::Process};

/// What the line says that SIGUSR1 asks for.
const STATE: &str = ": state builds=";

/// What must be gone when no client is left.
const TRANSIENT: [&str; 7] = [
    "builds",
    "exports",
    "pending",
    "sessions",
    "handles",
    "export_spool",
    "import_spool",
];

/// Connections that a pool may keep for a while after the calls that needed them: those of the
/// gateway to the cache, and of buildkitd to the gateway.
const POOLED: usize = 48;

/// How long what a build has left may take to go.
const LEAVING: Duration = Duration::from_secs(45);

/// What a gateway holds at a moment.
#[derive(Clone, Debug)]
pub struct Vitals {
    /// Files that are open, without sockets: spool files are among them.
    pub files: Vec<String>,
    /// Sockets that are open.
    pub sockets: usize,
    /// Threads.
    pub threads: u64,
    /// Memory in bytes.
    pub memory: u64,
    /// What it says of itself, by name.
    said: BTreeMap<String, u64>,
}

impl Vitals {
    /// Asks a gateway.
    pub fn ask(gateway: &mut Process) -> Self {
        let said = |log: &str| log.matches(STATE).count();
        let before = said(&gateway.log());
        gateway.signal(Signal::USR1);
        let said = gateway.until("it says what it has in hand", SOON, |log| {
            (said(log) > before).then(|| last(log))
        });
        let descriptors = fs::read_dir(gateway.proc("fd")).expect("the gateway is running");
        let targets = descriptors.flatten().filter_map(|descriptor| {
            let target = fs::read_link(descriptor.path()).ok()?;
            Some(target.to_string_lossy().into_owned())
        });
        let (sockets, files): (Vec<_>, Vec<_>) =
            targets.partition(|target| target.starts_with("socket:"));
        Self {
            files,
            sockets: sockets.len(),
            threads: gateway.status("Threads"),
            memory: gateway.status("VmRSS") * 1024,
            said,
        }
    }

    /// A number that it says, by the name in its line.
    pub fn said(&self, name: &str) -> u64 {
        let said = self.said.get(name).copied();
        said.unwrap_or_else(|| panic!("no {name} in {:?}", self.said))
    }

    /// Tasks, without those of connections that buildkitd has pooled.
    fn own_tasks(&self) -> u64 {
        self.said("tasks").saturating_sub(self.said("connections"))
    }

    /// Waits until a gateway holds no more than this again, and nothing of any build.
    pub fn come_back(&self, gateway: &mut Process) -> Self {
        let deadline = std::time::Instant::now() + LEAVING;
        loop {
            let now = Self::ask(gateway);
            let left = self.exceeded_by(&now);
            if left.is_empty() {
                return now;
            }
            assert!(
                std::time::Instant::now() < deadline,
                "left after {LEAVING:?}: {left:?}\nnow: {now:?}\nat first: {self:?}"
            );
            // Ends by itself only where something is wrong, which the next look finds.
            gateway.ended_within(Duration::from_millis(100));
        }
    }

    fn exceeded_by(&self, now: &Self) -> Vec<String> {
        let held = TRANSIENT.into_iter().filter(|name| now.said(name) > 0);
        let mut left: Vec<String> = held.map(str::to_owned).collect();
        for (name, before, now) in [
            ("tasks", self.own_tasks(), now.own_tasks()),
            ("files", self.files.len() as u64, now.files.len() as u64),
            (
                "sockets",
                (self.sockets + POOLED) as u64,
                now.sockets as u64,
            ),
        ] {
            if now > before {
                left.push(format!("{name}: {now}, at first {before}"));
            }
        }
        left
    }
}

fn last(log: &str) -> BTreeMap<String, u64> {
    let line = log.lines().rfind(|line| line.contains(STATE));
    let words = line.unwrap_or_default().split(' ');
    words
        .filter_map(|word| {
            let (name, number) = word.split_once('=')?;
            Some((name.to_owned(), number.parse().ok()?))
        })
        .collect()
}
