//! The real program on a data directory, and a client that survives its death.

use std::{
    fmt::Debug,
    fs::{self, File},
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    str::FromStr,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use buildkit_gha::service::DEFAULT_REPOSITORY;
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::harness::{MAIN, VERSION};

/// Distinguishes an answer that is late from one that never comes.
const HANG: Duration = Duration::from_mins(1);

/// `buildkit-gha serve`; killed when dropped, so that nothing gets a chance to tidy up.
pub struct Program {
    child: Child,
    log: PathBuf,
    pub url: String,
}

impl Program {
    /// Starts it; `log` collects what it says.
    pub fn start(data_dir: &Path, log: &Path) -> Self {
        Self::start_with(data_dir, log, &[])
    }

    /// The same with more settings.
    pub fn start_with(data_dir: &Path, log: &Path, arguments: &[&str]) -> Self {
        let all = [&["--listen", "127.0.0.1:0"], arguments].concat();
        Self::listening(data_dir, log, &all)
    }

    /// The same where the settings say where it listens.
    pub fn listening(data_dir: &Path, log: &Path, arguments: &[&str]) -> Self {
        let program = Command::new(env!("CARGO_BIN_EXE_buildkit-gha"));
        Self::from(program, data_dir, log, arguments)
    }

    /// The same with variables that `program` has.
    pub fn from(mut program: Command, data_dir: &Path, log: &Path, arguments: &[&str]) -> Self {
        let stderr = File::options().create(true).append(true).open(log).unwrap();
        let mut child = program
            .args(["serve", "--data-dir"])
            .arg(data_dir)
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let url = line.trim().strip_prefix("listening on ");
        let url = url.unwrap_or_else(|| panic!("{}", fs::read_to_string(log).unwrap()));
        Self {
            url: url.to_owned(),
            child,
            log: log.to_owned(),
        }
    }

    /// A process id that can be killed while the program is in use.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Asks it to end and waits until it has: its log is whole then.
    pub fn end(self) {
        self.ask_to_end();
        self.wait();
    }

    /// Asks it to end.
    pub fn ask_to_end(&self) {
        kill_process(self.pid(), Signal::TERM).unwrap();
    }

    /// Waits until it has ended well.
    pub fn wait(mut self) {
        assert!(self.child.wait().unwrap().success());
    }

    /// Fails if the program has ended, has panicked or has failed inside.
    pub fn is_sound(&mut self) {
        assert!(self.child.try_wait().unwrap().is_none(), "it has ended");
        let log = fs::read_to_string(&self.log).unwrap();
        for trouble in ["panicked", "failed inside"] {
            assert!(!log.contains(trouble), "{log}");
        }
    }

    /// A client that may read, write and delete in one scope.
    pub fn client(&self, data_dir: &Path) -> Remote {
        self.client_of(data_dir, DEFAULT_REPOSITORY)
    }

    /// The same for another repository.
    pub fn client_of(&self, data_dir: &Path, repository: &str) -> Remote {
        let place = ["--data-dir", data_dir.to_str().unwrap()];
        self.client_from(place, repository, MAIN)
    }

    /// A client of a service whose secret is in a database.
    pub fn client_of_database(&self, url: &str) -> Remote {
        self.client_in(["--database", url], MAIN)
    }

    /// A client of another scope; its secret is in a data directory or a database.
    pub fn client_in(&self, place: [&str; 2], scope: &str) -> Remote {
        self.client_from(place, DEFAULT_REPOSITORY, scope)
    }

    fn client_from(&self, place: [&str; 2], repository: &str, scope: &str) -> Remote {
        let token = Command::new(env!("CARGO_BIN_EXE_buildkit-gha"))
            .args(["token", "--scope", &format!("{scope}=rwd")])
            .args(["--repository", repository])
            .args(place)
            .output()
            .unwrap();
        let token = String::from_utf8(token.stdout).unwrap();
        Remote {
            http: Client::builder().no_proxy().timeout(HANG).build().unwrap(),
            url: self.url.clone(),
            token: token.trim().to_owned(),
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // One that has ended and was waited for has left its id to others.
        if self.child.try_wait().unwrap().is_none() {
            kill_process(self.pid(), Signal::KILL).unwrap();
            self.child.wait().unwrap();
        }
    }
}

/// The server is gone, in the middle of a call or before.
#[derive(Debug)]
pub struct Gone;

/// An answer that has arrived whole.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Calls from which nothing is expected: what they answer is for the test to judge.
#[derive(Clone)]
pub struct Remote {
    http: Client,
    url: String,
    pub token: String,
}

impl Remote {
    /// The same client, for a program that was started again.
    pub fn at(&self, program: &Program) -> Self {
        Self {
            url: program.url.clone(),
            ..self.clone()
        }
    }

    /// The same client, for whatever leads to a program.
    pub fn to(self, url: &str) -> Self {
        Self {
            url: url.to_owned(),
            ..self
        }
    }

    /// The same client with other means.
    pub fn over(self, http: Client) -> Self {
        Self { http, ..self }
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}{path}", self.url);
        self.http.request(method, url).bearer_auth(&self.token)
    }

    pub async fn send(request: RequestBuilder) -> Result<Answer, Gone> {
        let gone = |error: reqwest::Error| {
            assert!(!error.is_timeout(), "a hang: {error}");
            Gone
        };
        let response = request.send().await.map_err(gone)?;
        let status = response.status();
        let body = response.bytes().await.map_err(gone)?.to_vec();
        Ok(Answer { status, body })
    }

    pub async fn reserve(&self, key: &str) -> Result<Answer, Gone> {
        let request = self.request(Method::POST, "/_apis/artifactcache/caches");
        Self::send(request.json(&json!({"key": key, "version": VERSION}))).await
    }

    pub async fn patch(&self, id: i64, start: usize, part: &[u8]) -> Result<Answer, Gone> {
        let request = self.request(Method::PATCH, &format!("/_apis/artifactcache/caches/{id}"));
        let range = format!("bytes {start}-{}/*", start + part.len() - 1);
        Self::send(request.header("content-range", range).body(part.to_vec())).await
    }

    pub async fn commit(&self, id: i64, size: usize) -> Result<Answer, Gone> {
        let request = self.request(Method::POST, &format!("/_apis/artifactcache/caches/{id}"));
        Self::send(request.json(&json!({ "size": size }))).await
    }

    async fn twirp(&self, method: &str, message: Value) -> Result<Answer, Gone> {
        let service = "/twirp/github.actions.results.api.v1.CacheService/";
        let request = self.request(Method::POST, &format!("{service}{method}"));
        Self::send(request.json(&message)).await
    }

    pub async fn create(&self, key: &str) -> Result<Answer, Gone> {
        let message = json!({"key": key, "version": VERSION});
        self.twirp("CreateCacheEntry", message).await
    }

    /// Where the bytes of a new upload go.
    pub async fn upload_url(&self, key: &str) -> String {
        let created = self.create(key).await.unwrap().json();
        created["signed_upload_url"].as_str().unwrap().to_owned()
    }

    /// Sends blocks and their list.
    pub async fn put_blocks(&self, url: &str, blocks: &[Vec<u8>]) {
        let ids: Vec<_> = (0..blocks.len())
            .map(|number| STANDARD.encode(format!("{number:04}")))
            .collect();
        for (id, block) in ids.iter().zip(blocks) {
            let query = format!("&comp=block&blockid={id}");
            let put = self.put(url, &query, block.clone()).await.unwrap();
            assert_eq!(put.status, StatusCode::CREATED, "{}", put.text());
        }
        let ids = ids.join("</Latest><Latest>");
        let list = format!("<BlockList><Latest>{ids}</Latest></BlockList>").into_bytes();
        let put = self.put(url, "&comp=blocklist", list).await.unwrap();
        assert_eq!(put.status, StatusCode::CREATED, "{}", put.text());
    }

    pub async fn put(&self, url: &str, query: &str, body: Vec<u8>) -> Result<Answer, Gone> {
        Self::send(self.http.put(format!("{url}{query}")).body(body)).await
    }

    pub async fn finalize(&self, key: &str, size: usize) -> Result<Answer, Gone> {
        let message = json!({"key": key, "version": VERSION, "size_bytes": size.to_string()});
        self.twirp("FinalizeCacheEntryUpload", message).await
    }

    /// Where the entry with this very key can be read, if it is there.
    pub async fn find(&self, key: &str) -> Result<Option<String>, Gone> {
        let message = json!({"key": key, "version": VERSION});
        let answer = self.twirp("GetCacheEntryDownloadURL", message).await?;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        let found = answer.json();
        let url = found["signed_download_url"].as_str().map(str::to_owned);
        Ok(url.filter(|_| found["matched_key"] == key))
    }

    pub async fn get(&self, url: &str) -> Result<Answer, Gone> {
        Self::send(self.http.get(url)).await
    }

    /// The content of the entry with this very key, if it is there.
    pub async fn read(&self, key: &str) -> Result<Option<Vec<u8>>, Gone> {
        let Some(url) = self.find(key).await? else {
            return Ok(None);
        };
        let answer = self.get(&url).await?;
        assert_eq!(answer.status, StatusCode::OK, "{key}: {}", answer.text());
        Ok(Some(answer.body))
    }

    /// The keys of all entries.
    pub async fn list(&self) -> Result<Vec<String>, Gone> {
        let mut keys = Vec::new();
        loop {
            let page = keys.len() / 100 + 1;
            let path = format!("/repos/local/cache/actions/caches?per_page=100&page={page}");
            let answer = Self::send(self.request(Method::GET, &path)).await?;
            assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
            let list = answer.json();
            let entries = list["actions_caches"].as_array().unwrap();
            keys.extend(
                entries
                    .iter()
                    .map(|e| e["key"].as_str().unwrap().to_owned()),
            );
            if keys.len() as u64 >= list["total_count"].as_u64().unwrap() {
                return Ok(keys);
            }
        }
    }
}

/// What all that is random in a test comes from: a new one each time, or that of a run that is
/// looked into. A test that fails shows it.
pub fn seed() -> u64 {
    let seed = setting("FIRE_SEED").unwrap_or_else(rand::random);
    println!("FIRE_SEED={seed}");
    seed
}

/// A number that whoever runs a test may choose by a variable.
#[expect(
    clippy::disallowed_methods,
    reason = "a setting of the test, not of the program"
)]
pub fn setting<T: FromStr<Err: Debug>>(variable: &str) -> Option<T> {
    let given = std::env::var(variable).ok();
    given.map(|given| given.parse().unwrap())
}

