//! Contents in a bucket, as streams of their bytes.

use std::{collections::VecDeque, ops::Range, sync::Arc};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use object_store::GetResult;

use super::{call::store_error, client::Client};
use crate::service::store::{
    blob_store::{ContentStream, Published},
    error::{StoreError, StoreErrorKind, StoreKind},
    extent::{Extent, select},
};

/// Begins to read `range` of a content. Its first bytes are under way when this returns.
pub(super) async fn open(
    client: Arc<Client>,
    id: i64,
    content: Published,
    range: Range<u64>,
) -> Result<ContentStream, StoreError> {
    let mut extents = VecDeque::from(select(&content.extents, range));
    let Some(first) = extents.pop_front() else {
        check(client.size(id).await?, content.stored)?;
        return Ok(stream::empty().boxed());
    };
    let first = get(&client, id, first).await?;
    check(first.meta.size, content.stored)?;
    let rest = stream::iter(extents).then(move |extent| {
        let client = Arc::clone(&client);
        async move { get(&client, id, extent).await.map(bytes) }
    });
    Ok(bytes(first).chain(rest.try_flatten()).boxed())
}

async fn get(client: &Client, id: i64, extent: Extent) -> Result<GetResult, StoreError> {
    client.get(id, extent.offset..extent.end()).await
}

fn bytes(found: GetResult) -> ContentStream {
    found.into_stream().map_err(store_error).boxed()
}

fn check(stored: u64, expected: u64) -> Result<(), StoreError> {
    if stored < expected {
        let kind = StoreErrorKind::Truncated { stored };
        return Err(StoreError::new(StoreKind::Storage, kind));
    }
    Ok(())
}
