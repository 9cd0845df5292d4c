//! One entry of 1 GiB up and down, from file to file, in turns with `dd`.
//!
//! Either way the bytes are on the disk in the end: the service syncs before it confirms an entry,
//! and `dd` and the reader are told to.

use std::{
    fs::File,
    io::Write as _,
    os::unix::fs::FileExt as _,
    path::Path,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use serde::Serialize;
use tokio::task::JoinSet;

use crate::{
    client::Client,
    harness::{Lab, command, run},
    load::Fixture,
    vitals::{Cost, Watch},
    work::{BLOCK, RANDOM, fresh},
};

/// The size of the entry.
const SIZE: usize = 1 << 30;

/// The blocks that it is sent in.
const BLOCKS: usize = SIZE / BLOCK;

/// How often everything is done.
const ROUNDS: usize = 5;

/// How many blocks are on their way at once.
const AT_ONCE: usize = 4;

/// How long `dd` may take.
const DD: Duration = Duration::from_mins(5);

/// Seconds of each round, and what the service needed for all of them.
#[derive(Debug, Default, Serialize)]
pub struct Large {
    pub dd: Vec<f64>,
    pub up: Vec<f64>,
    pub down: Vec<f64>,
    pub cost: Cost,
}

pub fn measure(fixture: &Fixture, lab: &Arc<Lab>) -> Large {
    let source = lab.path("source");
    let mut file = File::create(&source).expect("create a file");
    for _ in 0..BLOCKS {
        file.write_all(&RANDOM).expect("room for a file");
    }
    file.sync_all().expect("room for a file");

    let mut large = Large::default();
    let watch = Watch::begin(&fixture.service.process);
    for round in 0..ROUNDS {
        large
            .dd
            .push(seconds(|| dd(lab, &source, &lab.path("copy"))));
        let key = fresh();
        large.up.push(seconds(|| {
            fixture.runtime.block_on(upload(fixture, &source, &key));
        }));
        let copy = lab.path("read");
        large.down.push(seconds(|| {
            fixture.runtime.block_on(download(fixture, &copy, &key));
        }));
        eprintln!(
            "1 GiB, round {round}: dd {:.2} s, up {:.2} s, down {:.2} s",
            large.dd[round], large.up[round], large.down[round]
        );
    }
    large.cost = watch.end();
    large
}

/// Times it on a disk that has nothing else to do: what was written before is on it.
fn seconds(what: impl FnOnce()) -> f64 {
    rustix::fs::sync();
    let begun = Instant::now();
    what();
    begun.elapsed().as_secs_f64()
}

fn dd(lab: &Arc<Lab>, from: &Path, to: &Path) {
    let mut dd: Command = command(lab, "dd");
    dd.arg(format!("if={}", from.display()));
    dd.arg(format!("of={}", to.display()));
    dd.args(["bs=8M", "conv=fsync", "status=none"]);
    run(lab, "dd", dd, DD).ok("dd");
}

async fn upload(fixture: &Fixture<'_>, source: &Path, key: &str) {
    let source = Arc::new(File::open(source).expect("it was written"));
    let mut first = fixture.client().await;
    let url = first.reserve(key).await;
    let mut senders = JoinSet::new();
    for sender in 0..AT_ONCE {
        let blocks = (sender..BLOCKS).step_by(AT_ONCE);
        senders.spawn(send(
            fixture.client().await,
            url.clone(),
            Arc::clone(&source),
            blocks,
        ));
    }
    senders.join_all().await;
    first.commit(&url, key, BLOCKS, SIZE).await;
}

async fn send(
    mut client: Client,
    url: String,
    source: Arc<File>,
    blocks: impl Iterator<Item = usize>,
) {
    for number in blocks {
        let block = read_block(Arc::clone(&source), number).await;
        client.put_block(&url, number, block).await;
    }
}

async fn read_block(source: Arc<File>, number: usize) -> Bytes {
    let read = tokio::task::spawn_blocking(move || {
        let mut block = vec![0; BLOCK];
        let read = source.read_exact_at(&mut block, (number * BLOCK) as u64);
        read.map(|()| Bytes::from(block))
    });
    let block = read.await.expect("it does not panic");
    block.expect("a block of the file")
}

async fn download(fixture: &Fixture<'_>, copy: &Path, key: &str) {
    let mut client = fixture.client().await;
    let url = client.look_up(key).await.expect("it was stored");
    let mut file = File::create(copy).expect("create a file");
    let read = client.read(&url, |data| file.write_all(data).expect("room"));
    assert_eq!(read.await, SIZE);
    file.sync_all().expect("room for a file");
}
