//! The gateway's own part of a build: the calls that carry cache options, on their way through.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use prost::Message as _;
use url::Url;

use super::{
    builds::{Build, Builds, PlannedImport},
    cache_entry::CacheEntry,
    counters::BuildCounters,
    default_cache, definition,
    own_manifest::OwnManifest,
    progress::{BuildProgress, WarningTarget},
    redactor::Redactor,
    rewrite::{self, EntryEdit, SolveRequest},
    sessions::Sessions,
    status_stream::StatusStream,
};
use crate::{
    cache::{
        Cache, attributes,
        steps::{BuildSteps, StepDefinition},
    },
    content,
    gateway::{
        config::InterceptorConfig,
        endpoint::Endpoint,
        interceptor::{
            Code, Daemon, GrpcStatus, Interceptor, RewrittenSolve, SolveCompletion, StatusEditor,
        },
    },
    lifecycle::Tasks,
    proto::control::StatusRequest,
    stats::{self, Outcome},
    wire::WireError,
};

/// Takes over the `gha` entries of builds.
pub(crate) struct BuildInterceptor {
    pub(super) config: InterceptorConfig,
    pub(super) cache: Cache,
    pub(super) builds: Arc<Builds>,
    pub(super) sessions: Sessions,
    pub(super) redactor: Redactor,
}

impl BuildInterceptor {
    /// Exports to and imports from `cache`; buildkitd, which is called as `daemon`, reads from `endpoint`.
    pub fn new(
        config: InterceptorConfig,
        cache: Cache,
        endpoint: Endpoint,
        daemon: Arc<dyn Daemon>,
        tasks: Tasks,
    ) -> Self {
        let counters = BuildCounters::new(config.metrics.clone());
        Self {
            config,
            cache,
            builds: Builds::new(endpoint, WarningTarget { daemon, tasks }, counters),
            sessions: Sessions::default(),
            redactor: Redactor::default(),
        }
    }
}

impl BuildInterceptor {
    /// What the last builds did, the newest first.
    pub fn last_builds(&self) -> Vec<stats::Build> {
        self.builds.records()
    }

    async fn solve_build(
        &self,
        build: &Arc<Build>,
        request: Bytes,
        read: SolveRequest,
    ) -> Result<RewrittenSolve, GrpcStatus> {
        let (request, read) =
            default_cache::add_to_solve(&self.config, build, request, read).map_err(malformed)?;
        self.register_tokens(&read);
        if let Some(definition) = &read.definition {
            define(&build.progress.steps, definition::read(definition));
        }
        let exports = self.plan_exports(build, &read).await?;
        let imports = self.plan_imports(build, &read.imports).await?;
        if read.begins_to_solve() {
            self.wait_for_indexes(build, &imports).await;
        }
        let strips_manifest =
            !exports.is_empty() && OwnManifest::from_exports(&read.exports).is_distinct;
        let request = if exports.is_empty() && imports.is_empty() {
            request
        } else {
            let export = |entry: &CacheEntry| edit_for(entry, &exports, Clone::clone);
            rewrite::rewrite_solve(&request, export, |entry| import_edit(entry, &imports))
                .map_err(malformed)?
                .into()
        };
        let completion = Box::new(BuildCompletion {
            build: Arc::clone(build),
            strips_manifest,
        });
        Ok(RewrittenSolve {
            request,
            completion,
        })
    }

    /// Keeps the tokens of a request out of the traces that follow it.
    fn register_tokens(&self, request: &SolveRequest) {
        let entries = request.exports.iter().chain(&request.imports);
        for entry in entries.filter(|entry| entry.is_gha()) {
            for name in [attributes::name::TOKEN, attributes::name::GHTOKEN] {
                if let Some(token) = entry.attrs.get(name) {
                    self.redactor.register(token);
                }
            }
        }
    }
}

#[async_trait]
impl Interceptor for BuildInterceptor {
    async fn solve(
        &self,
        traceparent: Option<&str>,
        request: Bytes,
    ) -> Result<RewrittenSolve, GrpcStatus> {
        if self.builds.is_closed() {
            let words = "this builder is shutting down and takes no new builds";
            return Err(GrpcStatus::new(Code::Unavailable, words));
        }
        let read = rewrite::read_solve(&request).map_err(malformed)?;
        let trace = || self.config.tracer.build(traceparent, &read.build_ref);
        let build = self.builds.begin(&read.build_ref, trace);
        if !read.is_internal {
            build.keep_record();
        }
        let solve = self.solve_build(&build, request, read).await;
        if solve.is_err() {
            build.end(Outcome::Failed);
        }
        solve
    }

