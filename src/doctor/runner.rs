//! A runner whose `ACTIONS_RESULTS_URL` was overridden: whether its jobs have their cache here and artifacts still.

use http::StatusCode;
use url::Url;

use super::{Check, Diagnosis, Surroundings, check::cure, client, service, surroundings, token};
use crate::{
    actions::{Api, Http, HttpConfig, HttpError},
    protocol::identity,
    secret::Secret,
};

/// Where actions of GitHub ask which artifacts there are (`@actions/artifact` 2 and newer).
const LIST_ARTIFACTS: &str = "/twirp/github.actions.results.api.v1.ArtifactService/ListArtifacts";

/// What a job has of its runner, as far as it is there.
#[derive(Default)]
pub struct JobVariables {
    /// `ACTIONS_RESULTS_URL`.
    pub results: Option<Url>,
    /// `ACTIONS_CACHE_URL`.
    pub cache: Option<Url>,
    /// `ACTIONS_CACHE_SERVICE_V2`, as it is.
    pub service_v2: Option<String>,
    /// `ACTIONS_RUNTIME_TOKEN`.
    pub token: Option<Secret>,
    /// The service that they choose for caches.
    pub api: Option<Api>,
}

/// What is to be examined of a runner.
pub struct Runner {
    /// What a job has.
    pub variables: JobVariables,
    /// What else the environment says.
    pub surroundings: Surroundings,
    /// Connections.
    pub http: HttpConfig,
}

/// Examines a runner, from inside of one of its jobs.
pub async fn examine_runner(runner: Runner) -> Result<Diagnosis, HttpError> {
    let http = Http::new(&runner.http)?;
    let variables = &runner.variables;
    let urls: Vec<_> = variables.urls().map(|(_, url)| url.clone()).collect();
    let mut checks = vec![
        variables.check(),
        surroundings::proxy(&runner.surroundings, &urls),
        surroundings::certificates(&runner.surroundings),
    ];
    if let Some(api) = &variables.api {
        checks.push(override_of(&http, api.url()).await);
    }
    if let (Some(api), Some(raw)) = (&variables.api, &variables.token) {
        let (check, token) = token::check(raw.clone());
        checks.push(check);
        if let Some(token) = token {
            checks.push(service::check(&client(&http, api, token)).await);
        }
    }
    checks.push(match (&variables.results, &variables.token) {
        (Some(results), Some(token)) => artifacts(&http, results, token).await,
        _ => Check::skipped(
            ARTIFACTS,
            "no ACTIONS_RESULTS_URL with ACTIONS_RUNTIME_TOKEN",
        ),
    });
    if let Some(api) = &variables.api {
        checks.push(service::clock(&http, &health_of(api.url())).await);
    }
    Ok(Diagnosis {
        checks,
        next_build: Vec::new(),
    })
}

impl JobVariables {
    fn urls(&self) -> impl Iterator<Item = (&'static str, &Url)> {
        let results = self.results.iter().map(|url| ("ACTIONS_RESULTS_URL", url));
        results.chain(self.cache.iter().map(|url| ("ACTIONS_CACHE_URL", url)))
    }

    /// Which are there. URLs are shown without their paths, which may open doors.
    fn check(&self) -> Check {
        const NAME: &str = "variables";
        let origin = |url: &Url| url.origin().ascii_serialization();
        let mut shown: Vec<_> = (self.urls())
            .map(|(name, url)| format!("{name}={}", origin(url)))
            .collect();
        shown.extend(
            self.service_v2
                .iter()
                .map(|v2| format!("ACTIONS_CACHE_SERVICE_V2={v2}")),
        );
        shown.extend(
            self.token
                .iter()
                .map(|_| "ACTIONS_RUNTIME_TOKEN is set".to_owned()),
        );
        let shown = shown.join(", ");
        if self.api.is_none() || self.token.is_none() {
            let missing = "a job's ACTIONS_RESULTS_URL (or ACTIONS_CACHE_URL) and ACTIONS_RUNTIME_TOKEN are not all here";
            let detail = if shown.is_empty() {
                missing.to_owned()
            } else {
                format!("{missing}; {shown}")
            };
            return Check::failed(
                NAME,
                detail,
                "run it in a job, after a step that gives them to later ones (this project's action, or \
                 crazy-max/ghaction-github-runtime): GitHub's runner shows them to actions and not to `run:`",
            );
        }
        if self.results.is_some() && self.service_v2.is_none() {
            return Check::warning(
                NAME,
                format!("{shown}; without ACTIONS_CACHE_SERVICE_V2 actions speak version 1"),
                "set ACTIONS_CACHE_SERVICE_V2=true on the runner, as github.com does for its jobs",
            );
        }
        Check::ok(NAME, shown)
    }
}

