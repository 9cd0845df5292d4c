//! Replicas behind a load balancer while one after another is killed, the database is restarted and the bucket fails calls:
//! what was confirmed is whole, what was not is whole or absent, and nothing else is left.
//!
//! Everything random comes from one seed, which is printed; `FIRE_SEED` repeats a run as far as the scheduling of
//! several processes can be repeated. `FIRE_UPLOADS` says how many uploads there are for two replicas, and
//! `FIRE_DELAY_MS` how late answers of the bucket may be; `make fire` has 1,000 and 2 s.

use std::{
    collections::{BTreeSet, VecDeque},
    fs,
    net::SocketAddr,
    path::PathBuf,
    process::Command,
    sync::Mutex,
};

use futures_util::future::join_all;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tempfile::TempDir;
use tokio::{
    sync::{
        mpsc::{Receiver, Sender, channel},
        watch,
    },
    task::block_in_place,
};

use crate::{
    balancer::Balancer,
    faulty_bucket::FaultyBucket,
    fire_clients::{Outcome, Upload},
    postgres::server::{Database, Postgres},
    program::{Program, Remote, seed, setting},
    replicas::buckets::Buckets,
};

/// As many as CI has the time for.
const UPLOADS: usize = 300;

/// Longest delay of an answer of the bucket, in milliseconds.
const DELAY_MILLIS: u64 = 100;

/// Every so many are two multipart uploads.
const LARGE: usize = 75;

const CLIENTS: usize = 16;

/// A fault happens each time that so many uploads have ended.
const LULL: usize = 30;

/// Which of the faults is the database's; all others are a replica's.
const DATABASE_FAULT: usize = 4;

/// What replicas share, and where each of them listens.
struct Deployment<'a> {
    dir: TempDir,
    database: Database<'a>,
    store: String,
    bucket_url: String,
    replicas: Vec<(SocketAddr, Option<Program>)>,
}

