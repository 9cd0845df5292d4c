//! `doctor`: whether builds have a cache, what is wrong, and what to do about it.
//!
//! | file | what it looks at |
//! |---|---|
//! | `socket` | buildkitd, and the gateway in front of it |
//! | `surroundings` | proxies, certificates |
//! | `token`, `service` | the runtime token; the cache service, and its clock |
//! | `rest` | the REST API, which lists and deletes |
//! | `runner` | the same for a job whose runner was given another service |
//! | `next_build` | what a build would do with all that |

mod check;
mod next_build;
mod rest;
mod runner;
mod service;
mod socket;
mod surroundings;
mod token;

use std::path::PathBuf;

pub use check::{Check, Diagnosis, Status};
pub use runner::{JobVariables, Runner, examine_runner};
pub use surroundings::Surroundings;

use crate::{
    actions::{
        Api, Client, ClientConfig, Http, HttpConfig, HttpError, RestClient, RestTarget, Target,
        Token,
    },
    net::Address,
    secret::Secret,
};

/// What is to be examined.
pub struct Subject {
    /// Where buildkitd should answer.
    pub address: Address,
    /// True if somebody said so: then it must.
    pub address_is_said: bool,
    /// Where the gateway tells of itself, unless that is off.
    pub admin_socket: Option<PathBuf>,
    /// The service and the token of builds, as far as they are known here.
    pub content: Option<(Api, Secret)>,
    /// The REST API, or why it is not known.
    pub rest: Result<RestTarget, String>,
    /// The scope of the next build.
    pub scope: String,
    /// What else the environment says.
    pub surroundings: Surroundings,
    /// Connections.
    pub http: HttpConfig,
}

/// Examines.
pub async fn examine(subject: Subject) -> Result<Diagnosis, HttpError> {
    let http = Http::new(&subject.http)?;
    let mut checks = vec![
        socket::buildkitd(&subject).await,
        socket::gateway(&subject).await,
    ];
    let urls = subject.urls();
    checks.push(surroundings::proxy(&subject.surroundings, &urls));
    checks.push(surroundings::certificates(&subject.surroundings));
    let mut next_build = Vec::new();
    match &subject.content {
        None => checks.extend(token::absent()),
        Some((api, raw)) => {
            let (check, token) = token::check(raw.clone());
            checks.push(check);
            if let Some(token) = token {
                let client = client(&http, api, token);
                let reached = service::check(&client).await;
                let is_reached = reached.status == Status::Ok;
                checks.push(reached);
                if is_reached {
                    next_build = next_build::describe(&client, &subject.scope).await;
                }
            }
            checks.push(service::clock(&http, api.url()).await);
        }
    }
    checks.push(match &subject.rest {
        Err(why) => Check::skipped("rest api", why.clone()),
        Ok(target) => {
            let client = RestClient::new(http.clone(), target.clone(), ClientConfig::default());
            rest::check(&client, target).await
        }
    });
    Ok(Diagnosis { checks, next_build })
}

fn client(http: &Http, api: &Api, token: Token) -> Client {
    let target = Target {
        api: api.clone(),
        token,
        rest: None,
    };
    Client::new(http.clone(), target, ClientConfig::default())
}

impl Subject {
    fn urls(&self) -> Vec<url::Url> {
        let content = self.content.iter().map(|(api, _)| api.url().clone());
        let rest = self.rest.iter().map(|target| target.base.clone());
        content.chain(rest).collect()
    }
}
