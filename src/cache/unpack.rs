//! The diffID of a layer: the digest of what it is unpacked to.

use std::io::{self, Read};

use flate2::read::MultiGzDecoder;
use tokio_util::io::{StreamReader, SyncIoBridge};

use super::blob::Blob;
use crate::{
    digest::{Digest, Hasher},
    lifecycle::run_blocking,
};

/// What a byte may be unpacked to at most. Deflate cannot do more than 1032; zstd can, and who wants
/// to fill a builder's disk uses that.
const MAX_RATIO: u64 = 1100;

/// Read at once while it is unpacked.
const CHUNK: usize = 128 << 10;

/// BuildKit knows the compression by these first bytes, whatever the media type says.
const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// A zstd frame to be skipped, with which chunked layers may begin: 0x184D2A50 to 0x184D2A5F.
const ZSTD_SKIPPED: [u8; 3] = [0x2a, 0x4d, 0x18];

/// Why a layer has no diffID, in words that end a sentence.
#[derive(Debug, thiserror::Error)]
pub(super) enum UnpackError {
    /// It could not be read, or is not compressed as its first bytes say.
    #[error("it cannot be unpacked: {0}")]
    Io(#[from] io::Error),
    #[error("it cannot be unpacked: it has more than {MAX_RATIO} times its size")]
    TooLarge,
}

/// The diffID of `blob`.
pub(super) async fn diff_id(blob: &Blob) -> Result<Digest, UnpackError> {
    let limit = blob.size().saturating_mul(MAX_RATIO);
    let stream = StreamReader::new(blob.read(0..blob.size()));
    let source = SyncIoBridge::new(stream);
    run_blocking(move || digest(source, limit)).await
}

fn digest(mut source: impl Read, limit: u64) -> Result<Digest, UnpackError> {
    let mut head = Vec::new();
    source
        .by_ref()
        .take(ZSTD.len() as u64)
        .read_to_end(&mut head)?;
    let whole = head.as_slice().chain(source);
    if head.starts_with(&GZIP) {
        hash(MultiGzDecoder::new(whole), limit)
    } else if head.starts_with(&ZSTD) || head.get(1..) == Some(&ZSTD_SKIPPED) {
        hash(zstd::Decoder::new(whole)?, limit)
    } else {
        hash(whole, limit)
    }
}

fn hash(mut unpacked: impl Read, limit: u64) -> Result<Digest, UnpackError> {
    let mut hasher = Hasher::default();
    let mut chunk = vec![0; CHUNK];
    let mut total = 0;
    loop {
        let read = match unpacked.read(&mut chunk) {
            Ok(0) => return Ok(hasher.finish()),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        total += read as u64;
        if total > limit {
            return Err(UnpackError::TooLarge);
        }
        hasher.update(&chunk[..read]);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use bytes::Bytes;
    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(content: &[u8]) -> Vec<u8> {
        zstd::encode_all(content, 1).unwrap()
    }

    async fn unpacked(packed: Vec<u8>) -> Result<Digest, UnpackError> {
        diff_id(&Blob::in_memory(Bytes::from(packed))).await
    }

    #[tokio::test]
    async fn every_compression_that_buildkit_writes_is_unpacked() {
        let (one, two) = (b"one half, ".as_slice(), b"and the other".as_slice());
        let both = [one, two].concat();
        let skipped = [0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 7, 7];
        for packed in [
            both.clone(),
            gzip(&both),
            // As estargz has them: one member for each file.
            [gzip(one), gzip(two)].concat(),
            zstd(&both),
            [skipped.as_slice(), &zstd(one), &zstd(two)].concat(),
        ] {
            assert_eq!(unpacked(packed).await.unwrap(), Digest::sha256(&both));
        }
    }

    #[tokio::test]
    async fn what_is_cut_or_swells_without_bound_is_refused() {
        let mut cut = gzip(&vec![7; 10_000]);
        cut.truncate(cut.len() / 2);
        assert!(unpacked(cut).await.is_err());
        let zeros = vec![0; 16 << 20];
        let error = unpacked(zstd(&zeros)).await.unwrap_err();
        assert!(error.to_string().contains("1100 times"), "{error}");
        assert_eq!(
            unpacked(gzip(&zeros)).await.unwrap(),
            Digest::sha256(&zeros)
        );
    }
}
