//! The end of an export: from the manifest to the index, which is committed last of all.

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::Instant;

use super::{Core, Outcome, latest_index::PreviousIndex, ledger::Settled, plan::Plan};
use crate::{
    actions::{self, Client, Deadline, Priority},
    cache::{
        graph,
        index::{self, CommitError},
        index_format::CacheConfig,
        manifest::Manifest,
        repair,
        report::Event,
        unreachable,
        wait_rows::WaitRow,
    },
    content,
};

/// Of an export's time, uploads may not use the last part: the index is still to be written.
/// One tenth, and no more than four calls need at a slow service.
const INDEX_SHARE: u32 = 10;
const INDEX_TIME: Duration = Duration::from_secs(20);

/// How long layers may take beyond the time of their export, while bytes move. Stock has no bound;
/// this one is how long a signed upload URL is good for at least.
pub(in crate::cache) const OVERTIME: Duration = Duration::from_hours(1);

/// When an export's parts must be done.
pub(super) struct Times {
    /// Every layer; those that are on their way go on while bytes move.
    pub uploads: Deadline,
    /// The index too, unless layers go on beyond this.
    pub all: Instant,
    /// What of it is the index's.
    share: Duration,
}

impl Times {
    /// For an export of `client` that began at `begun`.
    pub fn of(client: &Client, begun: Instant, timeout: Duration) -> Self {
        let index = (timeout / INDEX_SHARE).min(INDEX_TIME);
        let uploads = begun + timeout.saturating_sub(index);
        Self {
            uploads: client.while_moving(uploads, OVERTIME),
            all: begun + timeout,
            share: index,
        }
    }

    /// When the index must be done, once the uploads have ended.
    fn index(&self) -> Instant {
        let now = Instant::now();
        if now > self.all {
            now + INDEX_TIME
        } else {
            self.all.max(now + self.share)
        }
    }
}

impl Core {
    /// Holds the manifest's COMMIT until the index is committed, or is not going to be.
    pub async fn finish(&self, manifest: &Bytes) -> Result<(), content::Error> {
        let outcome = match self.outcome() {
            Outcome::Open => tokio::select! {
                biased;
                () = self.cancelled.cancelled() => Outcome::Cancelled,
                outcome = self.write_index(manifest) => {
                    self.release();
                    outcome.unwrap_or_else(|why| self.failed(why))
                }
            },
            // The manifest came twice: what it came to does not change.
            ended => ended,
        };
        self.end(outcome)
    }

    /// BuildKit shows the error of a COMMIT on its own row, where clients count no warning.
    fn failed(&self, why: String) -> Outcome {
        self.tell(Event::Warning {
            short: "cache export: the index was not written; the older one, if any, stays in use"
                .to_owned(),
            detail: vec![why.clone()],
        });
        Outcome::Failed(why)
    }

    fn end(&self, outcome: Outcome) -> Result<(), content::Error> {
        self.outcome
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone_from(&outcome);
        match outcome {
            Outcome::Failed(why) => Err(content::Error::Internal(why)),
            Outcome::Cancelled => self.check_open(),
            Outcome::Open | Outcome::Unchanged | Outcome::Nothing | Outcome::Written { .. } => {
                self.check_whole()
            }
        }
    }

    /// An error if layers were left out and the user wants to know by an error. The index names
    /// what could be saved all the same.
    fn check_whole(&self) -> Result<(), content::Error> {
        match self.lost.get().filter(|_| self.strict) {
            Some(lost) => Err(content::Error::Internal(lost.clone())),
            None => Ok(()),
        }
    }

