//! `buildkit-gha serve`: the Actions cache of the tests, and what it counts.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use buildkit_gha::digest::Digest;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::{
    Http, Lab, SOON,
    process::{Process, command, run},
};

/// Another program than the one under test, to be measured. In images it must be a static one.
pub(super) const MEASURED_PROGRAM: Option<&str> = option_env!("BUILDKIT_GHA_PROGRAM");

/// The program under test.
pub const PROGRAM: &str = match MEASURED_PROGRAM {
    Some(other) => other,
    None => env!("CARGO_BIN_EXE_buildkit-gha"),
};

/// Where v1 is.
const V1: &str = "/_apis/artifactcache/";

/// What BuildKit gives as the version of all its entries.
fn version() -> String {
    let digest = Digest::sha256(b"|go-actionscache-1.0").to_string();
    digest.trim_start_matches("sha256:").to_owned()
}

fn escaped(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// Which protocol of the Actions cache a build is told to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Api {
    /// GitHub Enterprise Server, act.
    V1,
    /// github.com.
    V2,
}

/// An entry as the REST API shows it.
#[derive(Clone, Debug, serde::Deserialize)]
pub struct Entry {
    id: i64,
    /// The full key.
    pub key: String,
    version: String,
    /// The size.
    pub size_in_bytes: u64,
}

impl Entry {
    /// The id by which it is deleted.
    pub fn id(&self) -> i64 {
        self.id
    }
}

/// Where the service of a lab keeps its things.
pub fn data_dir(lab: &Lab) -> PathBuf {
    lab.path("cache")
}

/// Waits until a service says where it listens: with which scheme, and the address.
pub fn listening(process: &mut Process) -> (String, SocketAddr) {
    process.until("it says where it listens", SOON, |log| {
        let mut lines = log.lines();
        let line = lines.find_map(|line| line.strip_prefix("listening on "))?;
        let (scheme, address) = line.split_once("://")?;
        Some((scheme.to_owned(), address.parse().ok()?))
    })
}

impl Api {
    /// The attributes that make a cache speak it, at this URL.
    pub fn attributes(self, url: &str) -> String {
        match self {
            Self::V1 => format!("url={url},version=1"),
            Self::V2 => format!("url_v2={url},version=2"),
        }
    }
}

/// A running Actions cache service.
pub struct Service {
    /// The process that listens.
    pub process: Process,
    address: SocketAddr,
}

impl Service {
    /// What tokens of the service are for unless another repository is asked for.
    pub const REPOSITORY: &str = "local/cache";

    /// Starts the service and waits until it answers.
    pub fn start(lab: &Arc<Lab>) -> Self {
        Self::start_with(lab, |_| ())
    }