/// What `serve` answers itself, whatever it sends on.
fn health_of(url: &Url) -> Url {
    let mut health = url.clone();
    health.set_path("/healthz");
    health
}

/// Who answers where the job's caches are.
async fn override_of(http: &Http, url: &Url) -> Check {
    const NAME: &str = "override";
    const ELSEWHERE: &str = "let the runner keep an ACTIONS_RESULTS_URL that leads to `buildkit-gha serve` \
         (docs/recipes.md, A runner whose results URL is overridden)";
    let origin = url.origin().ascii_serialization();
    match http.head(&health_of(url)).await {
        Err(error) => Check::failed(NAME, error.to_string(), cure(&error, ELSEWHERE, ELSEWHERE)),
        Ok((status, headers)) if headers.get(identity::SERVICE) == Some(&identity::SERVE) => {
            if status.is_success() {
                Check::ok(NAME, format!("buildkit-gha serve answers at {origin}"))
            } else {
                let detail = format!("buildkit-gha serve at {origin} is not well: {status}");
                Check::failed(NAME, detail, "see its log: its database may be away")
            }
        }
        Ok((status, _)) => {
            let detail = format!("{origin} is no buildkit-gha serve: its /healthz says {status}");
            Check::failed(NAME, detail, ELSEWHERE)
        }
    }
}

/// The name of the check.
const ARTIFACTS: &str = "artifacts";

/// Whether there is a service of artifacts where the job looks for them: it refuses an empty message, and that is
/// enough.
async fn artifacts(http: &Http, results: &Url, token: &Secret) -> Check {
    let mut url = results.clone();
    url.set_path(LIST_ARTIFACTS);
    let origin = results.origin().ascii_serialization();
    match http.twirp_status(&url, token).await {
        Err(error) => Check::failed(ARTIFACTS, error.to_string(), cure(&error, "", "")),
        Ok(status) => judge_artifacts(&origin, status),
    }
}

fn judge_artifacts(origin: &str, status: StatusCode) -> Check {
    match status {
        StatusCode::NOT_FOUND => Check::failed(
            ARTIFACTS,
            format!("{origin} has no artifacts: actions/upload-artifact fails in jobs"),
            "start serve with --upstream-results-url https://results-receiver.actions.githubusercontent.com",
        ),
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::LOOP_DETECTED => {
            Check::failed(
                ARTIFACTS,
                format!("{origin} cannot reach the service of artifacts behind it: {status}"),
                "check --upstream-results-url of serve, its proxies and its firewall, and see its log",
            )
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Check::warning(
            ARTIFACTS,
            format!("{origin} passes them on to a service that refuses the token: {status}"),
            "artifacts need the token that GitHub gives the job, not one of `buildkit-gha token`",
        ),
        status => Check::ok(
            ARTIFACTS,
            format!("{origin} passes them on ({status} for an empty message)"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Status;

    #[test]
    fn what_is_missing_is_named_and_paths_are_not_shown() {
        let check = JobVariables::default().check();
        assert_eq!(check.status, Status::Failed);
        let url = Url::parse("https://cache.example/secret/").unwrap();
        let mut variables = JobVariables {
            results: Some(url.clone()),
            token: Some(Secret::new("t")),
            api: Some(Api::V2(url)),
            ..JobVariables::default()
        };
        let check = variables.check();
        assert_eq!(check.status, Status::Warning, "{check:?}");
        assert!(!check.detail.contains("secret"), "{check:?}");
        variables.service_v2 = Some("true".to_owned());
        assert_eq!(variables.check().status, Status::Ok);
    }

    #[test]
    fn artifacts_are_judged_by_who_answers() {
        for (status, expected) in [
            (StatusCode::BAD_REQUEST, Status::Ok),
            (StatusCode::OK, Status::Ok),
            (StatusCode::UNAUTHORIZED, Status::Warning),
            (StatusCode::NOT_FOUND, Status::Failed),
            (StatusCode::BAD_GATEWAY, Status::Failed),
        ] {
            let check = judge_artifacts("https://cache.example", status);
            assert_eq!(check.status, expected, "{check:?}");
        }
    }
}
