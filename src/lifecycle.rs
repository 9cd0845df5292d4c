//! Starting and ending: one token says "stop", one tracker knows every task.
//!
//! No task is spawned bare. A task has a name and an owner: [`Tasks::spawn`] ties it to the
//! process, [`TaskGuard`] ties it to a value, and either way it ends with its owner. The log names
//! a task that panics, and those that outlive the shutdown.

use std::{
    collections::BTreeMap, future::Future, io, panic::AssertUnwindSafe, sync::Arc, time::Duration,
};

use futures_util::FutureExt as _;
use parking_lot::Mutex;
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit,
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task::AbortHandle,
};
use tokio_util::{
    sync::CancellationToken,
    task::{AbortOnDropHandle, TaskTracker},
};
use tracing::Instrument as _;

/// Lets the process have as many open files as the system allows it: the usual soft limit of 1024 is
/// for programs that cannot deal with more.
pub fn raise_file_limit() -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    Ok(setrlimit(Resource::Nofile, raised)?)
}

/// How many files are one part of so many that the process may have open: what a kind of them may take, so that
/// the others find room.
pub fn share_of_files(parts: u64) -> usize {
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(files / parts).unwrap_or(usize::MAX).max(1)
}

/// Keeps others out of the memory of this process, which holds tokens: the kernel writes no core of it,
/// and programs of the same user may neither trace it nor read what `/proc` has of it. A program that it
/// starts is free of that.
pub fn forbid_inspection() -> io::Result<()> {
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

/// The tasks of the process, and the wish that they end.
#[derive(Clone, Default, Debug)]
pub struct Tasks {
    tracker: TaskTracker,
    shutdown: CancellationToken,
    running: Running,
}

/// How many tasks of each name are running.
#[derive(Clone, Default, Debug)]
struct Running(Arc<Mutex<BTreeMap<&'static str, usize>>>);

impl Running {
    fn enter(&self, name: &'static str) -> RunningTask {
        *self.0.lock().entry(name).or_default() += 1;
        let running = self.clone();
        RunningTask { name, running }
    }

    /// As in `client connection, uploaded layer (3)`.
    fn names(&self) -> String {
        let names = self.0.lock();
        let names = names.iter().map(|(name, count)| match count {
            1 => (*name).to_owned(),
            count => format!("{name} ({count})"),
        });
        names.collect::<Vec<_>>().join(", ")
    }
}

/// A task is running for as long as this is there.
struct RunningTask {
    name: &'static str,
    running: Running,
}

impl Drop for RunningTask {
    fn drop(&mut self) {
        let mut names = self.running.0.lock();
        if let Some(count) = names.get_mut(self.name) {
            *count -= 1;
            if *count == 0 {
                names.remove(self.name);
            }
        }
    }
}

impl Tasks {
    /// Starts a task that belongs to the process.
    pub fn spawn<F>(&self, name: &'static str, task: F) -> AbortHandle
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.tracker.spawn(self.named(name, task)).abort_handle()
    }

    /// The task with its name in the log and among those that are running. It is not held in a future
    /// of ours that awaits it: that would take its size once more.
    fn named<F: Future>(
        &self,
        name: &'static str,
        task: F,
    ) -> impl Future<Output = F::Output> + use<F> {
        let running = self.running.enter(name);
        let span = tracing::debug_span!("task", name);
        let caught = AssertUnwindSafe(task).catch_unwind();
        let named = caught.map(move |ended| {
            // It is dropped with the future where the task is aborted.
            drop(running);
            ended.unwrap_or_else(|panic| {
                tracing::error!(task = name, "a task has panicked");
                std::panic::resume_unwind(panic)
            })
        });
        named.instrument(span)
    }

    /// Starts a task that ends when the guard is dropped.
    #[must_use = "the task ends when the guard is dropped"]
    pub fn spawn_guarded<F>(&self, name: &'static str, task: F) -> TaskGuard
    where
        F: Future<Output = ()> + Send + 'static,
    {
        // A guard keeps tokio's cell of the task: what stands in a box is freed when the task is over,
        // and an export has a guard for each of its layers.
        TaskGuard(self.spawn(name, Box::pin(task)))
    }

    /// Starts a task whose result its owner waits for; it ends when the handle is dropped.
    pub fn spawn_joined<F>(&self, name: &'static str, task: F) -> AbortOnDropHandle<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        AbortOnDropHandle::new(self.tracker.spawn(self.named(name, task)))
    }

    /// The token that is cancelled when the process should end.
    pub fn shutdown(&self) -> &CancellationToken {
        &self.shutdown
    }

    /// Asks all tasks to end and waits for them, at most `grace`. True if all have ended; the log
    /// names the others.
    pub async fn drain(&self, grace: Duration) -> bool {
        self.shutdown.cancel();
        self.tracker.close();
        let ended = tokio::time::timeout(grace, self.tracker.wait()).await;
        if ended.is_err() {
            let tasks = self.running.names();
            tracing::warn!(tasks, "tasks outlive the shutdown");
        }
        ended.is_ok()
    }

    /// How many tasks are running.
    pub fn count(&self) -> usize {
        self.tracker.len()
    }
}

/// Runs `work` on a thread that may block. It runs to its end even if its caller leaves. Where it
/// panics, the caller gets an I/O error.
pub async fn run_blocking<T, E>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, E>
where
    T: Send + 'static,
    E: From<io::Error> + Send + 'static,
{
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)?
}

/// Ends its task when dropped.
#[derive(Debug)]
pub struct TaskGuard(AbortHandle);

impl Drop for TaskGuard {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The signals that ask a process to end.
pub const ENDING: [SignalKind; 2] = [SignalKind::terminate(), SignalKind::interrupt()];

/// The signals that the process has asked for, in the order in which they come.
#[derive(Debug)]
pub struct Signals(Vec<(SignalKind, Signal)>);

impl Signals {
    /// Begins to listen for `kinds`; from now on they do not end the process by themselves.
    pub fn listen(kinds: &[SignalKind]) -> io::Result<Self> {
        let streams = kinds.iter().map(|kind| Ok((*kind, signal(*kind)?)));
        streams.collect::<io::Result<_>>().map(Self)
    }

    /// The next signal. Dropping the future loses none.
    pub async fn next(&mut self) -> SignalKind {
        std::future::poll_fn(|context| {
            for (kind, stream) in &mut self.0 {
                if stream.poll_recv(context).is_ready() {
                    return std::task::Poll::Ready(*kind);
                }
            }
            std::task::Poll::Pending
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn tasks_that_outlive_the_shutdown_are_known_by_name() {
        let tasks = Tasks::default();
        let stuck = tasks.spawn_guarded("stuck", pending());
        let _other = tasks.spawn_guarded("stuck", pending());
        tasks.spawn("short", async {});
        assert!(!tasks.drain(Duration::from_secs(1)).await);
        assert_eq!(tasks.running.names(), "stuck (2)");
        drop(stuck);
        assert!(!tasks.drain(Duration::from_secs(1)).await);
        assert_eq!(tasks.running.names(), "stuck");
    }

    #[tokio::test]
    async fn a_task_that_panics_is_over_and_its_owner_learns_of_it() {
        let tasks = Tasks::default();
        let task = tasks.spawn_joined("broken", async { panic!("on purpose") });
        let ended: Result<(), _> = task.await;
        assert!(ended.unwrap_err().is_panic());
        assert_eq!(tasks.running.names(), "");
    }
}
