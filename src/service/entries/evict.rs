//! What goes when entries take more than they may: least recently used first, in the order of [`in_order_of_eviction`].

#[cfg(test)]
mod tests;

use std::sync::Arc;

use jiff::Timestamp;

use super::Entries;
use crate::service::{
    api_error::ApiError,
    audit::AuditEvent,
    budgets::{Cause, EvictionTarget, Limit, in_order_of_eviction},
    crossed_budgets::{CrossedBudgets, Domain},
    metrics::Metrics,
    store::{Activity, Entry, LeastRecentlyUsed, Usage},
};

/// How many entries are looked for at once. Whoever waits for room waits for one batch, which takes milliseconds for
/// each entry.
const BATCH: u32 = 32;

/// How often in a row the first entry of a batch may have been found meanwhile, before others have a turn.
const ATTEMPTS: u32 = 8;

/// What a domain has left, and how far down it is to go.
struct DomainUsage {
    usage: Usage,
    limit: Limit,
    target: EvictionTarget,
}

impl DomainUsage {
    /// Why one more has to go. The last entry stays where the limit has room for it, though it may be above the target
    /// by itself.
    fn too_much(&self) -> Option<Cause> {
        let last = self.usage.entries <= 1 && self.limit.holds(self.usage);
        self.target.missed(self.usage).filter(|_| !last)
    }
}

/// What was evicted at once.
struct EvictionCounters<'a> {
    metrics: &'a Metrics,
    evicted: Usage,
}

impl<'a> EvictionCounters<'a> {
    fn new(metrics: &'a Metrics) -> Self {
        Self {
            metrics,
            evicted: Usage::default(),
        }
    }

    /// An entry of so many bytes is gone.
    fn add(&mut self, cause: Cause, size: u64) {
        self.metrics.evicted(cause, size);
        self.evicted = self.evicted.with(size);
    }
}

impl Entries {
    /// Where entries take more than they may.
    pub(crate) fn crossed_budgets(&self) -> &Arc<CrossedBudgets> {
        &self.crossed_budgets
    }

    /// Refuses an entry for which even an empty cache has no room.
    pub(crate) fn check_size(&self, size: u64) -> Result<(), ApiError> {
        match self.budgets.largest_entry() {
            Some(limit) if size > limit => Err(ApiError::entry_too_large(limit)),
            _ => Ok(()),
        }
    }

    /// Looks whether an entry that was committed is one too many. Whoever has committed it does not wait for what
    /// has to go, and does not fail because nobody knows.
    pub(super) async fn note_growth(&self, repository: &str) {
        if !self.budgets.bounds_usage() {
            return;
        }
        let own = Some(repository.to_owned());
        for (domain, limit) in [(own, self.budgets.repository), (None, self.budgets.all)] {
            if limit == Limit::default() {
                continue;
            }
            match self.store.usage(domain.as_deref()).await {
                Ok(usage) if limit.holds(usage) => {}
                Ok(_) => self.crossed_budgets.cross(domain),
                Err(error) => {
                    tracing::warn!(%error, "how much entries take is not known");
                    self.crossed_budgets.wake();
                }
            }
        }
    }

    /// Evicts what was not found for too long, and then as [`Entries::evict_excess`] does.
    pub(crate) async fn evict(&self, metrics: &Metrics) -> Result<(), ApiError> {
        let mut counters = EvictionCounters::new(metrics);
        let aged = self.evict_aged(&mut counters).await;
        self.log_evicted(&counters).await;
        aged?;
        self.evict_excess(metrics).await
    }

    /// Evicts where entries are above their budgets: first in each repository, then in all.
    pub(crate) async fn evict_excess(&self, metrics: &Metrics) -> Result<(), ApiError> {
        if !self.budgets.bounds_usage() {
            return Ok(());
        }
        let _turn = self.evictions.lock().await;
        let mut counters = EvictionCounters::new(metrics);
        let evicted = self.evict_everywhere(&mut counters).await;
        self.log_evicted(&counters).await;
        evicted
    }

    /// Says what it came to, if anything.
    async fn log_evicted(&self, counters: &EvictionCounters<'_>) {
        if counters.evicted.entries > 0 {
            self.audit
                .record(AuditEvent::evicted(counters.evicted))
                .await;
        }
    }

    async fn evict_everywhere(&self, counters: &mut EvictionCounters<'_>) -> Result<(), ApiError> {
        let limit = self.budgets.repository;
        if limit != Limit::default() {
            let above = self.store.repositories_above(limit.as_usage()).await?;
            // What others have deleted from is within its budget, and its writers wait to hear of it.
            let mut repositories = self.crossed_budgets.crossed_repositories();
            repositories.extend(above);
            for repository in repositories {
                self.evict_from(Some(repository), limit, counters).await?;
            }
        }
        if self.budgets.all != Limit::default() {
            self.evict_from(None, self.budgets.all, counters).await?;
        }
        Ok(())
    }

