//! What one token can do to an Actions cache that others use, too.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::MetadataExt as _,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use buildkit_gha::protocol::block_list;
use serde_json::json;

use super::{BESIDE, Row, seconds};
use crate::harness::{Answer, Http, Site};

const MIB: usize = 1 << 20;

/// More than a scope may have.
const RESERVATIONS: usize = 1_200;

/// How often a block of a MiB is named in one list: 500 GB in Azure's largest one.
const REPEATED: usize = 50_000;

/// What is thrown away with an entry of one byte.
const WASTE: usize = 15;

/// What a file of one byte may take of a disk.
const SMALL: u64 = 64 << 10;

/// Calls of v2, and of the signed URLs that it hands out.
struct Caller<'a> {
    site: &'a Site,
    http: Http,
}

impl<'a> Caller<'a> {
    fn new(site: &'a Site) -> Self {
        let http = Http::new(site.service.address()).token(&site.token);
        let http = http.header("Content-Type", "application/json");
        Self { site, http }
    }

    fn twirp(&self, method: &str, body: &serde_json::Value) -> Answer {
        let path = format!("/twirp/github.actions.results.api.v1.CacheService/{method}");
        let answer = self.http.send("POST", &path, body.to_string().as_bytes());
        answer.expect("an answer")
    }

    /// Reserves a key; the path of the signed URL.
    fn create(&self, key: &str) -> String {
        let created = self.twirp("CreateCacheEntry", &json!({"key": key, "version": "v"}));
        let url = created.json()["signed_upload_url"].clone();
        let url = url.as_str().expect("a URL").to_owned();
        let base = self.site.service.url();
        let path = url.strip_prefix(base.trim_end_matches('/'));
        path.expect("a URL of the service").to_owned()
    }

    fn finalize(&self, key: &str, size: usize) -> u16 {
        let message = json!({"key": key, "version": "v", "size_bytes": size.to_string()});
        self.twirp("FinalizeCacheEntryUpload", &message).status
    }

    fn put_block(&self, path: &str, id: &str, bytes: &[u8]) -> u16 {
        self.put(&block(path, id), bytes)
    }

    fn put_list<'b>(&self, path: &str, ids: impl IntoIterator<Item = &'b str>) -> u16 {
        let list = block_list::write(ids.into_iter().map(encoded));
        self.put(&format!("{path}&comp=blocklist"), list.as_bytes())
    }

    fn put(&self, path: &str, bytes: &[u8]) -> u16 {
        let http = Http::new(self.site.service.address());
        http.send("PUT", path, bytes).expect("an answer").status
    }

    /// The size of the largest file that the service has, and the disk that it takes.
    fn largest_file(&self) -> (u64, u64) {
        let files = fs::read_dir(self.site.lab.path("cache/blobs")).expect("a directory");
        let files = files.map(|file| file.expect("a file").metadata().expect("a file"));
        let sizes = files.map(|file| (file.len(), file.blocks() * 512));
        sizes.max().expect("an entry")
    }
}

fn encoded(id: &str) -> String {
    STANDARD.encode(id)
}

fn block(path: &str, id: &str) -> String {
    format!(
        "{path}&comp=block&blockid={}",
        encoded(id).replace('=', "%3D")
    )
}

/// How long a lookup takes, on a connection of its own.
fn lookup(site: &Site) -> Duration {
    let http = Http::new(site.service.address()).token(&site.token);
    let path = "/_apis/artifactcache/cache?keys=nothing&version=v";
    let began = Instant::now();
    let answer = http.send("GET", path, b"").expect("an answer");
    assert_eq!(answer.status, 204, "{answer:?}");
    began.elapsed()
}

