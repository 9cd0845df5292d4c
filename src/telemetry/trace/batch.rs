//! Ended spans in batches: few calls while a build runs, and no delay at its end.

use std::time::Duration;

use tokio::{
    sync::mpsc::Receiver,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::span::EndedSpan;

/// How long a span may wait for others. BuildKit keeps what comes within 3 s of a build's end, and less where
/// somebody asks for its record before.
const DELAY: Duration = Duration::from_millis(500);

/// Spans of one batch: with some 300 bytes each, far less than a message of gRPC may have.
const BATCH: usize = 512;

/// Puts ended spans together.
#[derive(Debug)]
pub struct Batches {
    spans: Receiver<EndedSpan>,
    batch: Vec<EndedSpan>,
    due: Option<Instant>,
}

impl Batches {
    /// Batches of these.
    pub fn new(spans: Receiver<EndedSpan>) -> Self {
        Self {
            spans,
            batch: Vec::new(),
            due: None,
        }
    }

    /// The next batch; `None` when there will be no more. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Vec<EndedSpan>> {
        while !self.is_due() {
            let next = match self.due {
                None => self.spans.recv().await,
                Some(due) => match timeout_at(due, self.spans.recv()).await {
                    Ok(next) => next,
                    Err(_) => break,
                },
            };
            let Some(span) = next else { break };
            self.due.get_or_insert_with(|| Instant::now() + DELAY);
            self.batch.push(span);
        }
        self.due = None;
        let batch = std::mem::take(&mut self.batch);
        (!batch.is_empty()).then_some(batch)
    }

    /// The next batch; once `end` is cancelled what there is, at once, and then `None`.
    pub async fn next_until(&mut self, end: &CancellationToken) -> Option<Vec<EndedSpan>> {
        tokio::select! {
            biased;
            () = end.cancelled() => {
                let rest = self.rest();
                (!rest.is_empty()).then_some(rest)
            }
            batch = self.next() => batch,
        }
    }

    fn rest(&mut self) -> Vec<EndedSpan> {
        let mut rest = std::mem::take(&mut self.batch);
        while let Ok(span) = self.spans.try_recv() {
            rest.push(span);
        }
        rest
    }

    fn is_due(&self) -> bool {
        let flushes = |span: &EndedSpan| span.flushes;
        self.batch.len() >= BATCH || self.batch.last().is_some_and(flushes)
    }
}
