//! A child process that cannot outlive its owner.

use std::{
    ffi::OsStr,
    fs::File,
    io,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use super::Lab;

/// How long a program may take to end by itself before it is killed.
const GRACE: Duration = Duration::from_secs(20);

/// How often a condition is looked at that nobody can announce.
const TICK: Duration = Duration::from_millis(50);

/// Where programs are looked for: the tools that the suite built come first.
const PATH: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/.tools/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
);

/// A command with a clean environment: nothing of the machine's settings reaches a test.
pub fn command(lab: &Lab, program: impl AsRef<OsStr>) -> Command {
    // The parent may be killed; `setpriv` has the kernel end the child then.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM", "--"]).arg(program);
    command
        .env_clear()
        .env("PATH", PATH)
        .env("HOME", lab.path(""));
    command.stdin(Stdio::null());
    command
}

/// A running program and its log (standard output and error together).
pub struct Process {
    name: String,
    pid: Pid,
    log: PathBuf,
    exit: Receiver<ExitStatus>,
    ended: Option<ExitStatus>,
    lab: Arc<Lab>,
}

impl Process {
    /// Starts the command; its output goes to a log of this name unless it was directed already.
    pub fn start(lab: &Arc<Lab>, name: &str, command: Command) -> Self {
        let log = lab.log(name);
        let out = File::create(&log).expect("create a log");
        Self::start_with(lab, name, command, log, out)
    }

    fn start_with(
        lab: &Arc<Lab>,
        name: &str,
        mut command: Command,
        log: PathBuf,
        out: File,
    ) -> Self {
        command.stderr(log_handle(&log)).stdout(out);
        let (started, start) = mpsc::sync_channel(1);
        let (done, exit) = mpsc::sync_channel(1);
        // The kernel ties a child to the thread that started it, so one thread stays with it.
        thread::spawn(move || match command.spawn() {
            Ok(mut child) => {
                let _ = started.send(Ok(child.id()));
                if let Ok(status) = child.wait() {
                    let _ = done.send(status);
                }
            }
            Err(error) => drop(started.send(Err(error))),
        });
        let pid: io::Result<u32> = start.recv().expect("the thread answers");
        let pid = pid.unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        Self {
            name: name.to_owned(),
            pid: pid.expect("process ids are positive"),
            log,
            exit,
            ended: None,
            lab: Arc::clone(lab),
        }
    }

    /// The process id.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// What the program has written so far.
    pub fn log(&self) -> String {
        std::fs::read(&self.log)
            .map(|text| String::from_utf8_lossy(&text).into_owned())
            .unwrap_or_default()
    }

    /// Waits until `ready` has something; fails when the program ends first or the time is up.
    pub fn until<T>(
        &mut self,
        what: &str,
        within: Duration,
        mut ready: impl FnMut() -> Option<T>,
    ) -> T {
        let deadline = Instant::now() + within;
        loop {
            if let Some(value) = ready() {
                return value;
            }
            assert!(
                Instant::now() < deadline,
                "{}: not within {within:?}: {what}",
                self.name
            );
            if let Some(status) = self.ended_within(TICK) {
                panic!("{} ended ({status}) before: {what}", self.name);
            }
        }
    }

    /// Waits for the end; fails when it does not come.
    pub fn wait(&mut self, within: Duration) -> ExitStatus {
        self.ended_within(within)
            .unwrap_or_else(|| panic!("{} is still running after {within:?}", self.name))
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        // An error means that the process is gone, which is what its reader will find out.
        let _ = kill_process(self.pid, signal);
    }

    /// Ends the program the polite way, and by force when that takes too long.
    pub fn stop(&mut self) {
        if self.ended.is_some() {
            return;
        }
        self.signal(Signal::TERM);
        if self.ended_within(GRACE).is_none() {
            eprintln!("{} did not end within {GRACE:?}; killed", self.name);
            self.signal(Signal::KILL);
            self.ended_within(GRACE);
        }
    }

    fn ended_within(&mut self, within: Duration) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = match self.exit.recv_timeout(within) {
                Ok(status) => Some(status),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => panic!("{}: lost track of it", self.name),
            };
        }
        self.ended
    }

    /// The directory that this process lives in.
    pub fn lab(&self) -> &Arc<Lab> {
        &self.lab
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}

fn log_handle(log: &Path) -> File {
    File::options()
        .append(true)
        .open(log)
        .expect("open a log that was just created")
}

/// What a program that has ended left behind.
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

impl Finished {
    /// Fails unless the program succeeded; else its standard output.
    pub fn ok(self, what: &str) -> String {
        assert!(
            self.status.success(),
            "{what} failed ({}):\n{}\n{}",
            self.status,
            self.stdout,
            self.stderr
        );
        self.stdout
    }
}

/// Runs a program to its end.
pub fn run(lab: &Arc<Lab>, name: &str, command: Command, within: Duration) -> Finished {
    let log = lab.log(name);
    let out = lab.log(&format!("{name}-stdout"));
    let out_file = File::create(&out).expect("create a log");
    let mut process = Process::start_with(lab, name, command, log, out_file);
    let status = process.wait(within);
    let text = std::fs::read(&out).unwrap_or_default();
    Finished {
        status,
        stdout: String::from_utf8_lossy(&text).into_owned(),
        stderr: process.log(),
    }
}
