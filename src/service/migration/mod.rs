//! Moves all entries, their content and the secret from one pair of stores to another, while no service uses either.
//!
//! Entries are inserted in the order of their commits, since that order decides which of several is the newest. So a
//! migration that was interrupted has moved the first of them, and goes on with the others (ADR 73).

mod content;
mod copier;
mod error;
mod meter;
mod report;
mod side;

use std::{collections::HashSet, sync::Arc};

use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use tokio::time::{Instant, interval_at};

use self::{
    copier::{Begun, Copied, Copier},
    error::store_error,
    side::OpenSide,
};
pub use self::{
    error::{MigrationError, SideRole},
    meter::{OnProgress, Progress},
    report::{MigrationReport, Moved},
    side::Side,
};
use super::{
    config::RENEW_INTERVAL,
    store::{Committed, EntryStore, StoreError},
};
use crate::lifecycle::Tasks;

/// How many entries are copied at once: as many as parts of a bucket are in memory, so that small entries do not wait
/// for one another's answers.
const MAX_COPIES: usize = 8;

/// Two open sides, of which the target has the secret of the source.
pub struct Migration {
    source: OpenSide,
    target: OpenSide,
    /// Whether an earlier run may have left something at the target.
    resumed: bool,
    /// Whether what was written is read again and compared.
    verify: bool,
}

impl Migration {
    /// Opens both sides, and gives the target the secret of the source. Fails where that has no service's entries, where
    /// the target has those of another service, and where a service uses either.
    pub async fn open(from: &Side, to: &Side, verify: bool) -> Result<Self, MigrationError> {
        side::check_distinct(from, to)?;
        let (source, secret) = OpenSide::source(from).await?;
        let (target, resumed) = match OpenSide::target(to, secret).await {
            Ok(opened) => opened,
            Err(error) => {
                source.give_up().await;
                return Err(error);
            }
        };
        Ok(Self {
            source,
            target,
            resumed,
            verify,
        })
    }

    /// Moves what the target does not have yet. May be dropped at any time; another one goes on then.
    pub async fn run(&self, on_progress: OnProgress) -> Result<MigrationReport, MigrationError> {
        tokio::select! {
            moved = self.copy_all(on_progress) => moved,
            error = self.watch() => Err(error),
        }
    }

    /// Ends both sides; the next migration need not wait for their leases.
    pub async fn close(self) -> Result<(), MigrationError> {
        self.source.close().await?;
        self.target.close().await
    }

    async fn copy_all(&self, on_progress: OnProgress) -> Result<MigrationReport, MigrationError> {
        self.copy_tokens().await?;
        let total = self.source.usage().await?;
        let copier = Arc::new(Copier::new(self, total, on_progress));
        let mut all = Box::pin(copies(&copier).try_buffered(MAX_COPIES));
        let mut report = MigrationReport::new(self.verify);
        while let Some(begun) = all.try_next().await? {
            match copier.go_on(begun).await? {
                Copied::Ready(ready) => {
                    copier.finish(&ready).await?;
                    report.copied.add(ready.size());
                }
                Copied::AlreadyThere(size) => report.already_there.add(size),
                Copied::LeftOut(size) => report.left_out.add(size),
            }
        }
        self.compare(total, report).await
    }

    /// Copies what is known of tokens: with the secret they are good at the target, and those that were revoked must not
    /// be.
    async fn copy_tokens(&self) -> Result<(), MigrationError> {
        let tokens = self.source.stores.tokens.tokens().await;
        for token in tokens.map_err(store_error(SideRole::Source))? {
            let recorded = self.target.stores.tokens.record(&token).await;
            recorded.map_err(store_error(SideRole::Target))?;
        }
        Ok(())
    }

    /// Compares both sides as a whole.
    async fn compare(
        &self,
        total: Moved,
        report: MigrationReport,
    ) -> Result<MigrationReport, MigrationError> {
        if report.seen() != total || self.source.usage().await? != total {
            return Err(MigrationError::SourceChanged);
        }
        let (expected, found) = (report.moved(), self.target.usage().await?);
        if found != expected {
            return Err(MigrationError::Differs { expected, found });
        }
        Ok(report)
    }

    /// Keeps the leases of both sides, until somebody else uses one.
    async fn watch(&self) -> MigrationError {
        let mut ticks = interval_at(Instant::now() + RENEW_INTERVAL, RENEW_INTERVAL);
        loop {
            ticks.tick().await;
            for side in [&self.source, &self.target] {
                match side.keep().await {
                    Err(error @ MigrationError::InUse(_)) => return error,
                    // Whatever else needs the store says so, too, and a lease has time for another try.
                    Err(error) => tracing::warn!(%error, "a lease is not renewed"),
                    Ok(()) => {}
                }
            }
        }
    }
}

/// The copies of all entries of the source, in the order of their commits. Each begins when it is polled first.
fn copies(
    copier: &Arc<Copier>,
) -> impl Stream<Item = Result<impl Future<Output = Result<Begun, MigrationError>>, MigrationError>>
{
    let tasks = Tasks::default();
    let entries = committed(copier.source_entries()).map_err(store_error(SideRole::Source));
    let mut contents = HashSet::new();
    entries.map_ok(move |entry| {
        let first = contents.insert(entry.content);
        // A task of its own, so that it goes on while an entry is inserted.
        let (tasks, copier) = (tasks.clone(), Arc::clone(copier));
        async move {
            let copy = async move { copier.begin(entry.id, first).await };
            let ended = tasks.spawn_joined("copy of an entry", copy).await;
            ended.unwrap_or_else(|failed| Err(MigrationError::Task(failed.to_string())))
        }
    })
}

/// All entries, in the order of their commits.
fn committed(entries: Arc<dyn EntryStore>) -> impl Stream<Item = Result<Committed, StoreError>> {
    let pages = stream::try_unfold(i64::MIN, move |last| {
        let entries = Arc::clone(&entries);
        async move {
            let page = entries.committed(last).await?;
            let Some(end) = page.last().map(|entry| entry.position) else {
                return Ok(None);
            };
            let page = stream::iter(page.into_iter().map(Ok));
            Ok::<_, StoreError>(Some((page, end)))
        }
    });
    pages.try_flatten().boxed()
}
