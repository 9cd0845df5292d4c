//! What becomes of each `gha` import of a build.
//!
//! BuildKit recognises an import by its type and attributes, and the same import comes in
//! Control.Solve and again in every LLBBridge.Solve: it is decided once per build, and every
//! later place gets the same answer.

use std::{collections::BTreeMap, sync::Arc};

use futures_util::future::join_all;
use tokio::time::Instant;

use super::{
    backends,
    builds::{Build, PlannedImport},
    cache_entry::{CacheEntry, GHA},
    entry, import_name,
    interceptor::BuildInterceptor,
    rewrite::EntryEdit,
};
use crate::{
    cache::{
        ContentImport, Event, ImportJob, Refused,
        attributes::{self, Attributes},
    },
    digest::Digest,
    gateway::{config::ImportTransport, interceptor::GrpcStatus},
    telemetry::spans,
};

impl BuildInterceptor {
    /// Decides about the imports among `entries`, or recalls what was decided.
    pub(super) async fn plan_imports(
        &self,
        build: &Build,
        entries: &[CacheEntry],
    ) -> Result<BTreeMap<String, PlannedImport>, GrpcStatus> {
        let mut decided = build.imports.lock().await;
        let mut wanted = BTreeMap::new();
        for entry in entries.iter().filter(|entry| entry.is_gha()) {
            let key = attributes::canonical(&entry.attrs);
            let import = match decided.get(&key) {
                Some(import) => import.clone(),
                None => self.plan_import(build, entry).await?,
            };
            decided.insert(key.clone(), import.clone());
            wanted.insert(key, import);
        }
        Ok(wanted)
    }

    async fn plan_import(
        &self,
        build: &Build,
        entry: &CacheEntry,
    ) -> Result<PlannedImport, GrpcStatus> {
        let Some(spec) = entry::read(build, entry, &self.config, "import").await? else {
            return Ok(PlannedImport::dropped());
        };
        let span = spans::import(&build.span, &build.reference);
        let cache = self.cache.traced_under(build.trace.parent());
        let import = || cache.import(&spec, build.progress.reporter());
        let job = match span.in_scope(import) {
            Ok(job) => job,
            Err(refused) => {
                build.progress.record.skip_import();
                if let Refused::Unreadable { .. } = refused {
                    // It was decided so: nobody needs to be warned of it.
                    let reporter = build.progress.reporter();
                    reporter.report(Event::Note(format!("no cache import: {refused}")));
                } else {
                    // Not even `ignore-error=false` makes an import's fault an error: it is a miss.
                    entry::skip(build, "import", &refused.to_string(), true)?;
                }
                return Ok(PlannedImport::dropped());
            }
        };
        build.progress.add_import(&job);
        let entries = match self.config.import {
            ImportTransport::Loopback => vec![self.over_loopback(build, &spec, &job)],
            ImportTransport::Content => self.over_content(build, entry, &job).await,
        };
        for entry in &entries {
            let (from, to) = (
                import_name::from_entry(entry),
                import_name::from_scope(&spec.scope),
            );
            build.progress.rename_import(from, to);
        }
        Ok(PlannedImport {
            edit: EntryEdit::Replace(entries),
            job: Some(job),
        })
    }

    /// Stock's own importer, reading from the loopback endpoint.
    fn over_loopback(&self, build: &Build, spec: &Attributes, job: &Arc<ImportJob>) -> CacheEntry {
        let backend = Arc::new(backends::ImportBackend(Arc::clone(job)));
        let expires = job.token().expires();
        let access = self.builds.endpoint().open(backend, job.scopes(), expires);
        let attrs = attributes::loopback_import_attrs(spec, access.url.expose(), &access.token);
        build.add_access(access);
        CacheEntry {
            kind: GHA.into(),
            attrs,
        }
    }

    /// BuildKit's `local` importer, reading from a content store of ours: one entry per index. It
    /// must be told the manifest's digest, so the indexes are waited for here.
    async fn over_content(
        &self,
        build: &Build,
        entry: &CacheEntry,
        job: &Arc<ImportJob>,
    ) -> Vec<CacheEntry> {
        self.wait_for_index(build, &[job]).await;
        let host = Arc::new(ContentImport::new(job).await);
        let key = attributes::canonical(&entry.attrs);
        let store = Digest::sha256(format!("{}-import-{key}", build.reference)).hex();
        let entries = (host.manifests().iter())
            .map(|manifest| CacheEntry {
                kind: "local".into(),
                attrs: attributes::local_import_attrs(&store, manifest),
            })
            .collect();
        build.add_content_host(&attributes::store_id(&store), host);
        entries
    }

    /// Holds a build until the indexes of its imports are in, at most for the index wait, which all
    /// calls of the build share.
    ///
    /// A wait inside buildkitd would stop its scheduler, that is every build: here only the build
    /// that asked waits, and buildkitd's importer is always answered at once.
    pub(super) async fn wait_for_indexes(
        &self,
        build: &Build,
        imports: &BTreeMap<String, PlannedImport>,
    ) {
        let jobs = imports.values().filter_map(|import| import.job.as_ref());
        self.wait_for_index(build, &jobs.collect::<Vec<_>>()).await;
    }

    async fn wait_for_index(&self, build: &Build, jobs: &[&Arc<ImportJob>]) {
        let whole = self.config.index_wait;
        let mut left = build.index_wait.lock().await;
        let begun = Instant::now();
        let wait = left.unwrap_or(whole);
        let waits = jobs.iter().map(|job| job.ready(begun + wait));
        let late = join_all(waits).await.contains(&false);
        *left = Some(wait.saturating_sub(begun.elapsed()));
        // A build that has used up its wait has its warning.
        if late && !wait.is_zero() {
            let short = format!(
                "cache import: the index did not arrive within {} s; the build goes on without it",
                whole.as_secs_f32()
            );
            build.progress.warn(short, Vec::new());
        }
        if late {
            build.progress.steps.index_is_late();
        }
    }
}
