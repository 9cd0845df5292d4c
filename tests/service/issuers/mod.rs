//! Runtime tokens of GitHub: an issuer on this machine signs them, and `serve` trusts it.

mod issuer;
mod keys;
mod program;
mod rules;
mod signer;
mod tls;
mod tokens;

use std::path::Path;

use buildkit_gha::service::Config;
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use self::issuer::{Issuer, trusted};
use crate::harness::{HOUR, MAIN, Server, body};

/// What most jobs may do.
const READ_WRITE: i64 = 3;
const READ: i64 = 1;

/// `serve` with these issuers trusted.
async fn serve(data_dir: &Path, issuers: &[&str]) -> Server {
    let mut config = Config::new(data_dir);
    config.trusted_issuers = issuers.iter().map(|url| trusted(url)).collect();
    Server::start_with(config).await
}

/// The claims of a job of repository 1 on the default branch, as GitHub has them. They are good for two days, which
/// is longer than any job's.
fn claims(server: &Server, issuer: &Issuer) -> Value {
    claims_at(server.now(), &issuer.url)
}

fn claims_at(now: i64, issuer: &str) -> Value {
    let day = 24 * i64::try_from(HOUR.as_secs()).unwrap();
    json!({
        "ac": scopes(&[(MAIN, READ_WRITE)]),
        "aud": "vstoken.actions.githubusercontent.com|vso:x",
        "exp": now + 2 * day,
        "iss": issuer,
        "nbf": now,
        "orchid": "x.build.__default",
        "repository_id": "1",
        "scp": "Actions.Results:x:y Actions.GenericRead:0",
    })
}

/// The claim `ac`.
fn scopes(scopes: &[(&str, i64)]) -> String {
    let scope = |(name, permission): &(&str, i64)| json!({"Scope": name, "Permission": permission});
    let scopes: Vec<_> = scopes.iter().map(scope).collect();
    json!(scopes).to_string()
}

/// Changes one claim.
fn with(mut claims: Value, name: &str, value: impl Into<Value>) -> Value {
    claims[name] = value.into();
    claims
}

/// What a lookup with this token is answered: its status and, of a refusal, its words.
async fn asked(server: &Server, token: &str) -> (StatusCode, String) {
    let response = looked_up(server, token).await;
    let status = response.status();
    if status.is_success() {
        return (status, String::new());
    }
    (status, body(response).await["message"].to_string())
}

async fn looked_up(server: &Server, token: &str) -> Response {
    server.client(token.to_owned()).lookup("nothing").await
}

async fn is_good(server: &Server, token: &str) {
    let (status, words) = asked(server, token).await;
    assert_eq!(status, StatusCode::NO_CONTENT, "{words}");
}

async fn is_refused(server: &Server, token: &str, why: &str) {
    let (status, words) = asked(server, token).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED, "{words}");
    assert!(words.contains(why), "{words}");
}