    async fn write_index(&self, manifest: &Bytes) -> Result<Outcome, String> {
        let described = self.describe(manifest)?;
        let (described, worth) = run_blocking(move || {
            let worth = graph::savings(&described).map_err(|e| e.to_string())?;
            Ok((described, worth))
        })
        .await?;
        self.ledger.weigh(&worth);
        let version = &self.lane.version;
        let client = self.lane.client.with_deadline(self.times().all);
        let client = client.with_priority(&Priority::first());
        let newest = self.newest().renewed(&self.lane, &client);
        let settled = self.settle().await;
        let reporter = Arc::clone(&self.lane.reporter);
        let mut plan =
            run_blocking(move || Plan::new(&described, settled, reporter.as_ref())).await?;
        if let Some((short, mut detail)) = plan.loss() {
            if plan.is_late() {
                let timeout = self.timeout;
                detail.push(format!("the timeout of this export is {timeout:?}"));
            }
            let _ = self.lost.set(format!("{short}: {}", detail.join("; ")));
            let unreachable = plan.unreachable();
            self.tell(unreachable.unwrap_or(Event::Warning { short, detail }));
        }
        let layers = plan.kept.layers.len();
        if layers == 0 {
            self.note("no layer to name: the cache index stays as it is".to_owned());
            return Ok(Outcome::Nothing);
        }

        let client = client.with_deadline(self.times().index());
        let newest = newest.renewed(&self.lane, &client).outcome().await;
        let newest = newest.ok_or("the gateway is shutting down")?;
        let newest = match newest {
            Ok(newest) => newest,
            Err(error) => {
                let why = format!("the newest cache index could not be read: {error}");
                return self.cut_off(&error, why);
            }
        };
        if let Some(older) = &newest {
            self.warn_of_unreadable(older);
            if older.graph.as_ref() == Some(&plan.graph) {
                self.note(format!("cache index {} is unchanged", older.key));
                return Ok(Outcome::Unchanged);
            }
            let identity = self.lane.client.identity();
            plan.kept.damaged = repair::left(&self.lane.cache.quarantine, identity, &older.damaged);
        }
        let older = newest.as_deref();
        let newest = older.map(|older| older.key.as_str());
        let content = plan.kept.to_json().into();
        let index = &self.lane.index;
        let committed = if self.lane.cannot_read_own_scope() {
            index::commit_from(&client, index, version, index::number_from_clock(), content).await
        } else {
            index::commit(&client, index, version, newest, content).await
        };
        let key = match committed {
            Ok(key) => key,
            Err(CommitError::Remote(error)) => return self.cut_off(&error, error.to_string()),
            Err(error) => return Err(error.to_string()),
        };
        self.tell_of_replaced(&client, older, &plan.kept, &key)
            .await;
        self.note(format!("cache index {key} written, {layers} layers"));
        Ok(Outcome::Written {
            key,
            layers,
            left_out: plan.left_out(),
        })
    }

    /// The index was not written because of this error, in the words `why`.
    fn cut_off(&self, error: &actions::Error, why: String) -> Result<Outcome, String> {
        let Some(warning) = unreachable::warning(error) else {
            return Err(why);
        };
        self.tell(warning);
        Ok(Outcome::Failed(why))
    }

    fn warn_of_unreadable(&self, older: &PreviousIndex) {
        if let Some(error) = &older.unreadable {
            self.tell(Event::Warning {
                short: format!(
                    "cache export: the newest index {} could not be read, so the next one is written \
                     without knowing what it says",
                    older.key
                ),
                detail: vec![error.to_string()],
            });
        }
    }

    /// The index that the manifest and the config it names describe.
    fn describe(&self, manifest: &[u8]) -> Result<CacheConfig, String> {
        let manifest = Manifest::parse(manifest).map_err(|e| e.to_string())?;
        let digest = manifest.config.digest;
        let config = self.documents.get(digest).ok_or_else(|| {
            format!("the cache manifest names the config {digest}, which was not written")
        })?;
        manifest.index(&config).map_err(|e| e.to_string())
    }

    async fn settle(&self) -> Settled {
        let uploading = self.ledger.uploading();
        let layers = if uploading == 1 { "layer" } else { "layers" };
        let name = format!("waiting for {uploading} {layers} to be confirmed");
        let _shown = (uploading > 0).then(|| WaitRow::new(&self.lane.reporter, name));
        self.ledger.settle(&self.times().uploads).await
    }

    fn note(&self, text: String) {
        self.tell(Event::Note(text));
    }

    pub(super) fn tell(&self, event: Event) {
        self.lane.reporter.report(event);
    }
}

/// Runs work on a large graph where it does not stop other tasks.
async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| e.to_string())?
}
