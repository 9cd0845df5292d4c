//! Which cache a command is about, and who asks: from flags and the variables that jobs and builders have.

use std::path::PathBuf;

use url::Url;

use super::Env;
use crate::{
    actions::{Api, RestTarget, Token},
    cache::attributes::{OperatorService, OperatorToken, Overrides, go_bool},
    doctor::{JobVariables, Surroundings},
    maintenance::Access,
    secret::Secret,
};

/// github.com's REST API.
const GITHUB_API: &str = "https://api.github.com/";

/// What the command line says.
#[derive(Debug, Clone, Default)]
pub struct RemoteFlags {
    /// The cache service, if it is not GitHub's.
    pub url: Option<Url>,
    /// `owner/repo`.
    pub repository: Option<String>,
}

/// Why it is not known which cache is meant, or who asks.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// Nothing says where the cache is.
    #[error(
        "which cache? For GitHub's set GITHUB_TOKEN and GITHUB_REPOSITORY (GitHub Enterprise Server: GITHUB_API_URL, \
         too); for buildkit-gha serve set --url and BUILDKIT_GHA_TOKEN or BUILDKIT_GHA_TOKEN_FILE"
    )]
    Nothing,
    /// A service without a token for it.
    #[error(
        "the cache service {0} needs a token: set BUILDKIT_GHA_TOKEN or BUILDKIT_GHA_TOKEN_FILE; \
         `buildkit-gha token` makes one for buildkit-gha serve"
    )]
    NoServiceToken(String),
    /// The file with the token.
    #[error("{0}")]
    TokenFile(String),
    /// The token is none.
    #[error("BUILDKIT_GHA_TOKEN: {0}")]
    Token(String),
    /// Which repository.
    #[error("which repository? Set --repository OWNER/REPO or GITHUB_REPOSITORY")]
    NoRepository,
    /// Not of the form that URLs need.
    #[error("{0:?} is not a repository of the form OWNER/REPO")]
    Repository(String),
    /// A URL that is none. Its text is not quoted: it may hold a password.
    #[error("{0} is not an http or https URL")]
    Url(&'static str),
}

/// The cache that is meant.
pub async fn access(env: &Env, flags: &RemoteFlags) -> Result<Access, RemoteError> {
    let url = match &flags.url {
        Some(url) => Some(url.clone()),
        None => url(env, "BUILDKIT_GHA_URL")?,
    };
    match url {
        Some(url) => of_service(env, flags, url).await,
        None => of_github(env, flags),
    }
}

/// A service such as `serve`: its token lists and reads alike.
async fn of_service(env: &Env, flags: &RemoteFlags, url: Url) -> Result<Access, RemoteError> {
    let file = env.get("BUILDKIT_GHA_TOKEN_FILE").map(PathBuf::from);
    let given = env.get("BUILDKIT_GHA_TOKEN").map(Secret::new);
    let token = given.map(OperatorToken::Given);
    let token = token.or(file.map(OperatorToken::File));
    let overrides = Overrides {
        service: OperatorService::new(Some(url.clone()), token),
        github_api_url: None,
    };
    let current = overrides.with_current_token().await;
    let current = current.map_err(|error| RemoteError::TokenFile(error.to_string()))?;
    let OperatorService::Set {
        token: OperatorToken::Given(raw),
        ..
    } = current.service
    else {
        let origin = url.origin().ascii_serialization();
        return Err(RemoteError::NoServiceToken(origin));
    };
    let token = Token::parse(raw.clone()).map_err(|error| RemoteError::Token(error.to_string()))?;
    let claimed = token.repository().map(str::to_owned);
    let said = flags.repository.clone().or(claimed);
    let repository = said.or_else(|| env.get("GITHUB_REPOSITORY").map(str::to_owned));
    Ok(Access {
        rest: RestTarget {
            base: url.clone(),
            repository: checked(repository)?,
            token: raw.clone(),
        },
        content: Some((Api::V2(url), raw)),
        partial_view: true,
    })
}

fn of_github(env: &Env, flags: &RemoteFlags) -> Result<Access, RemoteError> {
    let token = env.get("GITHUB_TOKEN").map(Secret::new);
    let token = token.ok_or(RemoteError::Nothing)?;
    let repository = flags.repository.clone();
    let repository = repository.or_else(|| env.get("GITHUB_REPOSITORY").map(str::to_owned));
    let base = url(env, "GITHUB_API_URL")?;
    let base =
        base.unwrap_or_else(|| Url::parse(GITHUB_API).expect("a constant that a test parses"));
    Ok(Access {
        rest: RestTarget {
            base,
            repository: checked(repository)?,
            token,
        },
        content: runtime(env)?,
        partial_view: false,
    })
}

/// What a job has for its caches, chosen as buildx chooses.
pub fn runtime(env: &Env) -> Result<Option<(Api, Secret)>, RemoteError> {
    let Some(token) = env.get("ACTIONS_RUNTIME_TOKEN").map(Secret::new) else {
        return Ok(None);
    };
    Ok(job_api(env)?.map(|api| (api, token)))
}

fn job_api(env: &Env) -> Result<Option<Api>, RemoteError> {
    let v1 = url(env, "ACTIONS_CACHE_URL")?.map(Api::V1);
    let v2 = url(env, "ACTIONS_RESULTS_URL")?.map(Api::V2);
    let says_v2 = env.get("ACTIONS_CACHE_SERVICE_V2").and_then(go_bool);
    Ok(if says_v2 == Some(true) {
        v2.or(v1)
    } else {
        v1.or(v2)
    })
}

