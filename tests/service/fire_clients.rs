//! Clients of a service under fire: each upload knows its bytes, and what may have become of it.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rand::{RngExt as _, rngs::StdRng, seq::SliceRandom as _};
use reqwest::StatusCode;
use tokio::sync::watch;

use crate::program::{Answer, Gone, Remote};

/// How often a call is made that fails on the other side.
const TRIES: usize = 8;

const MIB: usize = 1 << 20;

/// What a client knows of its upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It never asked for a commit.
    Uncommitted,
    /// It asked for one and got no answer, or one that says no.
    Unknown,
    /// The commit was confirmed.
    Committed,
}

/// One entry to be.
#[derive(Debug)]
pub struct Upload {
    pub key: String,
    number: usize,
    v1: bool,
    blocks: Vec<usize>,
    /// In which order they are sent.
    order: Vec<usize>,
    /// Which of them are sent with other bytes first.
    wrong_first: Vec<bool>,
    pub outcome: Outcome,
}

/// It came to nothing: the replica that had it is gone, or does not answer.
#[derive(Debug)]
struct Lost;

impl Upload {
    /// One of many: most are small, and every `large`th is a multipart upload.
    pub fn plan(number: usize, large: usize, rng: &mut StdRng) -> Self {
        let blocks: Vec<usize> = match rng.random_range(0..10) {
            _ if number % large == 1 => vec![3 * MIB; 7],
            _ if number % large == large / 2 => vec![MIB; 20],
            0 => (0..6).map(|_| rng.random_range(50_000..400_000)).collect(),
            n => (0..n).map(|_| rng.random_range(1..5000)).collect(),
        };
        let mut order: Vec<_> = (0..blocks.len()).collect();
        order.shuffle(rng);
        Self {
            key: format!("upload-{number}"),
            number,
            v1: rng.random(),
            wrong_first: blocks.iter().map(|_| rng.random_ratio(1, 8)).collect(),
            blocks,
            order,
            outcome: Outcome::Uncommitted,
        }
    }

    /// Bytes that are nobody else's, and nowhere else in their block.
    fn block(&self, at: usize) -> Vec<u8> {
        let word = ((self.number as u64) << 16 | at as u64).to_le_bytes();
        let mut block = word.repeat(self.blocks[at] / word.len() + 1);
        block.truncate(self.blocks[at]);
        for (page, bytes) in block.chunks_mut(4096).enumerate() {
            bytes[0] = bytes[0].wrapping_add(u8::try_from(page % 251).unwrap());
        }
        block
    }

    fn content(&self) -> Vec<u8> {
        (0..self.blocks.len())
            .flat_map(|at| self.block(at))
            .collect()
    }

    fn size(&self) -> usize {
        self.blocks.iter().sum()
    }

    /// Saves it as far as that goes.
    pub async fn run(&mut self, remote: &Remote, fault: &watch::Receiver<bool>) {
        let saved = if self.v1 {
            self.save_v1(remote, fault).await
        } else {
            self.save_v2(remote, fault).await
        };
        if saved.is_ok() {
            self.outcome = Outcome::Committed;
        }
    }

    async fn save_v1(
        &mut self,
        remote: &Remote,
        fault: &watch::Receiver<bool>,
    ) -> Result<(), Lost> {
        let reserved = persist(fault, async || remote.reserve(&self.key).await).await?;
        let id = reserved.json()["cacheId"].as_i64().unwrap();
        for at in &self.order {
            let start = self.blocks[..*at].iter().sum();
            for block in self.sent(*at) {
                persist(fault, async || remote.patch(id, start, &block).await).await?;
            }
        }
        self.outcome = Outcome::Unknown;
        persist(fault, async || remote.commit(id, self.size()).await).await?;
        Ok(())
    }

    async fn save_v2(
        &mut self,
        remote: &Remote,
        fault: &watch::Receiver<bool>,
    ) -> Result<(), Lost> {
        let created = persist(fault, async || remote.create(&self.key).await)
            .await?
            .json();
        let url = created["signed_upload_url"].as_str().unwrap();
        let id = |at: usize| STANDARD.encode(format!("{at:06}"));
        let put = async |at: usize, block: &[u8]| {
            let query = format!("&comp=block&blockid={}", id(at));
            persist(fault, async || {
                remote.put(url, &query, block.to_vec()).await
            })
            .await
        };
        for at in &self.order {
            for block in self.sent(*at) {
                put(*at, &block).await?;
            }
        }
        // One that is not in the list.
        put(self.blocks.len(), b"nobody's").await?;
        let ids: Vec<_> = (0..self.blocks.len()).map(id).collect();
        let ids = ids.join("</Latest><Latest>");
        let list = format!("<BlockList><Latest>{ids}</Latest></BlockList>").into_bytes();
        persist(fault, async || {
            remote.put(url, "&comp=blocklist", list.clone()).await
        })
        .await?;
        self.outcome = Outcome::Unknown;
        let finalized = persist(fault, async || {
            remote.finalize(&self.key, self.size()).await
        })
        .await?;
        assert_eq!(finalized.json()["ok"], true, "{}", finalized.text());
        Ok(())
    }

    /// What is sent as a block, one after the other: the last counts.
    fn sent(&self, at: usize) -> Vec<Vec<u8>> {
        let right = self.block(at);
        let wrong = self.wrong_first[at].then(|| vec![b'x'; right.len()]);
        wrong.into_iter().chain([right]).collect()
    }

    /// Checks that it is there, or not, as its client was told. Answers whether it is there.
    pub async fn judge(&self, remote: &Remote) -> bool {
        let found = remote.read(&self.key).await.unwrap();
        match (&found, self.outcome) {
            (Some(found), Outcome::Committed | Outcome::Unknown) => {
                assert!(*found == self.content(), "other bytes: {self:?}");
            }
            (Some(_), Outcome::Uncommitted) => panic!("never committed: {self:?}"),
            (None, Outcome::Committed) => panic!("lost: {self:?}"),
            (None, _) => {}
        }
        found.is_some()
    }
}

/// Makes a call until it succeeds. What says that there is no such upload, or that its key is taken, is final; any other
/// refusal is a fault of the service. It waits while `fault` says that one goes on.
async fn persist(
    fault: &watch::Receiver<bool>,
    mut call: impl AsyncFnMut() -> Result<Answer, Gone>,
) -> Result<Answer, Lost> {
    let mut fault = fault.clone();
    for _ in 0..TRIES {
        if let Ok(answer) = call().await {
            let status = answer.status;
            if status.is_success() {
                return Ok(answer);
            }
            if [StatusCode::NOT_FOUND, StatusCode::CONFLICT].contains(&status) {
                return Err(Lost);
            }
            assert!(status.is_server_error(), "{status}: {}", answer.text());
        }
        fault.wait_for(|fault| !fault).await.unwrap();
    }
    Err(Lost)
}
