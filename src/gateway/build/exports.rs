//! What becomes of each `gha` export of a build.
//!
//! The first choice is a `local` export to a content store of ours, streamed over the build's
//! session. Without a session, or where buildkitd signs its indexes, BuildKit's own `gha` export
//! goes to the loopback endpoint and is relayed.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{
    backends,
    builds::Build,
    entry::{self, Refusal},
    interceptor::BuildInterceptor,
    own_manifest::OwnManifest,
    rewrite::{Edit, Entry, SolveRequest},
};
use crate::{
    cache::attributes::{self, Attributes},
    digest::Digest,
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
    ) -> Result<BTreeMap<String, Edit>, Refusal> {
        let mut edits = BTreeMap::new();
        let mut ours = 0;
        for entry in request.exports.iter().filter(|entry| entry.is_gha()) {
            let key = attributes::canonical(&entry.attrs);
            if edits.contains_key(&key) {
                // BuildKit itself refuses two exports that are the same.
                continue;
            }
            let edit = self.plan_export(build, request, entry, &key, ours).await?;
            if edit != Edit::REMOVE {
                ours += 1;
            }
            edits.insert(key, edit);
        }
        Ok(edits)
    }

    async fn plan_export(
        &self,
        build: &Build,
        request: &SolveRequest,
        entry: &Entry,
        key: &str,
        index: usize,
    ) -> Result<Edit, Refusal> {
        let Some(spec) = entry::read(build, entry, &self.settings.overrides, "export").await?
        else {
            return Ok(Edit::REMOVE);
        };
        let ignore_error = spec.ignores_errors();
        let made = if self.streams(build, request).await {
            self.stream(build, request, &spec, key, index)
        } else {
            self.relay(build, &spec)
        };
        match made {
            Ok(entry) => Ok(Edit::Replace(vec![entry])),
            Err(refused) => {
                entry::skip(build, "export", &refused.to_string(), ignore_error)?;
                Ok(Edit::REMOVE)
            }
        }
    }

    /// True if the export can go over the build's session.
    async fn streams(&self, build: &Build, request: &SolveRequest) -> bool {
        if self.settings.signed {
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
    ) -> Result<Entry, crate::cache::Refused> {
        let row = build.board.export_row(&request.session, index);
        let dest = Digest::of(format!("{}-{key}", build.reference)).hex();
        let form = OwnManifest::beside(&request.exports).form;
        let attrs = attributes::local_export_attrs(spec, &dest, form);
        let job = self.cache.export(spec, row.reporter())?;
        row.expect();
        build.serve(&attributes::store_id(&dest), Arc::clone(&job) as _);
        build.keep_export(job);
        Ok(Entry {
            kind: "local".into(),
            attrs,
        })
    }

    fn relay(&self, build: &Build, spec: &Attributes) -> Result<Entry, crate::cache::Refused> {
        let relay = self.cache.relay(spec, build.board.reporter())?;
        if self.settings.steps_can_listen {
            let short = "cache export: it passes unencrypted where build steps can listen";
            let detail = "--import-tls-cert and --import-tls-key of the gateway encrypt it";
            build.board.warn(short.to_owned(), vec![detail.to_owned()]);
        }
        let token = relay.token();
        let (scopes, expires) = (token.scopes().to_vec(), token.expires());
        let backend = Arc::new(backends::Export(relay));
        let access = self.builds.endpoint().open(backend, &scopes, expires);
        let attrs = attributes::loopback_export_attrs(spec, access.url.expose(), &access.token);
        build.keep_access(access);
        Ok(Entry {
            kind: entry::GHA.into(),
            attrs,
        })
    }
}