/// Compares the files of a data directory that no program has open with the rows of its database.
pub fn audit(data_dir: &Path) {
    let db = rusqlite::Connection::open(data_dir.join("entries.db")).unwrap();
    let rows =
        "SELECT c.id, size, stored, extents FROM entries JOIN contents c ON c.id = content_id";
    let mut rows = db.prepare(rows).unwrap();
    let rows = rows.query_map([], |row| {
        let number = |at| Ok::<_, rusqlite::Error>(row.get::<_, i64>(at)?.cast_unsigned());
        let extents: Vec<u8> = row.get(3)?;
        Ok((number(0)?, number(1)?, number(2)?, extents))
    });
    let mut files = names(&data_dir.join("blobs"));
    for row in rows.unwrap() {
        let (id, size, stored, extents) = row.unwrap();
        let id = id.to_string();
        let len = fs::metadata(data_dir.join("blobs").join(&id))
            .unwrap()
            .len();
        let (numbers, _) = extents.as_chunks::<8>();
        let numbers: Vec<u64> = numbers.iter().map(|n| u64::from_le_bytes(*n)).collect();
        let (extents, _) = numbers.as_chunks::<2>();
        assert_eq!(extents.iter().map(|[_, len]| len).sum::<u64>(), size);
        let end = extents.iter().map(|[offset, len]| offset + len).max();
        assert_eq!(end.unwrap_or(0), stored);
        assert!(stored <= len);
        files.retain(|file| *file != id);
    }
    assert_eq!(files, Vec::<String>::new(), "files without a row");
    let usage = |table| {
        let sql = format!("SELECT repository, bytes, entries FROM {table} ORDER BY repository");
        let mut rows = db.prepare(&sql).unwrap();
        let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
        rows.unwrap()
            .collect::<Result<Vec<(String, i64, i64)>, _>>()
            .unwrap()
    };
    let counted = "(SELECT repository, sum(size) AS bytes, count(*) AS entries \
                   FROM entries GROUP BY repository)";
    assert_eq!(
        usage("repository_usage"),
        usage(counted),
        "what entries take"
    );
}

/// The names of the files in a directory.
pub fn names(dir: &Path) -> Vec<String> {
    let files = fs::read_dir(dir).unwrap();
    files
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect()
}
