//! What a bucket promises, on real servers.

#[path = "../../../../tests/buckets/mod.rs"]
mod server;

use futures_util::TryStreamExt as _;

use self::server::Buckets;
use super::{BucketStore, BucketUrl};
use crate::service::{data_dir::DataDir, store::blob_store::BlobStore};

fn open(buckets: &Buckets, data_dir: &DataDir) -> BucketStore {
    let url = BucketUrl::parse(&buckets.new_place()).unwrap();
    let client = url.connect(&buckets.variables()).unwrap();
    BucketStore::new(client, data_dir, false).unwrap()
}

/// A new place in a bucket of S3.
pub(in crate::service::store) fn open_s3(data_dir: &DataDir) -> BucketStore {
    open(Buckets::s3(), data_dir)
}

/// A new place in a container of Azure.
pub(in crate::service::store) fn open_azure(data_dir: &DataDir) -> BucketStore {
    open(Buckets::azure(), data_dir)
}

/// A new place in a bucket of a stand-in for Google's.
pub(in crate::service::store) fn open_gcs(data_dir: &DataDir) -> BucketStore {
    open(Buckets::gcs(), data_dir)
}

#[tokio::test]
async fn a_place_has_one_name_and_no_other_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = DataDir::open(dir.path()).unwrap();
    for buckets in [Buckets::s3(), Buckets::azure(), Buckets::gcs()] {
        let (place, other) = (open(buckets, &data_dir), open(buckets, &data_dir));
        let names = futures_util::future::join_all((0..8).map(|_| place.name())).await;
        let names: Vec<_> = names.into_iter().map(Result::unwrap).collect();
        assert!(names.iter().all(|name| *name == names[0]));
        assert_ne!(other.name().await.unwrap(), names[0]);
        let ids: Vec<_> = place.ids().try_collect().await.unwrap();
        assert!(ids.is_empty());
    }
}
