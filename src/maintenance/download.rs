//! Reads all of an entry and hashes it, with the memory of one chunk.

use futures_util::TryStreamExt as _;

use crate::{
    actions::{Client, Entry, Error, Kind},
    digest::{Digest, Hasher},
};

/// Bytes of one ranged read. A body that is cut is asked for again from there, so a larger one costs no more.
const RANGE_BYTES: u64 = 64 << 20;

/// How often a range is asked for whose body is cut; asking has retries of its own.
const ATTEMPTS: usize = 4;

/// The digest of the first `size` bytes of an entry. `read` is told of each piece.
pub(super) async fn digest(
    client: &Client,
    entry: &Entry,
    size: u64,
    read: impl Fn(u64),
) -> Result<Digest, Error> {
    let mut hasher = Hasher::default();
    let (mut offset, mut attempts) = (0, 0);
    while offset < size {
        let end = size.min(offset + RANGE_BYTES);
        let before = offset;
        let Err(error) = append(client, entry, &mut offset, end, &mut hasher, &read).await else {
            continue;
        };
        // One that moves is asked for again and again.
        attempts = if offset > before { 1 } else { attempts + 1 };
        if attempts >= ATTEMPTS || !is_transient(&error.kind) {
            return Err(error);
        }
    }
    Ok(hasher.finish())
}

async fn append(
    client: &Client,
    entry: &Entry,
    offset: &mut u64,
    end: u64,
    hasher: &mut Hasher,
    read: &impl Fn(u64),
) -> Result<(), Error> {
    let mut body = client.read(entry, *offset..end).await?;
    while let Some(piece) = body.try_next().await? {
        hasher.update(&piece);
        *offset += piece.len() as u64;
        read(piece.len() as u64);
    }
    Ok(())
}

fn is_transient(kind: &Kind) -> bool {
    matches!(
        kind,
        Kind::Unreachable(_) | Kind::Transport | Kind::Incomplete | Kind::Timeout
    )
}
