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
use tokio::{runtime::Runtime, task::JoinSet};

use crate::{
    client::Client,
    harness::{Lab, command, run},
    protocol::Part,
    server::{Address, Server},
    vitals::Cost,
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

pub fn measure(runtime: &Runtime, server: &Server) -> Large {
    let lab = &Lab::new();
    let source = lab.path("source");
    let mut file = File::create(&source).expect("create a file");
    for _ in 0..BLOCKS {
        file.write_all(&RANDOM).expect("room for a file");
    }
    file.sync_all().expect("room for a file");

    let mut large = Large::default();
    let watch = server.watch();
    for round in 0..ROUNDS {
        large
            .dd
            .push(seconds(|| dd(lab, &source, &lab.path("copy"))));
        let key = fresh();
        large.up.push(seconds(|| {
            runtime.block_on(upload(&server.address, &source, &key));
        }));
        let copy = lab.path("read");
        large.down.push(seconds(|| {
            runtime.block_on(download(&server.address, &copy, &key));
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

async fn upload(to: &Address, source: &Path, key: &str) {
    let source = Arc::new(File::open(source).expect("it was written"));
    let mut first = connect(to).await;
    let path = first.reserve(key).await.expect("a new key");
    let mut senders = JoinSet::new();
    for sender in 0..AT_ONCE {
        let parts = (sender..BLOCKS).step_by(AT_ONCE);
        let client = connect(to).await;
        senders.spawn(send(client, path.clone(), Arc::clone(&source), parts));
    }
    senders.join_all().await;
    let committed = first.commit_parts(&path, key, BLOCKS, SIZE).await;
    committed.expect("all parts are there");
}

async fn connect(to: &Address) -> Client {
    Client::connect(to).await.expect("it listens")
}

async fn send(
    mut client: Client,
    path: String,
    source: Arc<File>,
    parts: impl Iterator<Item = usize>,
) {
    for number in parts {
        let offset = number * BLOCK;
        let bytes = read_block(Arc::clone(&source), offset).await;
        let part = Part {
            number,
            offset,
            bytes,
        };
        client.put_part(&path, part).await.expect("it takes parts");
    }
}

async fn read_block(source: Arc<File>, offset: usize) -> Bytes {
    let read = tokio::task::spawn_blocking(move || {
        let mut block = vec![0; BLOCK];
        let read = source.read_exact_at(&mut block, offset as u64);
        read.map(|()| Bytes::from(block))
    });
    let block = read.await.expect("it does not panic");
    block.expect("a block of the file")
}

async fn download(from: &Address, copy: &Path, key: &str) {
    let mut client = connect(from).await;
    let path = client.look_up(key).await.expect("an answer");
    let path = path.expect("it was stored");
    let mut file = File::create(copy).expect("create a file");
    let read = client.read(&path, |data| file.write_all(data).expect("room"));
    assert_eq!(read.await.expect("a whole body"), SIZE);
    file.sync_all().expect("room for a file");
}
