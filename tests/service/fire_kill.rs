//! SIGKILL at random points of a thousand uploads: what was acknowledged is whole, what was not is
//! whole or absent, and nothing else is left.
//!
//! Everything random comes from one seed, which is printed; `FIRE_SEED` repeats a run as far as the
//! scheduling of two processes can be repeated.

use std::{
    collections::{HashSet, VecDeque},
    ops::Range,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicI64, Ordering},
    },
};

use futures_util::future::{join_all, try_join_all};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use reqwest::StatusCode;
use rustix::process::{Pid, Signal, kill_process};

use crate::program::{Answer, Gone, Program, Remote, audit, names, seed};

const UPLOADS: u64 = 1000;

/// Uploads in flight at once.
const LANES: usize = 8;

/// How many calls a program lives for.
const LIFE: Range<i64> = 10..250;

/// How many entries are read again after each start, besides those whose outcome was open.
const SAMPLE: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_uploads_under_sigkill() {
    let seed = seed();
    let mut rng = StdRng::seed_from_u64(seed);
    // In memory: what a killed program has written is kept either way, and here a sync costs nothing.
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let (data, log) = (dir.path().join("cache"), dir.path().join("log"));
    let mut uploads: VecDeque<_> = (0..UPLOADS).map(|n| Upload::plan(n, &mut rng)).collect();
    let mut ledger = Ledger::default();
    let mut kills = 0;
    while !uploads.is_empty() {
        let mut program = Program::start(&data, &log);
        assert_eq!(names(&data.join("uploads")), Vec::<String>::new());
        let remote = program.client(&data);
        uploads.extend(ledger.settle(&remote, &mut rng).await);
        let fuse = Fuse::new(program.pid(), rng.random_range(LIFE));
        let waiting = Mutex::new(std::mem::take(&mut uploads));
        let lanes = (0..LANES).map(|_| lane(&remote, &fuse, &waiting));
        let ended: Vec<Vec<Upload>> = join_all(lanes).await;
        uploads = waiting.into_inner().unwrap();
        ledger.note(ended.into_iter().flatten());
        if fuse.burnt() {
            kills += 1;
        } else {
            program.is_sound();
        }
    }
    println!("{kills} kills");
    assert!(kills > 10, "{kills} kills are no fire");
    let mut program = Program::start(&data, &log);
    let remote = program.client(&data);
    ledger.settle(&remote, &mut rng).await;
    ledger.all_is_well(&remote).await;
    program.is_sound();
    drop(program);
    audit(&data);
    names_nothing_else(&data);
}

/// A store that grows a new kind of file must say here who collects it.
fn names_nothing_else(data: &Path) {
    let mut files = names(data);
    files.retain(|name| !name.starts_with("entries.db"));
    files.sort();
    assert_eq!(files, ["ballast", "blobs", "lock", "secret", "uploads"]);
}

/// Uploads one after another until none is left or the program is gone.
async fn lane(remote: &Remote, fuse: &Fuse, waiting: &Mutex<VecDeque<Upload>>) -> Vec<Upload> {
    let mut ended = Vec::new();
    loop {
        let next = waiting.lock().unwrap().pop_front();
        let Some(mut upload) = next else { break };
        let gone = upload.run(remote, fuse).await.is_err();
        ended.push(upload);
        if gone {
            break;
        }
    }
    ended
}

/// Kills the program after a number of calls, while the last of them is on its way.
struct Fuse {
    program: Pid,
    left: AtomicI64,
}

impl Fuse {
    fn new(program: Pid, calls: i64) -> Self {
        Self {
            program,
            left: AtomicI64::new(calls),
        }
    }

    fn burnt(&self) -> bool {
        self.left.load(Ordering::SeqCst) <= 0
    }

