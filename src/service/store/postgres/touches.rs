//! Writes down when entries were found.

use std::sync::Arc;

use deadpool_postgres::Client;
use tokio_postgres::Error;

use crate::service::store::touches::Times;

/// In the order of ids, so that two processes never wait for each other. Another process may have seen a later access.
const WRITE: &str = "WITH touched AS MATERIALIZED ( \
         SELECT e.id, t.at FROM entries e \
         JOIN unnest($1::bigint[], $2::bigint[]) AS t(id, at) ON e.id = t.id \
         ORDER BY e.id FOR NO KEY UPDATE OF e) \
     UPDATE entries e SET accessed_at = touched.at FROM touched \
     WHERE e.id = touched.id AND e.accessed_at < touched.at";

/// Writes all together.
pub(super) async fn write(client: &mut Client, all: Arc<Times>) -> Result<(), Error> {
    let (ids, times): (Vec<i64>, Vec<i64>) = all.iter().unzip();
    let write = client.prepare_cached(WRITE).await?;
    client.execute(&write, &[&ids, &times]).await?;
    Ok(())
}
