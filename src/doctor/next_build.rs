//! What a build with `type=gha` would do now.

use tokio::time::Instant;

use super::service::PATIENCE;
use crate::{
    actions::Client,
    cache::index_format,
    protocol::key::{self, IndexKey},
};

/// The lines.
pub(super) async fn describe(client: &Client, scope: &str) -> Vec<String> {
    let client = client.with_deadline(Instant::now() + PATIENCE);
    let mut lines = Vec::new();
    for readable in client.token().readable() {
        let key = IndexKey::new(scope, &readable.name, false);
        let found = find(&client, &key).await;
        lines.push(format!(
            "--cache-from type=gha,scope={scope}: {} {found}",
            readable.name
        ));
    }
    if lines.is_empty() {
        lines.push("--cache-from: imports nothing, as the token reads no scope".to_owned());
    }
    lines.push(match client.token().first_writable() {
        Some(writable) => format!(
            "--cache-to type=gha,scope={scope}: exports to {}",
            writable.name
        ),
        None => "--cache-to: exports nothing, as the token may write to no scope".to_owned(),
    });
    lines
}

async fn find(client: &Client, key: &IndexKey) -> String {
    let found = match client.lookup(&key.prefix(), &key::version()).await {
        Ok(Some(entry)) => entry,
        Ok(None) => return "has no index, so nothing is imported from there".to_owned(),
        Err(error) => return format!("cannot be looked up: {error}"),
    };
    let raw = client
        .read_all(&found, index_format::MAX_BYTES as u64)
        .await;
    let raw = match raw {
        Ok(raw) => raw,
        Err(error) => return format!("has {}, which cannot be read: {error}", found.key),
    };
    match index_format::parse(&raw) {
        Ok(config) => format!(
            "has {}, with {} layers and {} records",
            found.key,
            config.layers.len(),
            config.records.len()
        ),
        Err(error) => format!("has {}, which cannot be used: {error}", found.key),
    }
}