    async fn burn<T>(&self, call: impl Future<Output = Result<T, Gone>>) -> Result<T, Gone> {
        let last = self.left.fetch_sub(1, Ordering::SeqCst) == 1;
        let kill = async {
            if last {
                // How far the call gets meanwhile is left to chance.
                for _ in 0..rand::random_range(0..200) {
                    tokio::task::yield_now().await;
                }
                kill_process(self.program, Signal::KILL).unwrap();
            }
        };
        tokio::join!(call, kill).0
    }
}

#[derive(Debug, Clone, Copy)]
enum Protocol {
    V1,
    PutBlob,
    Blocks,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// No commit was ever asked for.
    Unfinished,
    /// A commit was asked for and its answer was lost; v1 repeats it by the id.
    Open(i64),
    /// The commit was acknowledged.
    Committed,
}

#[derive(Debug)]
struct Upload {
    key: String,
    seed: u64,
    size: usize,
    part: usize,
    protocol: Protocol,
    outcome: Outcome,
}

impl Upload {
    fn plan(n: u64, rng: &mut StdRng) -> Self {
        let (size, part) = match rng.random_range(0..20) {
            0 => (500_000..1_500_000, 100_000..400_000),
            1..4 => (50_000..300_000, 20_000..300_000),
            _ => (1..5000, 5000..5001),
        };
        let protocols = [Protocol::V1, Protocol::PutBlob, Protocol::Blocks];
        Self {
            key: format!("upload-{n}"),
            seed: n,
            size: rng.random_range(size),
            part: rng.random_range(part),
            protocol: protocols[rng.random_range(0..protocols.len())],
            outcome: Outcome::Unfinished,
        }
    }

    fn content(&self) -> Vec<u8> {
        let mut content = vec![0; self.size];
        StdRng::seed_from_u64(self.seed).fill(&mut content[..]);
        content
    }

    async fn run(&mut self, remote: &Remote, fuse: &Fuse) -> Result<(), Gone> {
        let content = self.content();
        let commit = match self.protocol {
            Protocol::V1 => {
                let id = self.upload_v1(&content, remote, fuse).await?;
                self.outcome = Outcome::Open(id);
                fuse.burn(remote.commit(id, self.size)).await?
            }
            Protocol::PutBlob | Protocol::Blocks => {
                self.upload_v2(&content, remote, fuse).await?;
                self.outcome = Outcome::Open(0);
                fuse.burn(remote.finalize(&self.key, self.size)).await?
            }
        };
        assert!(committed(&commit), "{}: {}", self.key, commit.text());
        self.outcome = Outcome::Committed;
        Ok(())
    }

    async fn upload_v1(&self, content: &[u8], remote: &Remote, fuse: &Fuse) -> Result<i64, Gone> {
        let reserved = fuse.burn(remote.reserve(&self.key)).await?;
        assert_eq!(reserved.status, StatusCode::CREATED, "{}", reserved.text());
        let id = reserved.json()["cacheId"].as_i64().unwrap();
        let parts = content.chunks(self.part).enumerate();
        let sent = parts.map(|(n, part)| fuse.burn(remote.patch(id, n * self.part, part)));
        for answer in try_join_all(sent).await? {
            assert_eq!(answer.status, StatusCode::NO_CONTENT, "{}", answer.text());
        }
        Ok(id)
    }

    async fn upload_v2(&self, content: &[u8], remote: &Remote, fuse: &Fuse) -> Result<(), Gone> {
        let created = fuse.burn(remote.create(&self.key)).await?;
        assert_eq!(created.status, StatusCode::OK, "{}", created.text());
        let created = created.json();
        let url = created["signed_upload_url"].as_str().unwrap();
        if let Protocol::PutBlob = self.protocol {
            let put = fuse.burn(remote.put(url, "", content.to_vec())).await?;
            assert_eq!(put.status, StatusCode::CREATED, "{}", put.text());
            return Ok(());
        }
        let mut list = Vec::new();
        let mut sent = Vec::new();
        for (n, part) in content.chunks(self.part).enumerate() {
            // Four bytes of base64.
            let id = format!("{n:04}");
            list.push(format!("<Latest>{id}</Latest>"));
            let query = format!("&comp=block&blockid={id}");
            sent.push(async move { fuse.burn(remote.put(url, &query, part.to_vec())).await });
        }
        let list = format!("<BlockList>{}</BlockList>", list.concat());
        let mut answers = try_join_all(sent).await?;
        let list = remote.put(url, "&comp=blocklist", list.into_bytes());
        answers.push(fuse.burn(list).await?);
        for answer in answers {
            assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
        }
        Ok(())
    }

