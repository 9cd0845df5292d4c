//! A child process that cannot outlive its owner.

use std::{
    ffi::OsStr,
    fs::File,
    io,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Receiver},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use super::{Lab, version};

/// How long a program may take to end by itself before it is killed.
const GRACE: Duration = Duration::from_secs(20);

/// How often a condition is looked at that nobody can announce.
const TICK: Duration = Duration::from_millis(50);

/// Where programs are looked for after the tools that the suite built.
const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A command with a clean environment: nothing of the machine's settings reaches a test.
pub fn command(lab: &Lab, program: impl AsRef<OsStr>) -> Command {
    // The parent may be killed; `setpriv` has the kernel end the child then.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM", "--"]).arg(program);
    command
        .env_clear()
        .env("PATH", format!("{}:{SYSTEM_PATH}", version::tools()))
        .env("HOME", lab.path(""));
    command.stdin(Stdio::null());
    command
}

/// A running program and its log (standard output and error together).
pub struct Process {
    name: String,
    pid: Pid,
    log: PathBuf,
    // One reader at a time; the lock lets tests share what holds a process.
    exit: Mutex<Receiver<ExitStatus>>,
    ended: Option<ExitStatus>,
    lab: Arc<Lab>,
}

impl Process {
    /// Starts the command with a log of this name for all that it writes.
    pub fn start(lab: &Arc<Lab>, name: &str, command: Command) -> Self {
        let log = lab.log(name);
        Self::start_with(lab, name, command, &log, &log)
    }

    fn start_with(
        lab: &Arc<Lab>,
        name: &str,
        mut command: Command,
        stdout: &Path,
        stderr: &Path,
    ) -> Self {
        command.stdout(append_to(stdout)).stderr(append_to(stderr));
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
            log: stderr.to_owned(),
            exit: Mutex::new(exit),
            ended: None,
            lab: Arc::clone(lab),
        }
    }

    /// Its process id.
    #[allow(dead_code, reason = "for benches")]
    pub fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// What the kernel says of the program under this name. It must be running.
    pub fn proc(&self, name: &str) -> PathBuf {
        format!("/proc/{}/{name}", self.pid.as_raw_nonzero()).into()
    }

    /// A number of its status, such as `Threads`.
    pub fn status(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(self.proc("status")).expect("the program is running");
        let mut lines = status.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let number = value.and_then(|value| value.split_whitespace().next()?.parse().ok());
        number.unwrap_or_else(|| panic!("no number {name} in:\n{status}"))
    }

    /// The most memory that the program ever had, in bytes. It must be running.
    pub fn peak_memory(&self) -> u64 {
        self.status("VmHWM") * 1024
    }

    /// The processes that it has started and that still run.
    pub fn children(&self) -> Vec<Pid> {
        let tasks = std::fs::read_dir(self.proc("task")).expect("the program is running");
        let tasks = tasks.flatten().map(|task| task.path().join("children"));
        // A thread may end meanwhile.
        let children = tasks.flat_map(std::fs::read_to_string);
        let children: Vec<String> = children.collect();
        let words = children.iter().flat_map(|words| words.split_whitespace());
        words
            .filter_map(|word| Pid::from_raw(word.parse().ok()?))
            .collect()
    }

    /// The environments of the programs that this one has started and that still run.
    pub fn environments_of_children(&self) -> Vec<String> {
        self.of_children("environ")
    }

    /// The command lines of these, with a zero byte behind each word.
    pub fn commands_of_children(&self) -> Vec<String> {
        self.of_children("cmdline")
    }

    fn of_children(&self, name: &str) -> Vec<String> {
        let tasks = format!("/proc/{}/task", self.pid.as_raw_nonzero());
        let tasks = std::fs::read_dir(tasks).expect("the program is running");
        let children = tasks.filter_map(|task| {
            std::fs::read_to_string(task.expect("a task").path().join("children")).ok()
        });
        let children: Vec<String> = children.collect();
        let pids = children.iter().flat_map(|pids| pids.split_whitespace());
        pids.map(|pid| read(Path::new(&format!("/proc/{pid}/{name}"))))
            .collect()
    }

    /// What the program has written so far.
    pub fn log(&self) -> String {
        read(&self.log)
    }

    /// Waits until `ready`, given the log so far, has something; fails when the program ends first or the time is up.
    pub fn until<T>(
        &mut self,
        what: &str,
        within: Duration,
        mut ready: impl FnMut(&str) -> Option<T>,
    ) -> T {
        let deadline = Instant::now() + within;
        loop {
            if let Some(value) = ready(&self.log()) {
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

    /// Waits for the end of a program whose output and errors go to one log.
    pub fn finish(mut self, within: Duration) -> Finished {
        Finished {
            status: self.wait(within),
            stdout: String::new(),
            stderr: self.log(),
        }
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

    /// How the program ended, if it does so in time.
    pub fn ended_within(&mut self, within: Duration) -> Option<ExitStatus> {
        let exit = self.exit.get_mut().unwrap_or_else(PoisonError::into_inner);
        self.ended = self.ended.or_else(|| exit.recv_timeout(within).ok());
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

fn append_to(log: &Path) -> File {
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
    let stdout = lab.log(&format!("{name}-stdout"));
    let mut process = Process::start_with(lab, name, command, &stdout, &lab.log(name));
    let status = process.wait(within);
    Finished {
        status,
        stdout: read(&stdout),
        stderr: process.log(),
    }
}

fn read(log: &Path) -> String {
    let text = std::fs::read(log).expect("read a log");
    String::from_utf8_lossy(&text).into_owned()
}
