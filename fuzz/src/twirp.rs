//! The bodies of both API versions, as JSON and as Twirp's protobuf: what is read is written back.

use std::fmt::Debug;

use buildkit_gha::{
    proto::actions as pb,
    protocol::{rest, v1, v2},
};
use prost::Message;
use serde::{Serialize, de::DeserializeOwned};

/// Takes the data as each of the bodies.
pub fn body(data: &[u8]) {
    protobuf::<pb::CreateCacheEntryRequest, v2::CreateRequest>(data);
    protobuf::<pb::FinalizeCacheEntryUploadRequest, v2::FinalizeRequest>(data);
    protobuf::<pb::GetCacheEntryDownloadUrlRequest, v2::LookupRequest>(data);

    json::<v2::FinalizeResponse>(data);
    json::<v2::ErrorBody>(data);
    json::<v1::ErrorBody>(data);
    json::<rest::List>(data);
    // These hold signed URLs and cannot be printed, or cannot be compared.
    let _ = serde_json::from_slice::<v2::CreateResponse>(data);
    let _ = serde_json::from_slice::<v2::LookupResponse>(data);
    let _ = serde_json::from_slice::<v1::Entry>(data);
    let _ = serde_json::from_slice::<Option<v1::LookupResponse>>(data);
    let _ = serde_json::from_slice::<v1::ReserveRequest>(data);
    let _ = serde_json::from_slice::<v1::ReserveResponse>(data);
    let _ = serde_json::from_slice::<v1::CommitRequest>(data);
}

/// A protobuf request says the same as the JSON one that it becomes.
fn protobuf<P, T>(data: &[u8])
where
    P: Message + Default,
    T: From<P> + Serialize + DeserializeOwned + PartialEq + Debug,
{
    if let Ok(request) = P::decode(data) {
        let request = T::from(request);
        let text = serde_json::to_vec(&request).expect("protocol types are plain");
        json::<T>(&text);
    }
    json::<T>(data);
}

fn json<T: Serialize + DeserializeOwned + PartialEq + Debug>(data: &[u8]) {
    if let Ok(read) = serde_json::from_slice::<T>(data) {
        let text = serde_json::to_vec(&read).expect("protocol types are plain");
        assert_eq!(serde_json::from_slice::<T>(&text).ok(), Some(read));
    }
}
