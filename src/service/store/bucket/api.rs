//! What is needed of a provider's interface.

use object_store::{ObjectStore, multipart::MultipartStore};

/// All calls to a bucket.
pub(super) trait BucketApi: ObjectStore + MultipartStore {}

impl<T: ObjectStore + MultipartStore> BucketApi for T {}
