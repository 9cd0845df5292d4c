//! Taking damage out of a cache.

use crate::actions::{Client, Error};

/// Deletes the entry with exactly this key through the REST API, in the scope where a lookup of
/// this token finds it. An error if that is not possible.
pub(super) async fn delete(client: &Client, key: &str, version: &str) -> Result<(), Error> {
    let rows = client.list(key).await?;
    // The order in which a lookup goes through the scopes.
    let found = client.token().readable().find_map(|scope| {
        rows.iter()
            .find(|row| row.key == key && row.version == version && row.git_ref == scope.name)
    });
    match found {
        Some(row) => client.delete(row.id).await,
        None => Ok(()),
    }
}