/// Reservations without end.
pub fn reservations() -> Row {
    let site = Site::new();
    let greedy = site.service.token(&["refs/pull/7/merge=rw"]);
    let http = Http::new(site.service.address()).token(&greedy);
    let http = http.header("Content-Type", "application/json");
    let before = lookup(&site);
    let reserve = |n: usize| {
        let body = json!({"key": format!("k-{n}"), "version": "v"}).to_string();
        let answer = http.send("POST", "/_apis/artifactcache/caches", body.as_bytes());
        answer.expect("an answer").status
    };
    let first_refused = (0..RESERVATIONS).find(|n| reserve(*n) == 429);
    let beside = lookup(&site);
    let began = Instant::now();
    site.service.save(&site.token, "others", b"content");
    let saved = began.elapsed();
    let refused = first_refused.map_or("none is refused".to_owned(), |n| format!("429 after {n}"));
    let (before, beside, saved) = (seconds(before), seconds(beside), seconds(saved));
    Row::on_the_service(
        "a pull request's token makes reservations without end; main looks up and saves",
        format!("{refused}; lookup {before} → {beside}; main saves in {saved}"),
        first_refused.is_some(),
    )
}

/// A small entry, made of much.
pub fn one_byte() -> Row {
    let site = Site::new();
    let caller = Caller::new(&site);
    let path = caller.create("small");
    for n in 0..WASTE {
        caller.put_block(&path, &format!("waste-{n:02}"), &vec![1; 4 * MIB]);
    }
    caller.put_block(&path, "wanted00", &[7]);
    let listed = caller.put_list(&path, ["wanted00"]);
    let finalized = caller.finalize("small", 1);
    let (bytes, on_disk) = caller.largest_file();
    Row::on_the_service(
        "an entry of one byte, of an upload of 60 MiB",
        format!(
            "{listed}, {finalized}; the file has {bytes} bytes in {} KiB",
            on_disk >> 10
        ),
        finalized == 200 && on_disk <= SMALL,
    )
}

/// A large entry, made of little.
pub fn repeated_block() -> Row {
    let site = Site::new();
    let caller = Caller::new(&site);
    let before = lookup(&site);
    let path = caller.create("large");
    caller.put_block(&path, "a", &vec![1; MIB]);
    let listed = caller.put_list(&path, std::iter::repeat_n("a", REPEATED));
    let finalized = caller.finalize("large", REPEATED * MIB);
    let beside = lookup(&site);
    let (before, beside) = (seconds(before), seconds(beside));
    Row::on_the_service(
        "one block of a MiB, named 50,000 times: 52 GB",
        format!("{listed}, {finalized}; lookup {before} → {beside}"),
        listed == 400 && finalized != 200,
    )
}

/// A request that begins before the commit and goes on after it.
pub fn late_put() -> Row {
    let site = Site::new();
    let caller = Caller::new(&site);
    let path = caller.create("grows");
    caller.put_block(&path, "a", &vec![1; MIB]);
    let mut late = TcpStream::connect(site.service.address()).expect("it listens");
    late.set_read_timeout(Some(BESIDE)).expect("a socket");
    let (late_path, length) = (block(&path, "b"), 8 * MIB);
    let head = format!("PUT {late_path} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n");
    late.write_all(head.as_bytes()).expect("it reads");
    late.write_all(&vec![2; 4 * MIB]).expect("it reads");
    let listed = caller.put_list(&path, ["a"]);
    let finalized = caller.finalize("grows", MIB);
    // It may have been cut off by now.
    let _ = late.write_all(&vec![2; 4 * MIB]);
    let mut answer = [0; 12];
    let answered = late.read_exact(&mut answer).is_ok();
    let said = if answered {
        String::from_utf8_lossy(&answer[9..]).into_owned()
    } else {
        "cut off".to_owned()
    };
    let (bytes, _) = caller.largest_file();
    Row::on_the_service(
        "a PUT of 8 MiB that begins before the commit of 1 MiB and goes on after it",
        format!("{listed}, {finalized}, {said}; the file has {bytes} bytes"),
        finalized == 200 && bytes == MIB as u64,
    )
}