    async fn llb_solve(
        &self,
        build_ref: Option<&str>,
        request: Bytes,
    ) -> Result<RewrittenSolve, GrpcStatus> {
        let entries = rewrite::read_llb_imports(&request).map_err(malformed)?;
        let Some(build) = build_ref.and_then(|build_ref| self.builds.find(build_ref)) else {
            if entries.iter().any(CacheEntry::is_gha) {
                tracing::warn!(
                    build_ref,
                    "LLBBridge.Solve of no known build is passed on as it is"
                );
            }
            return Ok(RewrittenSolve {
                request,
                completion: Box::new(LlbCompletion(None)),
            });
        };
        build.progress.bridge_is_open();
        let (mut request, entries) =
            default_cache::add_to_llb_solve(&build, request, entries).map_err(malformed)?;
        if entries.iter().any(CacheEntry::is_gha) {
            let imports = self.plan_imports(&build, &entries).await?;
            self.wait_for_indexes(&build, &imports).await;
            let edit = |entry: &CacheEntry| import_edit(entry, &imports);
            request = rewrite::rewrite_llb_solve(&request, edit)
                .map_err(malformed)?
                .into();
        }
        Ok(RewrittenSolve {
            request,
            completion: Box::new(LlbCompletion(Some(Arc::clone(&build.progress)))),
        })
    }

    fn trace(&self, request: Bytes) -> Bytes {
        self.redactor.redact(request)
    }

    fn status(&self, request: &Bytes) -> Result<Box<dyn StatusEditor>, GrpcStatus> {
        let request = StatusRequest::decode(request.as_ref()).map_err(|error| {
            let words = format!("buildkit-gha: Control.Status: {error}");
            GrpcStatus::new(Code::InvalidArgument, words)
        })?;
        let builds = Arc::clone(&self.builds);
        let unreached = move || builds.endpoint().unreached_url().map(Url::to_string);
        let progress = self.builds.progress(&request.r#ref);
        Ok(Box::new(StatusStream::new(progress, unreached)))
    }

    fn content_host(&self, store_id: &str) -> Option<Arc<dyn content::Host>> {
        self.builds.content_host(store_id)
    }

    fn session_up(&self, session_id: &str) {
        self.sessions.up(session_id);
    }

    fn session_down(&self, session_id: &str) {
        self.sessions.down(session_id);
    }

    fn takes_builds(&self) -> bool {
        !self.builds.is_closed()
    }
}

fn edit_for<T>(
    entry: &CacheEntry,
    edits: &BTreeMap<String, T>,
    edit: impl Fn(&T) -> EntryEdit,
) -> EntryEdit {
    if !entry.is_gha() {
        return EntryEdit::Keep;
    }
    edits
        .get(&attributes::canonical(&entry.attrs))
        .map_or(EntryEdit::Keep, edit)
}

fn import_edit(entry: &CacheEntry, imports: &BTreeMap<String, PlannedImport>) -> EntryEdit {
    edit_for(entry, imports, |import| import.edit.clone())
}

#[allow(clippy::needless_pass_by_value, reason = "the form that map_err wants")]
fn malformed(error: WireError) -> GrpcStatus {
    let message = format!("buildkit-gha cannot read the request's cache options: {error}");
    GrpcStatus::new(Code::InvalidArgument, message)
}

/// A Control.Solve that buildkitd is working on. Its end is the build's end.
struct BuildCompletion {
    build: Arc<Build>,
    /// A manifest that is ours by its digest is none of the user's.
    strips_manifest: bool,
}

impl SolveCompletion for BuildCompletion {
    fn edit_response(self: Box<Self>, message: Bytes) -> Bytes {
        self.build.end(Outcome::Ok);
        if !self.strips_manifest {
            return message;
        }
        rewrite::strip_cache_manifest(&message, |digest| self.build.wrote_manifest(digest))
            .map_or(message, Bytes::from)
    }

    fn fail(self: Box<Self>) {
        self.build.end(Outcome::Failed);
    }
}

/// An `LLBBridge.Solve` that buildkitd is working on, with what is known of its build. It keeps no build
/// alive.
struct LlbCompletion(Option<Arc<BuildProgress>>);

impl SolveCompletion for LlbCompletion {
    fn edit_response(self: Box<Self>, message: Bytes) -> Bytes {
        if let Some(progress) = self.0 {
            define(&progress.steps, definition::read_response(&message));
            progress.record_sources(&message);
        }
        message
    }
}

/// Tells the build's steps what they are.
fn define(steps: &BuildSteps, definitions: Result<Vec<StepDefinition>, WireError>) {
    match definitions {
        Ok(definitions) => steps.define(definitions),
        Err(error) => tracing::debug!(%error, "the steps of a build cannot be read"),
    }
}

#[cfg(test)]
mod tests;