impl Deployment<'_> {
    fn log(&self, name: &str) -> PathBuf {
        self.dir.path().join(format!("{name}.log"))
    }

    fn program(&self, name: &str, listen: &str) -> Program {
        let mut program = Command::new(env!("CARGO_BIN_EXE_buildkit-gha"));
        program
            .envs(Buckets::s3().variables())
            .env("AWS_ENDPOINT_URL", &self.bucket_url);
        let url = self.database.url();
        let flags = [
            ["--listen", listen],
            ["--database", &url],
            ["--store", &self.store],
        ];
        let data_dir = self.dir.path().join(name);
        Program::from(program, &data_dir, &self.log(name), &flags.concat())
    }

    fn add(&mut self) {
        let name = self.replicas.len().to_string();
        let program = self.program(&name, "127.0.0.1:0");
        let address = program.url.strip_prefix("http://").unwrap();
        self.replicas
            .push((address.parse().unwrap(), Some(program)));
    }

    /// Kills a replica and starts it again where it was.
    fn restart(&mut self, at: usize) {
        drop(self.replicas[at].1.take());
        let listen = self.replicas[at].0.to_string();
        self.replicas[at].1 = Some(self.program(&at.to_string(), &listen));
    }

    /// Ends the first well and kills the others. None of them has had trouble inside.
    fn end(&mut self) {
        let mut programs = self.replicas.iter_mut().map(|(_, program)| program.take());
        programs.next().flatten().unwrap().end();
        programs.for_each(drop);
        for at in 0..self.replicas.len() {
            let log = fs::read_to_string(self.log(&at.to_string())).unwrap();
            for trouble in ["panicked", "failed inside"] {
                assert!(!log.contains(trouble), "{log}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_replicas_under_fire() {
    under_fire(2, setting("FIRE_UPLOADS").unwrap_or(UPLOADS)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_replicas_under_fire() {
    under_fire(3, UPLOADS / 2).await;
}

async fn under_fire(replicas: usize, uploads: usize) {
    let mut rng = StdRng::seed_from_u64(seed());
    let postgres = Postgres::start();
    let buckets = Buckets::s3();
    let delay = setting("FIRE_DELAY_MS").unwrap_or(DELAY_MILLIS);
    let bucket = FaultyBucket::start(buckets.url().to_owned(), rng.random(), delay);
    let (bucket, bucket_url) = bucket.await;
    let mut team = Deployment {
        dir: tempfile::tempdir().unwrap(),
        database: postgres.database(),
        store: buckets.new_place(),
        bucket_url,
        replicas: Vec::new(),
    };
    block_in_place(|| (0..replicas).for_each(|_| team.add()));
    let addresses: Vec<_> = team.replicas.iter().map(|(address, _)| *address).collect();
    let balancer = Balancer::start(team.dir.path(), &addresses);
    let first = team.replicas[0].1.as_ref().unwrap();
    let direct = first.client_of_database(&team.database.url());
    let remote = direct.clone().to(&balancer.url);

    let waiting = Mutex::new(
        (0..uploads)
            .map(|n| Upload::plan(n, LARGE, &mut rng))
            .collect(),
    );
    let (ended, ends) = channel(uploads);
    let (fault, calm) = watch::channel(false);
    let clients = async {
        let ended = ended;
        let clients = (0..CLIENTS).map(|_| client(&remote, &calm, &waiting, ended.clone()));
        join_all(clients).await
    };
    let faults = faults(ends, &fault, &mut team, &postgres, &mut rng);
    let (uploads, ()) = tokio::join!(clients, faults);
    let uploads: Vec<_> = uploads.into_iter().flatten().collect();
    let faults = bucket.heal();
    team.end();
    let count = |outcome| {
        uploads
            .iter()
            .filter(|upload| upload.outcome == outcome)
            .count()
    };
    let committed = count(Outcome::Committed);
    println!(
        "{committed} of {} uploads committed, {faults} faults of the bucket",
        uploads.len()
    );
    assert!(
        committed > uploads.len() / 2,
        "a fire in which nothing works shows nothing"
    );
    assert!(faults > 0, "the bucket was never faulty");
    judge(&team, &direct, &uploads).await;
}

/// Saves one upload after another until none is left.
async fn client(
    remote: &Remote,
    calm: &watch::Receiver<bool>,
    waiting: &Mutex<VecDeque<Upload>>,
    ended: Sender<()>,
) -> Vec<Upload> {
    let mut uploads = Vec::new();
    loop {
        let next = waiting.lock().unwrap().pop_front();
        let Some(mut upload) = next else {
            return uploads;
        };
        upload.run(remote, calm).await;
        uploads.push(upload);
        ended.send(()).await.unwrap();
    }
}

/// Does harm, again and again, for as long as there are clients; `fault` says while it does.
async fn faults(
    mut ends: Receiver<()>,
    fault: &watch::Sender<bool>,
    team: &mut Deployment<'_>,
    postgres: &Postgres,
    rng: &mut StdRng,
) {
    let mut ended = 0;
    while ends.recv().await.is_some() {
        ended += 1;
        if ended % LULL != 0 {
            continue;
        }
        let replica = rng.random_range(0..team.replicas.len());
        fault.send_replace(true);
        block_in_place(|| {
            if ended / LULL == DATABASE_FAULT {
                postgres.stop();
                postgres.restart();
            } else {
                team.restart(replica);
            }
        });
        fault.send_replace(false);
    }
}

/// What a replica finds that starts when all leases have ended.
async fn judge(team: &Deployment<'_>, remote: &Remote, uploads: &[Upload]) {
    team.database
        .query("UPDATE instances SET expires_at = clock_timestamp() - interval '2 hours'");
    let mut last = block_in_place(|| team.program("last", "127.0.0.1:0"));
    let remote = remote.at(&last);
    let (buckets, ids) = (Buckets::s3(), ids(team));
    assert_eq!(buckets.names(&team.store, "blobs").await, ids);
    let multiparts = buckets.names(&team.store, "multiparts").await;
    assert!(multiparts.is_subset(&ids), "{multiparts:?} of {ids:?}");
    let listed: BTreeSet<_> = remote.list().await.unwrap().into_iter().collect();
    assert_eq!(listed.len(), ids.len());
    for upload in uploads {
        let there = upload.judge(&remote).await;
        assert_eq!(listed.contains(&upload.key), there, "{upload:?}");
        if !there {
            save_small(&remote, &upload.key).await;
        }
    }
    last.is_sound();
    last.end();
}

/// The ids of all entries.
fn ids(team: &Deployment<'_>) -> BTreeSet<String> {
    let ids = team.database.query("SELECT id FROM entries");
    ids.lines().map(str::to_owned).collect()
}

async fn save_small(remote: &Remote, key: &str) {
    let reserved = remote.reserve(key).await.unwrap();
    let id = reserved.json()["cacheId"].as_i64();
    let id = id.unwrap_or_else(|| panic!("{key}: {}", reserved.text()));
    remote.patch(id, 0, b"again").await.unwrap();
    let committed = remote.commit(id, 5).await.unwrap();
    assert!(committed.status.is_success(), "{key}: {}", committed.text());
    assert_eq!(remote.read(key).await.unwrap().unwrap(), b"again");
}
