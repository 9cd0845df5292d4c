//! `buildkit-gha token list`: the tokens that were made.

use std::io;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::service_location::ServiceLocation;
use crate::{
    cli::remote::Output,
    maintenance::{Document, Table},
    service::{Grant, TokenRecord},
};

/// Lists the tokens that were minted: name, id, what each is for, and until when it is good.
#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    service: ServiceLocation,

    #[command(flatten)]
    output: Output,
}

impl List {
    pub(super) async fn run(self) -> io::Result<String> {
        let registry = self.service.open().await?;
        let tokens = registry.list().await.map_err(io::Error::other)?;
        let now = Timestamp::now();
        let rows = tokens.into_iter().map(|token| ListedToken::new(token, now));
        let listed = ListedTokens {
            tokens: rows.collect(),
        };
        Ok(self.output.format.text(&listed))
    }
}

/// The tokens of a service.
#[derive(Debug, Serialize)]
struct ListedTokens {
    tokens: Vec<ListedToken>,
}

/// One token.
#[derive(Debug, Serialize)]
struct ListedToken {
    name: String,
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    repository: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    /// As on the command line.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    scopes: Vec<String>,
    created_at: Timestamp,
    expires_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_at: Option<Timestamp>,
    state: State,
    /// What it is for, in a few words.
    #[serde(skip)]
    grant: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Good,
    Expired,
    Revoked,
}

impl State {
    fn of(token: &TokenRecord, now: Timestamp) -> Self {
        if token.revoked.is_some() {
            Self::Revoked
        } else if token.expires <= now {
            Self::Expired
        } else {
            Self::Good
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

impl ListedToken {
    fn new(token: TokenRecord, now: Timestamp) -> Self {
        let (role, scopes) = match &token.grant {
            Grant::Cache { scopes, .. } => (None, scopes.iter().map(ToString::to_string).collect()),
            Grant::Administration { role, .. } => (Some(role.name()), Vec::new()),
        };
        Self {
            state: State::of(&token, now),
            grant: token.grant.to_string(),
            repository: token.grant.repository().map(str::to_owned),
            role,
            scopes,
            name: token.name,
            id: token.id,
            created_at: token.created,
            expires_at: token.expires,
            revoked_at: token.revoked,
        }
    }
}

impl Document for ListedTokens {
    fn table(&self) -> String {
        let mut table = Table::new(&["NAME", "ID", "FOR", "CREATED", "EXPIRES", "STATE"]);
        for token in &self.tokens {
            table.row([
                token.name.clone(),
                token.id.clone(),
                token.grant.clone(),
                in_seconds(token.created_at),
                in_seconds(token.expires_at),
                token.state.name().to_owned(),
            ]);
        }
        table.render()
    }

    fn notes(&self) -> &[String] {
        &[]
    }
}

/// Nobody wants fractions in a table.
fn in_seconds(time: Timestamp) -> String {
    format!("{time:.0}")
}
