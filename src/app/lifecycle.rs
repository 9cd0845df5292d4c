//! The gateway from its first client to its end: signals, draining, and the exit code.
//!
//! A signal that asks for the end does not go to buildkitd at once. buildkitd would refuse all
//! new calls from then on, and a build that has only begun needs some. So the gateway refuses new
//! builds itself, waits for those in flight, and stops buildkitd when there are none.

use std::{sync::Arc, time::Duration};

use rustix::process::Signal;
use tokio::{signal::unix::SignalKind, time::Instant};

use super::signals::forward_signal;
use crate::{
    gateway::{
        BuildInterceptor,
        supervise::{Child, ChildSignals},
    },
    lifecycle::{ENDING, Signals, Tasks},
    telemetry::Metrics,
};

/// How often the log says what is waited for.
const LOG_INTERVAL: Duration = Duration::from_secs(5);

/// How long a buildkitd without builds may take to end. It closes its databases; a second is
/// usual, more on a slow disk.
const STOP: Duration = Duration::from_secs(10);

/// The exit code where builds were cut off and there is no buildkitd to take it from.
const CUT_OFF: u8 = 1;

/// A gateway that serves.
pub(super) struct Lifecycle {
    pub child: Option<Child>,
    pub interceptor: Arc<BuildInterceptor>,
    pub signals: Signals,
    pub tasks: Tasks,
    /// How long builds in flight may go on after the first signal.
    pub drain: Duration,
    pub metrics: Metrics,
}

/// What happens to a gateway that serves.
enum Event {
    /// buildkitd has ended, with this code.
    Ended(u8),
    /// A signal asks for the end.
    EndRequested,
}

impl Lifecycle {
    /// Lives until buildkitd ends or a signal asks for it; the answer is the exit code.
    pub async fn run(mut self) -> u8 {
        match self.next().await {
            Event::Ended(code) => {
                tracing::error!("nobody asked buildkitd to end: the gateway ends with it");
                let pending = self.interceptor.activity().pending;
                if pending > 0 {
                    tracing::warn!(
                        pending,
                        "cache exports that were to go on after their builds are cut off: the older indexes \
                         stay in use"
                    );
                }
                code
            }
            Event::EndRequested => self.drain().await,
        }
    }

    async fn drain(&mut self) -> u8 {
        self.interceptor.close();
        let interceptor = Arc::clone(&self.interceptor);
        let deadline = Instant::now() + self.drain;
        let mut log = tokio::time::interval(LOG_INTERVAL);
        loop {
            tokio::select! {
                biased;
                () = interceptor.idle() => return self.stop().await,
                event = self.next() => match event {
                    Event::Ended(code) => return code,
                    Event::EndRequested => return self.kill("another signal came").await,
                },
                () = tokio::time::sleep_until(deadline) => {
                    let why = format!("they did not end within {:?}", self.drain);
                    return self.kill(&why).await;
                }
                _ = log.tick() => {
                    let left = deadline.saturating_duration_since(Instant::now()).as_secs();
                    tracing::info!(
                        "waiting for {}, at most {left} s more; another signal ends them at once",
                        interceptor.activity()
                    );
                }
            }
        }
    }

    /// Ends a buildkitd that has nothing to do.
    async fn stop(&mut self) -> u8 {
        let Some(child) = self.child_signals() else {
            return 0;
        };
        tracing::info!("no build is in flight: stopping buildkitd");
        child.signal(Signal::TERM);
        let ended = tokio::time::timeout(STOP, self.next()).await;
        if let Ok(Event::Ended(code)) = ended {
            return code;
        }
        self.kill("buildkitd does not end").await
    }

    /// Ends everything now, and says what is lost by it.
    async fn kill(&mut self, why: &str) -> u8 {
        let state = self.interceptor.activity();
        if state.builds + state.pending > 0 {
            tracing::warn!("{why}: {state} are cut off, and what they have not saved is lost");
        } else {
            tracing::warn!("{why}: it is killed");
        }
        match self.child_signals() {
            None => CUT_OFF,
            Some(child) => {
                child.signal(Signal::KILL);
                ended(self.child.as_mut()).await
            }
        }
    }

    fn child_signals(&self) -> Option<ChildSignals> {
        self.child.as_ref().map(Child::signals)
    }

    /// The next thing that matters; signals that are buildkitd's own are passed on meanwhile.
    async fn next(&mut self) -> Event {
        loop {
            let kind = tokio::select! {
                code = ended(self.child.as_mut()) => return Event::Ended(code),
                kind = self.signals.next() => kind,
            };
            if ENDING.contains(&kind) {
                return Event::EndRequested;
            }
            if kind == SignalKind::user_defined1() {
                self.log_state();
            }
            if let Some(child) = self.child_signals() {
                forward_signal(child, kind);
            }
        }
    }

    /// The lines that SIGUSR1 asks for.
    fn log_state(&self) {
        let state = self.interceptor.activity();
        tracing::info!(
            builds = state.builds,
            exports = state.exports,
            pending = state.pending,
            sessions = state.sessions,
            connections = state.connections,
            handles = state.handles,
            tasks = self.tasks.count(),
            export_spool = state.spool.exports,
            import_spool = state.spool.imports,
            "state"
        );
        tracing::info!(samples = self.metrics.samples(), "metrics");
    }
}

/// The exit code of the child; pending where there is none.
async fn ended(child: Option<&mut Child>) -> u8 {
    let Some(child) = child else {
        return std::future::pending().await;
    };
    match child.wait().await {
        Ok(code) => {
            tracing::info!(code, "buildkitd has ended");
            code
        }
        Err(error) => {
            tracing::error!(%error, "cannot wait for buildkitd");
            1
        }
    }
}
