//! What becomes of each `gha` export of a build.
//!
//! The first choice is a `local` export to a content store of ours, streamed over the build's
//! session. Without a session, or where buildkitd signs its indexes, BuildKit's own `gha` export
//! goes to the loopback endpoint and is relayed.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{
    backends,
    builds::Build,
    cache_entry::{CacheEntry, GHA},
    entry,
    interceptor::BuildInterceptor,
    own_manifest::OwnManifest,
    rewrite::{EntryEdit, SolveRequest},
};
use crate::{
    cache::{
        Event, ExportSummary, Refused,
        attributes::{self, Attributes},
    },
    digest::Digest,
    gateway::interceptor::GrpcStatus,
    telemetry::spans,
};

/// How long a Solve waits for its session. BuildKit gives up after 5 s, and its error would fail
/// the build.
const SESSION_WAIT: Duration = Duration::from_secs(3);

impl BuildInterceptor {
    /// Decides about all exports of a request, in their order.
    pub(super) async fn plan_exports(
        &self,
        build: &Build,
        request: &SolveRequest,
    ) -> Result<BTreeMap<String, EntryEdit>, GrpcStatus> {
        let mut edits = BTreeMap::new();
        let mut planned = 0;
        for entry in request.exports.iter().filter(|entry| entry.is_gha()) {
            let key = attributes::canonical(&entry.attrs);
            if edits.contains_key(&key) {
                // BuildKit itself refuses two exports that are the same.
                continue;
            }
            let edit = self
                .plan_export(build, request, entry, &key, planned)
                .await?;
            if edit != EntryEdit::REMOVE {
                planned += 1;
            }
            edits.insert(key, edit);
        }
        Ok(edits)
    }

    async fn plan_export(
        &self,
        build: &Build,
        request: &SolveRequest,
        entry: &CacheEntry,
        key: &str,
        index: usize,
    ) -> Result<EntryEdit, GrpcStatus> {
        let Some(spec) = entry::read(build, entry, &self.config, "export").await? else {
            return Ok(EntryEdit::REMOVE);
        };
        let ignore_error = spec.ignores_errors();
        let replacement = if self.can_stream(build, request).await {
            self.stream(build, request, &spec, key, index)
        } else {
            self.relay(build, &spec)
        };
        match replacement {
            Ok(entry) => Ok(EntryEdit::Replace(vec![entry])),
            Err(refused) => {
                entry::skip(build, "export", &refused.to_string(), ignore_error)?;
                let summary = Box::new(ExportSummary::skipped(&spec.scope));
                let reporter = build.progress.reporter();
                reporter.report(Event::ExportSummary(summary));
                Ok(EntryEdit::REMOVE)
            }
        }
    }

    /// True if the export can go over the build's session.
    async fn can_stream(&self, build: &Build, request: &SolveRequest) -> bool {
        if self.config.signed {
            return false;
        }
        let session = &request.session;
        let up = !session.is_empty() && self.sessions.wait(session, SESSION_WAIT).await;
        if !up {
            tracing::warn!(
                build = build.reference,
                "the build's session is not up: its cache export goes through the loopback endpoint"
            );
        }
        up
    }

    fn stream(
        &self,
        build: &Build,
        request: &SolveRequest,
        spec: &Attributes,
        key: &str,
        index: usize,
    ) -> Result<CacheEntry, Refused> {
        let vertex = build.progress.export_vertex(&request.session, index);
        let dest = Digest::sha256(format!("{}-{key}", build.reference)).hex();
        let form = OwnManifest::from_exports(&request.exports).form;
        let attrs = attributes::local_export_attrs(spec, &dest, form);
        let span = spans::export(&build.span, &build.reference);
        let cache = self.cache.traced_under(build.trace.parent());
        let job = span.in_scope(|| cache.export(spec, vertex.reporter()))?;
        vertex.register();
        build.add_content_host(&attributes::store_id(&dest), Arc::clone(&job) as _);
        build.add_export(job);
        Ok(CacheEntry {
            kind: "local".into(),
            attrs,
        })
    }

    fn relay(&self, build: &Build, spec: &Attributes) -> Result<CacheEntry, Refused> {
        let span = spans::export(&build.span, &build.reference);
        let cache = self.cache.traced_under(build.trace.parent());
        let relay = span.in_scope(|| cache.relay(spec, build.progress.reporter()))?;
        if spec.asynchronous {
            let why = if self.config.signed {
                "buildkitd signs its indexes"
            } else {
                "the build has no session that the gateway can answer on"
            };
            let short = format!(
                "cache export: async=true is ignored: BuildKit makes this export itself ({why}), and its build waits"
            );
            build.progress.warn(short, Vec::new());
        }
        if self.config.steps_can_listen {
            let short = "cache export: it passes unencrypted where build steps can listen";
            let detail = "--import-tls-cert and --import-tls-key of the gateway encrypt it";
            build
                .progress
                .warn(short.to_owned(), vec![detail.to_owned()]);
        }
        let token = relay.token();
        let (scopes, expires) = (token.scopes().to_vec(), token.expires());
        let backend = Arc::new(backends::ExportBackend(relay));
        let access = self.builds.endpoint().open(backend, &scopes, expires);
        let attrs = attributes::loopback_export_attrs(spec, access.url.expose(), &access.token);
        build.add_access(access);
        Ok(CacheEntry {
            kind: GHA.into(),
            attrs,
        })
    }
}
