//! Waits for exports, and says line by line for which.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::{Stream, stream};
use tokio::time::Instant;

use super::control::Control;
use crate::stats::{DrainState, DrainStatus};

/// How often exports are looked at.
const INTERVAL: Duration = Duration::from_millis(100);

/// After so many looks without a change the line is sent again: whoever reads sees that it goes on.
const REPEAT: u32 = 50;

/// The drains that are running.
#[derive(Debug, Clone, Default)]
pub(super) struct Drains(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    running: AtomicUsize,
    /// How many exports that failed after their builds a drain has reported at its end.
    reported: AtomicU64,
}

impl Drains {
    pub fn begin(&self) -> Drain {
        self.0.running.fetch_add(1, Ordering::Relaxed);
        Drain(self.clone())
    }

    pub fn any(&self) -> bool {
        self.0.running.load(Ordering::Relaxed) > 0
    }
}

/// A drain that is running, as long as somebody reads what it says.
#[derive(Debug)]
pub(super) struct Drain(Drains);

impl Drop for Drain {
    fn drop(&mut self) {
        self.0.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Where a drain is.
struct Progress {
    control: Arc<dyn Control>,
    deadline: Instant,
    last: Option<DrainStatus>,
    /// How many exports had failed before it that it does not report.
    failed_before: u64,
    drain: Drain,
}

impl Drain {
    /// Says what is waited for, as it changes, until no export is left or `timeout` is over. Builds go on
    /// meanwhile, and their exports are waited for, too.
    pub fn run(
        self,
        control: Arc<dyn Control>,
        timeout: Duration,
    ) -> impl Stream<Item = DrainStatus> {
        let (failed, reported) = (control.failed(), self.0.0.reported.load(Ordering::Relaxed));
        let unreported = failed.after_build.saturating_sub(reported);
        let progress = Progress {
            control,
            deadline: Instant::now() + timeout,
            last: None,
            failed_before: failed.all.saturating_sub(unreported),
            drain: self,
        };
        stream::unfold(progress, |mut progress| async move {
            let status = progress.next().await?;
            Some((status, progress))
        })
    }
}

impl Progress {
    async fn next(&mut self) -> Option<DrainStatus> {
        let last = self.last.take();
        if last
            .as_ref()
            .is_some_and(|last| last.state != DrainState::Waiting)
        {
            return None;
        }
        let mut status = self.look();
        for _ in 0..REPEAT {
            if status.state != DrainState::Waiting || last.as_ref() != Some(&status) {
                break;
            }
            let next = Instant::now() + INTERVAL;
            tokio::time::sleep_until(next.min(self.deadline)).await;
            status = self.look();
        }
        self.last = Some(status.clone());
        Some(status)
    }

    fn look(&self) -> DrainStatus {
        let exports = self.control.unfinished();
        let state = if exports.is_empty() {
            DrainState::Drained
        } else if Instant::now() >= self.deadline {
            DrainState::TimedOut
        } else {
            DrainState::Waiting
        };
        let failed = self.control.failed();
        if state != DrainState::Waiting {
            let reported = &self.drain.0.0.reported;
            reported.fetch_max(failed.after_build, Ordering::Relaxed);
        }
        DrainStatus {
            state,
            exports,
            spool_bytes: self.control.spool_bytes(),
            failed: failed.all.saturating_sub(self.failed_before),
        }
    }
}
