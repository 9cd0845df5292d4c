//! What the clients do.

use std::sync::{
    LazyLock,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use serde::Serialize;

use crate::client::Client;

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
    pub async fn once(self, client: &mut Client) -> usize {
        match self {
            Self::LookUp => {
                let number = rand::random_range(0..KNOWN);
                let found = client.look_up(&known(number)).await;
                assert!(found.is_some(), "entry {number} is there");
                0
            }
            Self::Store => {
                client.store(&fresh(), RANDOM.slice(..SMALL)).await;
                SMALL
            }
            Self::Upload => {
                store_blocks(client, &fresh()).await;
                BLOCK * BLOCKS
            }
            Self::Download => {
                let url = client.look_up(LARGE).await.expect("it was stored");
                client.read(&url, |_| ()).await
            }
        }
    }
}

/// What there must be before anything is measured.
pub async fn prepare(client: &mut Client) {
    for number in 0..KNOWN {
        client.store(&known(number), RANDOM.slice(..SMALL)).await;
    }
    store_blocks(client, LARGE).await;
}

async fn store_blocks(client: &mut Client, key: &str) {
    let url = client.reserve(key).await;
    for number in 0..BLOCKS {
        client.put_block(&url, number, RANDOM.clone()).await;
    }
    client.commit(&url, key, BLOCKS, BLOCK * BLOCKS).await;
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
