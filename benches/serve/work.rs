//! What the clients do.

use std::sync::{
    LazyLock,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use serde::Serialize;

use crate::{client::Client, failure::Failure, protocol::Part};

/// The size of a small entry.
const SMALL: usize = 4 << 10;

/// The size of a block of a large one.
pub const BLOCK: usize = 8 << 20;

/// The blocks of an entry that is uploaded.
const BLOCKS: usize = 2;

/// How many entries there are to be looked up.
pub const KNOWN: usize = 1_000;

/// The key of the entry that is downloaded.
const LARGE: &str = "large";

/// Bytes that no disk makes smaller.
pub static RANDOM: LazyLock<Bytes> = LazyLock::new(|| {
    let mut bytes = vec![0; BLOCK];
    rand::fill(&mut bytes[..]);
    bytes.into()
});

/// One thing that a client does over and over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Work {
    /// Looks an entry up that is there.
    LookUp,
    /// Stores an entry of 4 KiB: three requests.
    Store,
    /// Stores an entry of 16 MiB in two blocks: five requests.
    Upload,
    /// Reads an entry of 16 MiB.
    Download,
}

impl Work {
    pub const ALL: [Self; 4] = [Self::LookUp, Self::Store, Self::Upload, Self::Download];

    pub fn name(self) -> &'static str {
        match self {
            Self::LookUp => "lookups",
            Self::Store => "entries of 4 KiB",
            Self::Upload => "upload of 16 MiB entries",
            Self::Download => "download of a 16 MiB entry",
        }
    }

    /// True if its bytes are what counts.
    pub fn counts_bytes(self) -> bool {
        matches!(self, Self::Upload | Self::Download)
    }

    /// Does it once: how many bytes were moved.
    pub async fn once(self, client: &mut Client) -> Result<usize, Failure> {
        match self {
            Self::LookUp => {
                let number = rand::random_range(0..KNOWN);
                find(client, &known(number)).await?;
                Ok(0)
            }
            Self::Store => {
                client.store(&fresh(), RANDOM.slice(..SMALL)).await?;
                Ok(SMALL)
            }
            Self::Upload => {
                store_parts(client, &fresh()).await?;
                Ok(BLOCK * BLOCKS)
            }
            Self::Download => {
                let path = find(client, LARGE).await?;
                let read = client.read(&path, |_| ()).await?;
                let all = read == BLOCK * BLOCKS;
                all.then_some(read)
                    .ok_or_else(|| Failure(format!("{read} bytes came")))
            }
        }
    }
}

/// What there must be before anything is measured.
pub async fn prepare(client: &mut Client) -> Result<(), Failure> {
    for number in 0..KNOWN {
        client.store(&known(number), RANDOM.slice(..SMALL)).await?;
    }
    store_parts(client, LARGE).await
}

async fn find(client: &mut Client, key: &str) -> Result<String, Failure> {
    let found = client.look_up(key).await?;
    found.ok_or_else(|| Failure(format!("{key} was not found")))
}

async fn store_parts(client: &mut Client, key: &str) -> Result<(), Failure> {
    let path = client.reserve(key).await?;
    for number in 0..BLOCKS {
        let part = Part {
            number,
            offset: number * BLOCK,
            bytes: RANDOM.clone(),
        };
        client.put_part(&path, part).await?;
    }
    client
        .commit_parts(&path, key, BLOCKS, BLOCK * BLOCKS)
        .await
}

/// None is the beginning of another.
fn known(number: usize) -> String {
    format!("known-{number:04}")
}

/// A key that was not used before.
pub fn fresh() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("fresh-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}
