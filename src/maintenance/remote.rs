//! Where a cache is, and the clients that commands ask.

use std::{sync::Arc, time::Duration};

use super::progress::Progress;
use crate::{
    actions::{
        Api, Client, ClientConfig, Http, HttpConfig, HttpError, RestClient, RestTarget,
        RetryPolicy, Target, Token, TokenError,
    },
    secret::Secret,
};
use jiff::Timestamp;

/// How long a command waits for a service that refuses: GitHub's REST API counts its calls by the hour.
const LONGEST_WAIT: Duration = Duration::from_mins(75);

/// A cache, and who asks.
#[derive(Debug, Clone)]
pub struct Access {
    /// What lists and deletes.
    pub rest: RestTarget,
    /// What reads the content of entries, if a token for that was given.
    pub content: Option<(Api, Secret)>,
    /// The listing is made with the runtime token, so that it has only what that token may read.
    pub partial_view: bool,
}

/// Why no content can be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoContent {
    /// There is no runtime token.
    #[error(
        "no runtime token was given, so the content of indexes cannot be read: run it in a job that has \
         ACTIONS_RUNTIME_TOKEN and ACTIONS_RESULTS_URL (GitHub Enterprise Server: ACTIONS_CACHE_URL)"
    )]
    NoToken,
    /// The token is an administrator's.
    #[error(
        "an administrator's token lists entries and opens none, so the content of indexes cannot be read: a token with \
         every scope reads it (buildkit-gha token --scope REF=r)"
    )]
    Administrator,
    /// The token cannot be used.
    #[error("the content of indexes cannot be read: {0}")]
    Token(String),
}

/// The clients of one command.
pub struct Remote {
    /// Lists and deletes.
    pub rest: RestClient,
    /// Reads entries.
    pub content: Result<Client, NoContent>,
    /// `owner/repo`.
    pub repository: String,
    /// The scopes that the listing has, if it has not all.
    pub partial_view: Option<Vec<String>>,
    /// What people see meanwhile.
    pub progress: Arc<Progress>,
}

impl Remote {
    /// Whether there may be indexes that the listing has not, where the service says how many it hides.
    pub(super) fn hides(&self, hidden: Option<u64>) -> bool {
        self.partial_view.is_some() && hidden != Some(0)
    }

    /// Opens nothing yet.
    pub fn new(
        access: Access,
        http: &HttpConfig,
        progress: Arc<Progress>,
    ) -> Result<Self, HttpError> {
        let http = Http::new(http)?;
        let config = ClientConfig {
            retry: RetryPolicy {
                max_elapsed: LONGEST_WAIT,
                ..RetryPolicy::default()
            },
            observer: Arc::clone(&progress) as _,
            ..ClientConfig::default()
        };
        let Access {
            rest,
            content,
            partial_view,
        } = access;
        let token = match content {
            None => Err(NoContent::NoToken),
            Some((api, raw)) => usable(raw).map(|token| (api, token)),
        };
        let scopes = token.as_ref().map(|(_, token)| readable(token));
        let partial_view = partial_view.then(|| scopes.unwrap_or_default());
        let client = |(api, token)| {
            let target = Target {
                api,
                token,
                rest: None,
            };
            Client::new(http.clone(), target, config.clone())
        };
        Ok(Self {
            repository: rest.repository.clone(),
            content: token.map(client),
            partial_view,
            rest: RestClient::new(http.clone(), rest, config.clone()),
            progress,
        })
    }
}

fn usable(raw: Secret) -> Result<Token, NoContent> {
    let unusable = |error: TokenError| NoContent::Token(error.to_string());
    let token = Token::parse(raw).map_err(unusable)?;
    token.check(Timestamp::now()).map_err(unusable)?;
    if token.is_administrators() {
        return Err(NoContent::Administrator);
    }
    Ok(token)
}

/// The scopes that a token reads, in order.
pub(super) fn readable(token: &Token) -> Vec<String> {
    token.readable().map(|scope| scope.name.clone()).collect()
}