    /// As [`Service::start`], with more settings.
    pub fn start_with(lab: &Arc<Lab>, edit: impl FnOnce(&mut Command)) -> Self {
        let mut serve = command(lab, PROGRAM);
        edit(&mut serve);
        serve.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]);
        serve.arg(data_dir(lab));
        let mut process = Process::start(lab, "serve", serve);
        let (scheme, address) = listening(&mut process);
        // Over TLS its clients are those that are tested.
        if scheme == "http" {
            process.until("/healthz answers", SOON, |_| {
                Http::new(address).text("/healthz")
            });
        }
        Self { process, address }
    }

    /// Where it listens, as a URL that ends with a slash, as the runner's variables do.
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    fn http(&self) -> Http {
        Http::new(self.address)
    }

    /// Mints a token for scopes like `refs/heads/main=rw`.
    pub fn token(&self, scopes: &[&str]) -> String {
        self.token_of(Self::REPOSITORY, scopes)
    }

    /// Mints a token for scopes of a repository. Repositories see nothing of one another.
    pub fn token_of(&self, repository: &str, scopes: &[&str]) -> String {
        let lab = self.process.lab();
        let mut mint = command(lab, PROGRAM);
        mint.arg("token").arg("--data-dir").arg(data_dir(lab));
        mint.args(["--repository", repository]);
        for scope in scopes {
            mint.args(["--scope", scope]);
        }
        run(lab, "token", mint, SOON).ok("token").trim().to_owned()
    }

    /// The keys of all entries that begin with this, at most a hundred.
    pub fn keys(&self, token: &str, prefix: &str) -> Vec<String> {
        let entries = self.entries(token, prefix);
        entries.into_iter().map(|entry| entry.key).collect()
    }

    /// All entries whose keys begin with this, at most a hundred.
    pub fn entries(&self, token: &str, prefix: &str) -> Vec<Entry> {
        #[derive(serde::Deserialize)]
        struct List {
            actions_caches: Vec<Entry>,
        }
        let repository = Self::REPOSITORY;
        // A `#` would end the query.
        let prefix = utf8_percent_encode(prefix, NON_ALPHANUMERIC);
        let path = format!("/repos/{repository}/actions/caches?key={prefix}&per_page=100");
        let list = self
            .http()
            .token(token)
            .text(&path)
            .expect("the service lists");
        let list: List = serde_json::from_str(&list).expect("a list in JSON");
        list.actions_caches
    }

    /// Evicts an entry.
    pub fn delete(&self, token: &str, entry: &Entry) {
        let path = format!("/repos/{}/actions/caches/{}", Self::REPOSITORY, entry.id);
        let answer = self.http().token(token).send("DELETE", &path, b"");
        assert_eq!(answer.expect("an answer").status, 204);
    }

    /// Reserves a key and leaves it at that.
    pub fn abandon(&self, token: &str, entry: &Entry) {
        let http = self.http().token(token);
        let http = http.header("Content-Type", "application/json");
        let body = serde_json::json!({ "key": entry.key, "version": entry.version }).to_string();
        let path = format!("{V1}caches");
        let answer = http.send("POST", &path, body.as_bytes());
        assert_eq!(answer.expect("an answer").status, 201);
    }

    /// Changes one byte of an entry where it is stored.
    pub fn damage(&self, entry: &Entry) {
        let file = self.file(entry);
        let mut bytes = fs::read(&file).expect("read an entry");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(file, bytes).expect("root may write");
    }

    /// Makes an entry as large as this where it is stored, as `truncate -s` does.
    pub fn resize(&self, entry: &Entry, bytes: u64) {
        let file = fs::File::options().write(true).open(self.file(entry));
        let resized = file.and_then(|file| file.set_len(bytes));
        resized.expect("root may write");
    }

    /// Where an entry is stored: the one file of its size.
    fn file(&self, entry: &Entry) -> PathBuf {
        let files = files(&data_dir(self.process.lab()));
        let size = |file: &PathBuf| fs::metadata(file).expect("a file").len();
        let mut same = files
            .iter()
            .filter(|file| size(file) == entry.size_in_bytes);
        let (file, None) = (same.next().expect("the entry is stored"), same.next()) else {
            panic!("two files have {} bytes", entry.size_in_bytes)
        };
        file.clone()
    }

    /// Makes all entries so much older, and their last access as well.
    pub fn make_older(&self, time: Duration) {
        let path = data_dir(self.process.lab()).join("entries.db");
        let database = rusqlite::Connection::open(path).expect("the service's database");
        database.busy_timeout(SOON).expect("a setting");
        let millis = i64::try_from(time.as_millis()).expect("not that long");
        let older =
            "UPDATE entries SET accessed_at = accessed_at - ?1, created_at = created_at - ?1";
        let changed = database.execute(older, [millis]).expect("an update");
        assert!(changed > 0, "there are no entries");
    }

    /// The content of the entry with this key, read as a client of v1 does.
    pub fn read(&self, token: &str, key: &str) -> Vec<u8> {
        let http = self.http().token(token);
        let found = http.text(&format!(
            "{V1}cache?keys={}&version={}",
            escaped(key),
            version()
        ));
        let found: serde_json::Value =
            serde_json::from_str(&found.expect("a hit")).expect("a hit in JSON");
        assert_eq!(found["cacheKey"], key);
        let url = found["archiveLocation"].as_str().expect("a URL");
        let path = url.strip_prefix(self.url().trim_end_matches('/'));
        let answer = http.send("GET", path.expect("a URL of the service"), b"");
        answer.expect("the content").body
    }

    /// Makes an entry, as a client of v1 does.
    pub fn save(&self, token: &str, key: &str, content: &[u8]) {
        let http = self.http().token(token);
        let send = |http: &Http, method: &str, path: &str, body: &[u8]| {
            let answer = http.send(method, &format!("{V1}{path}"), body);
            let answer = answer.expect("an answer");
            assert!((200..300).contains(&answer.status), "{path}: {answer:?}");
            answer
        };
        let entry = serde_json::json!({"key": key, "version": version()}).to_string();
        let id = &send(&http, "POST", "caches", entry.as_bytes()).json()["cacheId"];
        let upload = format!("caches/{id}");
        let range = format!("bytes 0-{}/*", content.len() - 1);
        let part = http.clone().header("Content-Range", &range);
        send(&part, "PATCH", &upload, content);
        let size = serde_json::json!({"size": content.len()}).to_string();
        send(&http, "POST", &upload, size.as_bytes());
    }

    /// The signed URL of an entry, as version 1 answers it.
    pub fn signed_url(&self, token: &str, prefix: &str) -> String {
        let path = format!("{V1}cache?keys={}&version={}", escaped(prefix), version());
        let found = self.http().token(token).text(&path);
        found.expect("the service finds the entry")
    }

    /// How much content it has sent so far.
    pub fn sent_bytes(&self) -> u64 {
        let text = self.http().text("/metrics").expect("the service answers");
        let mut lines = text.lines();
        lines
            .find_map(|line| line.strip_prefix("buildkit_gha_service_sent_bytes_total "))
            .and_then(|value| value.parse().ok())
            .expect("the counter is there")
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).expect("read a directory");
    let paths = entries.map(|entry| entry.expect("read a directory").path());
    paths
        .flat_map(|path| {
            if path.is_dir() {
                files(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}