/// What a job has of its runner.
pub fn job_variables(env: &Env) -> Result<JobVariables, RemoteError> {
    Ok(JobVariables {
        results: url(env, "ACTIONS_RESULTS_URL")?,
        cache: url(env, "ACTIONS_CACHE_URL")?,
        service_v2: env.get("ACTIONS_CACHE_SERVICE_V2").map(str::to_owned),
        token: env.get("ACTIONS_RUNTIME_TOKEN").map(Secret::new),
        api: job_api(env)?,
    })
}

/// Proxies and certificates, as the environment says them.
pub fn surroundings(env: &Env) -> Surroundings {
    const PROXIES: [&str; 6] = [
        "HTTPS_PROXY",
        "https_proxy",
        "HTTP_PROXY",
        "http_proxy",
        "ALL_PROXY",
        "all_proxy",
    ];
    let own = |name: &str| env.get(name).map(str::to_owned);
    let proxy = |name: &'static str| Some((name, place(env.get(name)?)));
    Surroundings {
        proxies: PROXIES.into_iter().filter_map(proxy).collect(),
        no_proxy: own("NO_PROXY").or_else(|| own("no_proxy")),
        certificate_file: own("SSL_CERT_FILE"),
        certificate_folders: own("SSL_CERT_DIR"),
    }
}

/// Host and port of a proxy: it may have a password.
fn place(text: &str) -> String {
    let parsed = Url::parse(text).ok().filter(Url::has_host);
    let parsed = parsed.or_else(|| Url::parse(&format!("http://{text}")).ok());
    let origin = parsed.map(|url| url.origin().ascii_serialization());
    origin.unwrap_or_else(|| "(not a URL)".to_owned())
}

fn url(env: &Env, variable: &'static str) -> Result<Option<Url>, RemoteError> {
    let Some(text) = env.get(variable) else {
        return Ok(None);
    };
    let url = Url::parse(text).ok();
    let url = url.filter(|url| matches!(url.scheme(), "http" | "https"));
    url.map(Some).ok_or(RemoteError::Url(variable))
}

fn checked(repository: Option<String>) -> Result<String, RemoteError> {
    let repository = repository.ok_or(RemoteError::NoRepository)?;
    let is_name = |name: &str| {
        !name.is_empty()
            && ![".", ".."].contains(&name)
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    match repository.split_once('/') {
        Some((owner, name)) if is_name(owner) && is_name(name) => Ok(repository),
        _ => Err(RemoteError::Repository(repository)),
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

    use super::*;

    fn token() -> String {
        let claims = r#"{"ac":"[]","nbf":0,"exp":4000000000,"repository":"o/claimed"}"#;
        format!("e30.{}.x", URL_SAFE_NO_PAD.encode(claims))
    }

    async fn read(env: &[(&str, &str)]) -> Result<Access, RemoteError> {
        let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        access(&env.collect(), &RemoteFlags::default()).await
    }

    #[tokio::test]
    async fn a_job_names_its_repository_and_its_services() {
        let github = [
            ("GITHUB_TOKEN", "t"),
            ("GITHUB_REPOSITORY", "o/r"),
            ("ACTIONS_RUNTIME_TOKEN", "x"),
            ("ACTIONS_RESULTS_URL", "https://results.example/"),
            ("ACTIONS_CACHE_URL", "https://cache.example/"),
        ];
        let access = read(&github).await.unwrap();
        assert_eq!(access.rest.base.as_str(), GITHUB_API);
        assert_eq!(access.rest.repository, "o/r");
        assert!(matches!(access.content, Some((Api::V1(_), _))));
        assert!(!access.partial_view);
        let mut v2 = github.to_vec();
        v2.push(("ACTIONS_CACHE_SERVICE_V2", "True"));
        v2.push(("GITHUB_API_URL", "https://ghes.example/api/v3"));
        let access = read(&v2).await.unwrap();
        assert!(matches!(access.content, Some((Api::V2(_), _))));
        assert_eq!(access.rest.base.as_str(), "https://ghes.example/api/v3");
        assert!(read(&github[..2]).await.unwrap().content.is_none());
    }

    #[tokio::test]
    async fn a_service_of_ones_own_wins_and_its_token_names_the_repository() {
        let token = token();
        let env = [
            ("GITHUB_TOKEN", "t"),
            ("GITHUB_REPOSITORY", "o/r"),
            ("BUILDKIT_GHA_URL", "http://127.0.0.1:3000/"),
            ("BUILDKIT_GHA_TOKEN", token.as_str()),
        ];
        let access = read(&env).await.unwrap();
        assert_eq!(access.rest.repository, "o/claimed");
        assert!(access.partial_view);
        let error = read(&env[..3]).await.unwrap_err().to_string();
        assert!(error.contains("BUILDKIT_GHA_TOKEN"), "{error}");
    }

    #[test]
    fn a_proxys_password_is_not_shown() {
        for text in [
            "http://user:hunter2@proxy.example:3128",
            "user:hunter2@proxy.example:3128",
        ] {
            assert_eq!(place(text), "http://proxy.example:3128");
        }
    }

    #[tokio::test]
    async fn what_is_missing_is_named() {
        for (env, part) in [
            (&[][..], "GITHUB_TOKEN"),
            (&[("GITHUB_TOKEN", "t")], "--repository"),
            (
                &[("GITHUB_TOKEN", "t"), ("GITHUB_REPOSITORY", "o/../r")],
                "OWNER/REPO",
            ),
            (
                &[("BUILDKIT_GHA_URL", "ftp://hunter2@x")],
                "BUILDKIT_GHA_URL",
            ),
        ] {
            let error = read(env).await.unwrap_err().to_string();
            assert!(
                error.contains(part) && !error.contains("hunter2"),
                "{error}"
            );
        }
    }
}