    /// Asks for the commit once more, as a client does whose answer was lost.
    async fn repeat_commit(&mut self, id: i64, remote: &Remote) {
        let answer = match self.protocol {
            Protocol::V1 => remote.commit(id, self.size).await,
            Protocol::PutBlob | Protocol::Blocks => remote.finalize(&self.key, self.size).await,
        };
        let answer = answer.unwrap();
        if committed(&answer) {
            self.outcome = Outcome::Committed;
        } else {
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{}", answer.text());
            self.outcome = Outcome::Unfinished;
        }
    }

    async fn is_whole(&self, remote: &Remote) {
        let content = remote.read(&self.key).await.unwrap();
        assert!(content == Some(self.content()), "{self:?}");
    }
}

fn committed(answer: &Answer) -> bool {
    answer.status == StatusCode::NO_CONTENT || answer.json()["ok"] == true
}

/// What is known of every upload that was begun.
#[derive(Default)]
struct Ledger(Vec<Upload>);

impl Ledger {
    fn note(&mut self, uploads: impl Iterator<Item = Upload>) {
        self.0.extend(uploads);
    }

    /// After a start: finds out what became of the uploads that were under way, checks what is
    /// visible, and gives back those that are tried again under their old keys.
    async fn settle(&mut self, remote: &Remote, rng: &mut StdRng) -> Vec<Upload> {
        let visible = self.visible(remote).await;
        for upload in &mut self.0 {
            if let Outcome::Open(id) = upload.outcome {
                if visible.contains(&upload.key) {
                    upload.is_whole(remote).await;
                }
                upload.repeat_commit(id, remote).await;
                let there = upload.outcome == Outcome::Committed;
                assert_eq!(visible.contains(&upload.key), there, "{upload:?}");
            }
        }
        for _ in 0..SAMPLE.min(self.0.len()) {
            let upload = &self.0[rng.random_range(0..self.0.len())];
            if upload.outcome == Outcome::Committed {
                upload.is_whole(remote).await;
            }
        }
        let unfinished = |upload: &mut Upload| upload.outcome == Outcome::Unfinished;
        let (again, never) = self
            .0
            .extract_if(.., unfinished)
            .partition(|_| rng.random());
        self.note(Vec::into_iter(never));
        again
    }

    /// The keys of all entries, of which none may be missing or too many.
    async fn visible(&self, remote: &Remote) -> HashSet<String> {
        let visible: HashSet<_> = remote.list().await.unwrap().into_iter().collect();
        for upload in &self.0 {
            let there = visible.contains(&upload.key);
            match upload.outcome {
                Outcome::Committed => assert!(there, "lost: {upload:?}"),
                Outcome::Unfinished => assert!(!there, "half: {upload:?}"),
                Outcome::Open(_) => {}
            }
        }
        let known: HashSet<_> = self.0.iter().map(|upload| &upload.key).collect();
        assert!(visible.iter().all(|key| known.contains(key)));
        visible
    }

    async fn all_is_well(&self, remote: &Remote) {
        self.visible(remote).await;
        for upload in &self.0 {
            match upload.outcome {
                Outcome::Committed => upload.is_whole(remote).await,
                _ => assert_eq!(remote.find(&upload.key).await.unwrap(), None),
            }
        }
    }
}
