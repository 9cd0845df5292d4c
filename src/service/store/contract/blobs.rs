//! Content.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};

use super::{Stores, assert_kind, body, name, put};
use crate::service::store::{
    blob_store::{BodyError, Published, PutError, StagedBlob},
    error::StoreErrorKind,
    extent::Extent,
};

pub(super) async fn parts_in_any_order_are_the_content_that_is_named(stores: &Stores) {
    let blob = stores.blobs.stage(1).await.unwrap();
    let world = put(&*blob, b"world").await;
    let unused = put(&*blob, b"unused").await;
    let hello = put(&*blob, b"hello ").await;
    blob.release(unused);
    assert!(!stores.is_published(1).await, "nothing half is to be seen");
    stores
        .commit(1, name("main", "k"), &[hello, world], &*blob)
        .await;
    assert_eq!(stores.read(1, 0..11).await.unwrap(), b"hello world");
    assert_eq!(stores.read(1, 4..8).await.unwrap(), b"o wo");
    assert!(stores.read(1, 11..11).await.unwrap().is_empty());
    assert_eq!(stores.blob_ids().await, [1]);
    // Whoever is late changes nothing.
    let late = blob.put(1, &mut body(&[b"x"])).await;
    assert!(matches!(late, Err(PutError::Store(error)) if error.kind() == StoreErrorKind::Closed));
    blob.release(world);
    assert_eq!(stores.read(1, 0..11).await.unwrap(), b"hello world");
}