    /// Evicts entries of a domain until they are well below its limit again.
    async fn evict_from(
        &self,
        domain: Domain,
        limit: Limit,
        counters: &mut EvictionCounters<'_>,
    ) -> Result<(), ApiError> {
        let (mut target, mut attempts, mut fewest) = (None, 0, u64::MAX);
        while attempts < ATTEMPTS {
            let crossings = self.crossed_budgets.crossings(&domain);
            let usage = self.store.usage(domain.as_deref()).await?;
            // Another process may be faster.
            if usage.entries < fewest {
                (attempts, fewest) = (0, usage.entries);
            }
            if limit.holds(usage) {
                self.crossed_budgets.clear(&domain, crossings);
            }
            target = target.or_else(|| limit.target(usage, self.budgets.low_water));
            let Some(target) = target else { return Ok(()) };
            let mut left = DomainUsage {
                usage,
                limit,
                target,
            };
            if left.too_much().is_none() {
                return Ok(());
            }
            let evicted = self.evict_batch(&domain, &mut left, counters).await?;
            attempts = if evicted { 0 } else { attempts + 1 };
        }
        tracing::warn!(
            repository = domain,
            "entries are above their budget and nothing can be evicted"
        );
        Ok(())
    }

    /// Evicts some entries of a domain, as long as too much is left; false if none could go. Ends at one that is gone or
    /// was found since: with several processes, each would go on by itself where all together have done enough.
    async fn evict_batch(
        &self,
        domain: &Domain,
        left: &mut DomainUsage,
        counters: &mut EvictionCounters<'_>,
    ) -> Result<bool, ApiError> {
        let candidates = self.candidates(domain.clone(), None).await?;
        // Counted after the list: what another process evicts is in this sum, or is the first of the list.
        left.usage = self.store.usage(domain.as_deref()).await?;
        let mut evicted = false;
        for entry in candidates {
            let Some(cause) = left.too_much() else { break };
            if !self.evict_one(&entry, cause, counters).await? {
                break;
            }
            left.usage = left.usage.without(entry.size);
            evicted = true;
        }
        Ok(evicted)
    }

    /// Evicts entries that nobody has found for too long.
    async fn evict_aged(&self, counters: &mut EvictionCounters<'_>) -> Result<(), ApiError> {
        let Some(age) = self.budgets.max_age else {
            return Ok(());
        };
        let before = (self.clock)().checked_sub(age).unwrap_or(Timestamp::MIN);
        loop {
            // One batch at a time: room that somebody waits for comes between.
            let _turn = self.evictions.lock().await;
            let mut evicted = false;
            for entry in self.candidates(None, Some(before)).await? {
                evicted |= self.evict_one(&entry, Cause::Age, counters).await?;
            }
            if !evicted {
                return Ok(());
            }
        }
    }

    /// Some entries, in the order in which they go.
    async fn candidates(
        &self,
        domain: Domain,
        before: Option<Timestamp>,
    ) -> Result<Vec<Entry>, ApiError> {
        let mut which = LeastRecentlyUsed {
            repository: domain,
            newest_indexes: false,
            before,
        };
        let others = self.store.least_recently_used(&which, BATCH).await?;
        which.newest_indexes = true;
        let indexes = self.store.least_recently_used(&which, BATCH).await?;
        let mut candidates = in_order_of_eviction(others, indexes);
        // Beyond that another may come first that is in neither list.
        candidates.truncate(BATCH as usize);
        Ok(candidates)
    }

    /// Evicts an entry, the row first as for a deletion; false if it was found meanwhile, or is gone. Whoever reads it
    /// reads on.
    async fn evict_one(
        &self,
        entry: &Entry,
        cause: Cause,
        counters: &mut EvictionCounters<'_>,
    ) -> Result<bool, ApiError> {
        let Some(content) = self.store.delete_unless_found(entry).await? else {
            return Ok(false);
        };
        counters.add(cause, entry.size);
        let gone = Activity::evicted(entry.size);
        self.note_activity(&entry.name.repository, gone).await;
        let name = &entry.name;
        tracing::debug!(
            repository = name.repository,
            scope = name.scope,
            key = name.key,
            size = entry.size,
            accessed = %entry.accessed,
            cause = cause.name(),
            "an entry is evicted"
        );
        // The next collection removes what stays.
        if let Err(error) = self.remove_unneeded(content).await {
            let cause = error.cause();
            tracing::warn!(%error, cause, "the bytes of an evicted entry stay for now");
        }
        Ok(true)
    }
}
