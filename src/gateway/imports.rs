//! What becomes of each `gha` import of a build.
//!
//! BuildKit recognises an import by its type and attributes, and the same import comes in
//! Control.Solve and again in every LLBBridge.Solve: it is decided once per build, and every
//! later place gets the same answer.

use std::{collections::BTreeMap, sync::Arc};

use futures_util::future::join_all;
use tokio::time::Instant;

use super::{
    Front, backends,
    builds::{Build, Import},
    entry::{self, Refusal},
    rewrite::{Edit, Entry},
};
use crate::cache::{
    Event, ImportJob, Refused,
    spec::{self, Spec},
};

impl Front {
    /// Decides about the imports among `entries`, or recalls what was decided.
    pub(super) async fn plan_imports(
        &self,
        build: &Build,
        entries: &[Entry],
    ) -> Result<BTreeMap<String, Import>, Refusal> {
        let mut decided = build.imports.lock().await;
        let mut wanted = BTreeMap::new();
        for entry in entries.iter().filter(|entry| entry.is_gha()) {
            let key = spec::canonical(&entry.attrs);
            let import = match decided.get(&key) {
                Some(import) => import.clone(),
                None => self.plan_import(build, entry)?,
            };
            decided.insert(key.clone(), import.clone());
            wanted.insert(key, import);
        }
        Ok(wanted)
    }

    fn plan_import(&self, build: &Build, entry: &Entry) -> Result<Import, Refusal> {
        let dropped = Import {
            edit: Edit::Remove,
            job: None,
        };
        let Some(spec) = entry::read(build, entry, &self.settings.overrides, "import")? else {
            return Ok(dropped);
        };
        // Not even `ignore-error=false` makes an import's fault an error: it is a miss.
        match self.import(build, &spec) {
            Ok((entry, job)) => Ok(Import {
                edit: Edit::Replace(entry),
                job: Some(job),
            }),
            Err(refused) => {
                entry::skip(build, "import", &refused.to_string(), true)?;
                Ok(dropped)
            }
        }
    }

    fn import(&self, build: &Build, spec: &Spec) -> Result<(Entry, Arc<ImportJob>), Refused> {
        let job = self.cache.import(spec, build.board.reporter())?;
        let backend = Arc::new(backends::Import(Arc::clone(&job)));
        let expires = job.token().expires();
        let access = self.builds.endpoint().open(backend, job.scopes(), expires);
        let attrs = spec::loopback_import_attrs(spec, access.url.expose(), &access.token);
        build.keep_access(access);
        let entry = Entry {
            kind: entry::GHA.into(),
            attrs,
        };
        Ok((entry, job))
    }

    /// Holds a build until the indexes of its imports are in, at most for the index deadline.
    ///
    /// A wait inside buildkitd would stop its scheduler, that is every build: here only the build
    /// that asked waits, and buildkitd's importer is always answered at once.
    pub(super) async fn wait_for_indexes(&self, build: &Build, imports: &BTreeMap<String, Import>) {
        let deadline = Instant::now() + self.settings.index_wait;
        let jobs = imports.values().filter_map(|import| import.job.as_ref());
        let waits = jobs.map(|job| job.ready(deadline));
        if join_all(waits).await.contains(&false) {
            let seconds = self.settings.index_wait.as_secs_f32();
            build.board.reporter().report(Event::Warning {
                short: format!(
                    "cache import: the index did not arrive within {seconds} s; the build goes on \
                     without it"
                ),
                detail: Vec::new(),
            });
        }
    }
}
