use std::collections::BTreeMap;

use super::*;
use crate::content::{Commit, Ingest};

fn spec(reference: &str, total: Option<u64>) -> IngestSpec {
    IngestSpec {
        reference: reference.to_owned(),
        total,
        expected: None,
    }
}

async fn open(store: &Store, spec: IngestSpec) -> Box<dyn Ingest> {
    match store.open(spec).await.expect("the ref is free") {
        OpenedIngest::Writer(ingest) => ingest,
        OpenedIngest::Exists(digest) => panic!("{digest} should not be there"),
    }
}

async fn put(store: &Store, content: &'static [u8]) -> Digest {
    let mut ingest = open(store, spec("put", None)).await;
    ingest.write(Bytes::from_static(content)).await.unwrap();
    ingest.commit(Commit::default()).await.unwrap()
}

#[tokio::test]
async fn an_ingest_and_labels_outlive_the_process() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let mut ingest = open(&store, spec("ref", Some(6))).await;
    ingest.write(Bytes::from_static(b"abc")).await.unwrap();
    let before = ingest.status();
    let labels = BTreeMap::from([("key".to_owned(), "value".to_owned())]);
    let digest = put(&store, b"labelled").await;
    let change = LabelChange::Replace(labels.clone());
    let info = store.update(digest, change).await.unwrap();
    drop((ingest, store));

    let store = Store::open(root.path()).unwrap();
    assert_eq!(store.info(digest).await, Ok(info));
    let mut ingest = open(&store, spec("ref", None)).await;
    assert_eq!(ingest.status(), before);
    assert_eq!(ingest.digest(), Some(Digest::sha256("abc")));
    ingest.write(Bytes::from_static(b"def")).await.unwrap();
    let digest = ingest.commit(Commit::default()).await;
    assert_eq!(digest, Ok(Digest::sha256("abcdef")));
}

#[tokio::test]
async fn an_ingest_of_other_content_begins_anew() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let mut ingest = open(&store, spec("ref", Some(6))).await;
    ingest.write(Bytes::from_static(b"abc")).await.unwrap();
    drop(ingest);
    let ingest = open(&store, spec("ref", Some(7))).await;
    assert_eq!(ingest.status().offset, 0);
    assert_eq!(ingest.status().spec.total, Some(7));
}

#[tokio::test]
async fn one_process_at_a_time() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    assert!(Store::open(root.path()).is_err());
    drop(store);
    assert!(Store::open(root.path()).is_ok());
}

#[tokio::test]
async fn an_aborted_ingest_cannot_be_committed() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let mut ingest = open(&store, spec("ref", None)).await;
    ingest.write(Bytes::from_static(b"abc")).await.unwrap();
    store.abort("ref").await.unwrap();
    let refused = ingest.commit(Commit::default()).await;
    assert!(matches!(refused, Err(Error::Aborted(_))), "{refused:?}");
    assert!(matches!(
        store.info(Digest::sha256("abc")).await,
        Err(Error::NotFound(_))
    ));
    assert!(matches!(store.abort("ref").await, Err(Error::NotFound(_))));
}

#[tokio::test]
async fn content_of_other_tools_is_served() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let digest = Digest::sha256("by hand");
    let blobs = root.path().join("blobs/sha256");
    fs::write(blobs.join(digest.hex()), "by hand").unwrap();
    fs::write(blobs.join("README"), "not content").unwrap();

    let infos: Vec<_> = store.list().await.unwrap().try_collect().await.unwrap();
    assert_eq!(infos.len(), 1);
    assert_eq!(infos[0].digest, digest);
    let read: Vec<_> = store
        .read(digest, 3..7)
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    assert_eq!(read.concat(), b"hand");
    store.delete(digest).await.unwrap();
    assert!(matches!(
        store.delete(digest).await,
        Err(Error::NotFound(_))
    ));
}