pub(super) async fn parts_come_in_parallel(stores: &Stores) {
    let blob = stores.blobs.stage(1).await.unwrap();
    let pieces: [&'static [u8]; 4] = [b"first ", b"second ", b"third ", b"fourth"];
    // The first byte of each is there before the rest of any.
    let all_begun = Arc::new(tokio::sync::Barrier::new(pieces.len()));
    let puts = pieces.map(|piece| {
        let (blob, all_begun) = (Arc::clone(&blob), Arc::clone(&all_begun));
        let begin = stream::once(std::future::ready(Ok(Bytes::from_static(&piece[..1]))));
        let rest = stream::once(async move {
            all_begun.wait().await;
            Ok(Bytes::from_static(&piece[1..]))
        });
        async move {
            let mut bytes = begin.chain(rest).boxed();
            blob.put(piece.len() as u64, &mut bytes).await.unwrap()
        }
    });
    let extents = futures_util::future::join_all(puts).await;
    stores.commit(1, name("main", "k"), &extents, &*blob).await;
    assert_eq!(
        stores.read(1, 0..25).await.unwrap(),
        b"first second third fourth"
    );
}

pub(super) async fn a_part_that_does_not_come_leaves_the_others_alone(stores: &Stores) {
    let blob = stores.blobs.stage(1).await.unwrap();
    let first = put(&*blob, b"first").await;
    let broken = stream::iter([
        Ok(Bytes::from_static(b"hal")),
        Err(BodyError("gone".into())),
    ]);
    let mut broken = broken;
    let failed = blob.put(6, &mut broken).await;
    assert!(matches!(failed, Err(PutError::Body(_))));
    let mut never = body(&[b"abc"]).chain(stream::pending());
    let dropped = blob.put(6, &mut never).now_or_never();
    assert!(dropped.is_none());
    let second = put(&*blob, b"second").await;
    stores
        .commit(1, name("main", "k"), &[second, first], &*blob)
        .await;
    assert_eq!(stores.read(1, 0..11).await.unwrap(), b"secondfirst");
}

pub(super) async fn an_empty_content_is_one(stores: &Stores) {
    let blob = stores.blobs.stage(1).await.unwrap();
    stores.commit(1, name("main", "k"), &[], &*blob).await;
    assert!(stores.read(1, 0..0).await.unwrap().is_empty());
    stores.blobs.check(1, 0).await.unwrap();
    assert_eq!(stores.blob_ids().await, [1]);
}

/// A commit that failed may be tried again, with another list of parts.
pub(super) async fn what_was_taken_back_is_as_it_was(stores: &Stores) {
    let blob = stores.blobs.stage(1).await.unwrap();
    let parts = [
        put(&*blob, b"a").await,
        put(&*blob, b"b").await,
        put(&*blob, b"c").await,
    ];
    let published = blob.publish(vec![parts[2], parts[0]]).await.unwrap();
    assert_eq!(stores.blob_ids().await, [1]);
    assert!(matches!(
        blob.put(1, &mut body(&[b"x"])).await,
        Err(PutError::Store(_))
    ));
    drop(published);
    blob.unpublish().await.unwrap();
    assert!(!stores.is_published(1).await);
    let fourth = put(&*blob, b"d").await;
    stores
        .commit(1, name("main", "k"), &[fourth, parts[1], parts[0]], &*blob)
        .await;
    assert_eq!(stores.read(1, 0..3).await.unwrap(), b"dba");
}

pub(super) async fn what_is_thrown_away_is_gone(stores: &Stores) {
    let blob = stores.blobs.stage(1).await.unwrap();
    put(&*blob, b"x").await;
    blob.discard().await.unwrap();
    blob.discard().await.unwrap();
    let late = blob.put(1, &mut body(&[b"x"])).await;
    assert!(late.is_err());
    assert!(stores.blob_ids().await.is_empty());
    stores.save(2, name("main", "k"), b"content").await;
    let (entry, extents) = stores.entries.content(2).await.unwrap().unwrap();
    let content = || Published {
        extents: extents.clone(),
        stored: entry.stored,
    };
    let reader = stores.blobs.open(2, content(), 0..7).await;
    stores.blobs.remove(2).await.unwrap();
    stores.blobs.remove(2).await.unwrap();
    let pieces: Vec<Bytes> = reader.unwrap().try_collect().await.unwrap();
    assert_eq!(pieces.concat(), b"content", "whoever reads it reads on");
    for range in [0..7, 0..0] {
        let opened = stores.blobs.open(2, content(), range).await;
        assert_kind(opened, StoreErrorKind::NotFound);
    }
    assert!(stores.blob_ids().await.is_empty());
}

/// More than any store holds of a body at once.
pub(super) async fn a_large_content_comes_and_goes_in_pieces(stores: &Stores) {
    const PIECE: usize = 64 << 10;
    const PIECES: usize = 40;
    let blob = stores.blobs.stage(1).await.unwrap();
    let piece = |n| Ok(Bytes::from(vec![u8::try_from(n).unwrap(); PIECE]));
    let mut bytes = stream::iter((0..PIECES).map(piece));
    let len = (PIECE * PIECES) as u64;
    let extent = blob.put(len, &mut bytes).await.unwrap();
    stores.commit(1, name("main", "k"), &[extent], &*blob).await;
    let (entry, extents) = stores.entries.content(1).await.unwrap().unwrap();
    let content = Published {
        extents,
        stored: entry.stored,
    };
    let pieces = stores.blobs.open(1, content, 1..len).await.unwrap();
    let pieces: Vec<Bytes> = pieces.try_collect().await.unwrap();
    let content = pieces.concat();
    assert_eq!(content.len() as u64, len - 1);
    let right = |(at, byte): (usize, &u8)| usize::from(*byte) == (at + 1) / PIECE;
    assert!(content.iter().enumerate().all(right));
}

/// Parts that are large enough for a store to send them on before it knows what becomes of them.
const LARGE: u64 = 5 << 20;

/// A part of which every byte tells where it is.
async fn put_large(blob: &dyn StagedBlob, part: u8) -> Extent {
    const PIECE: usize = 64 << 10;
    let pieces = (0..LARGE / PIECE as u64).map(|piece| {
        let place = u8::try_from(piece % 31).unwrap();
        Ok(Bytes::from(vec![part * 32 + place; PIECE]))
    });
    blob.put(LARGE, &mut stream::iter(pieces)).await.unwrap()
}

/// What `parts` have between two offsets of the content that they are.
fn large(parts: &[u8], range: std::ops::Range<u64>) -> Vec<u8> {
    let byte = |at: u64| {
        let part = parts[usize::try_from(at / LARGE).unwrap()];
        part * 32 + u8::try_from(at % LARGE / (64 << 10) % 31).unwrap()
    };
    range.map(byte).collect()
}

async fn assert_large(stores: &Stores, id: i64, parts: &[u8]) {
    let len = parts.len() as u64 * LARGE;
    for range in [0..len, LARGE - 10..LARGE + 10, len - 1..len] {
        let read = stores.read(id, range.clone()).await.unwrap();
        assert!(read == large(parts, range.clone()), "{range:?}");
    }
}

pub(super) async fn large_parts_are_the_content_that_is_named(stores: &Stores) {
    // In their order, in another, and with most of them unused.
    for (id, content) in [
        (1, vec![0, 1, 2, 3, 4]),
        (2, vec![3, 0, 4, 2, 1]),
        (3, vec![4, 1]),
    ] {
        let blob = stores.blobs.stage(id).await.unwrap();
        let mut parts = Vec::new();
        for part in 0..5 {
            parts.push(put_large(&*blob, part).await);
        }
        let named: Vec<_> = content
            .iter()
            .map(|part| parts[usize::from(*part)])
            .collect();
        let key = format!("k{id}");
        stores.commit(id, name("main", &key), &named, &*blob).await;
        assert_large(stores, id, &content).await;
    }
    assert_eq!(stores.blob_ids().await, [1, 2, 3]);
}

pub(super) async fn a_large_content_is_taken_back(stores: &Stores) {
    let blob = stores.blobs.stage(1).await.unwrap();
    let mut parts = Vec::new();
    for part in 0..3 {
        parts.push(put_large(&*blob, part).await);
    }
    for content in [parts.clone(), vec![parts[2]]] {
        blob.publish(content).await.unwrap();
        blob.unpublish().await.unwrap();
    }
    parts.push(put_large(&*blob, 3).await);
    stores.commit(1, name("main", "k"), &parts, &*blob).await;
    assert_large(stores, 1, &[0, 1, 2, 3]).await;
    assert_eq!(stores.blob_ids().await, [1]);
}

pub(super) async fn a_large_upload_is_thrown_away(stores: &Stores) {
    let blob = stores.blobs.stage(1).await.unwrap();
    for part in 0..3 {
        put_large(&*blob, part).await;
    }
    blob.discard().await.unwrap();
    assert!(stores.blob_ids().await.is_empty());
    // Whoever has died has not thrown away what it had.
    let blob = stores.blobs.stage(2).await.unwrap();
    put_large(&*blob, 0).await;
    put_large(&*blob, 1).await;
    drop(blob);
    stores.blobs.remove(2).await.unwrap();
    assert!(stores.blob_ids().await.is_empty());
}
