//! A share of a processor, as a pod's limit is: a control group of version 1 or 2.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::harness::Process;

/// What each replica gets: two of them and all else find room on two cores.
pub const PERCENT: u32 = 20;

/// How long the kernel counts until it gives the share again, in microseconds: its own default.
const PERIOD: u32 = 100_000;

/// Where control groups are that limit processors, by version.
const V1: &str = "/sys/fs/cgroup/cpu";
const V2: &str = "/sys/fs/cgroup";

/// A group with one process and those that it starts from now on.
pub struct Share {
    dir: PathBuf,
}

impl Share {
    pub fn of(percent: u32, process: &Process) -> Self {
        let pid = process.pid();
        let name = format!("buildkit-gha-bench-{pid}");
        let quota = PERIOD / 100 * percent;
        let is_v1 = Path::new(V1).join("cpu.cfs_quota_us").exists();
        let dir = Path::new(if is_v1 { V1 } else { V2 }).join(name);
        fs::create_dir(&dir).expect("root may make a control group");
        let share = Self { dir };
        if is_v1 {
            share.set("cpu.cfs_period_us", &PERIOD.to_string());
            share.set("cpu.cfs_quota_us", &quota.to_string());
        } else {
            share.set("cpu.max", &format!("{quota} {PERIOD}"));
        }
        share.set("cgroup.procs", &pid.to_string());
        share
    }

    fn set(&self, name: &str, value: &str) {
        let file = self.dir.join(name);
        fs::write(&file, value).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        // Its process has ended by now, or the group stays and is empty.
        let _ = fs::remove_dir(&self.dir);
    }
}
