//! The audit log: what was deleted and evicted, who was refused, and which tokens were made and revoked.
//!
//! Each event is an event of `tracing` with a target of its own, and a line of JSON where the operator wants one.
//! What anybody can cause without a token is bounded; what was left out is counted.

mod event;
mod limit;
mod target;

use std::{io, sync::Arc};

use jiff::Timestamp;
use parking_lot::Mutex;
use serde::Serialize;

pub(super) use self::event::{Actor, AuditEvent, EventKind};
pub use self::target::AuditTarget;
use self::{limit::DenialLimit, target::AuditSink};
use super::{blocking::run_blocking, clock::Clock};

/// A line of the log that is written to a file.
#[derive(Serialize)]
struct Line<'a> {
    time: Timestamp,
    #[serde(flatten)]
    event: &'a AuditEvent,
}

/// Where events go.
pub(super) struct AuditLog {
    sink: Option<Arc<AuditSink>>,
    clock: Clock,
    limit: Mutex<DenialLimit>,
}

impl AuditLog {
    /// Events go to the log of the process, and to a target of their own if there is one. Opens it; blocks.
    pub(super) fn open(target: Option<&AuditTarget>, clock: Clock) -> io::Result<Self> {
        let sink = target.map(AuditSink::open).transpose()?;
        Ok(Self {
            sink: sink.map(Arc::new),
            clock,
            limit: Mutex::default(),
        })
    }

    /// Writes an event down, unless too many of its kind have come.
    pub(super) async fn record(&self, mut event: AuditEvent) {
        if event.event.is_denial() {
            let admitted = self.limit.lock().admit((self.clock)());
            let Some(left_out) = admitted else { return };
            event.left_out = Some(left_out).filter(|left_out| *left_out > 0);
            event.shorten();
        }
        self.write(event).await;
    }

    /// Says how many events were left out, if any were since the last that was written.
    pub(super) async fn tell_left_out(&self) {
        let left_out = self.limit.lock().take_left_out();
        if left_out > 0 {
            self.write(AuditEvent {
                left_out: Some(left_out),
                ..AuditEvent::new(EventKind::DenialsLeftOut)
            })
            .await;
        }
    }

    async fn write(&self, event: AuditEvent) {
        event.log();
        let Some(sink) = self.sink.clone() else {
            return;
        };
        let line = Line {
            time: (self.clock)(),
            event: &event,
        };
        let line = serde_json::to_string(&line).expect("an event is texts and numbers");
        // It may fail only where the runtime ends.
        let written = run_blocking(move || {
            sink.write(line);
            Ok::<_, io::Error>(())
        });
        if let Err(error) = written.await {
            tracing::warn!(%error, "an event is missing in the audit log");
        }
    }
}

#[cfg(test)]
mod tests;
