//! What is really in the cache, read from the service without any code of the program's.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::harness::{Answer, Http, Service};

/// The scope of all tokens of the matrix.
pub const SCOPE: &str = "refs/heads/main";

/// What stands in the place of an older index: one without layers.
const OLDER: &[u8] = b"{}";

/// One repository of the service.
pub struct Remote {
    http: Http,
    version: String,
    index: String,
}

/// The newest index, as it was found.
pub struct Index {
    /// The number in its key.
    pub number: u64,
    /// The digests of the layers that it names.
    pub layers: Vec<String>,
}

impl Remote {
    /// The repository that the token is for. `scope` is the attribute of the cache.
    pub fn new(service: &Service, token: &str, scope: &str) -> Self {
        let hash = &sha256(SCOPE.as_bytes())[..8];
        Self {
            http: Http::new(service.address()).token(token),
            version: sha256(b"|go-actionscache-1.0"),
            index: format!("index-{scope}-1-{hash}#"),
        }
    }

    /// Writes an index with the number 1.
    pub fn put_older_index(&self) {
        let key = format!("{}1", self.index);
        let body = json!({ "key": key, "version": self.version });
        let id = &self.post("caches", &body).json()["cacheId"];
        let path = format!("/_apis/artifactcache/caches/{id}");
        let last = OLDER.len() - 1;
        let range = format!("bytes 0-{last}/*");
        let part = self.http.clone().header("Content-Range", &range);
        part.send("PATCH", &path, OLDER).expect("an answer");
        let done = self.post(&format!("caches/{id}"), &json!({ "size": OLDER.len() }));
        assert_eq!(done.status, 204, "the older index is written");
    }

    /// The newest index.
    pub fn index(&self) -> Option<Index> {
        let (key, content) = self.entry(&self.index)?;
        let content: Value = serde_json::from_slice(&content).expect("an index is JSON");
        let layers = content["layers"].as_array().cloned().unwrap_or_default();
        let blob = |layer: &Value| layer["blob"].as_str().expect("a digest").to_owned();
        Some(Index {
            number: key.strip_prefix(&self.index)?.parse().ok()?,
            layers: layers.iter().map(blob).collect(),
        })
    }

    /// Why the cache is not what the index says of it, blob by blob.
    pub fn lies(&self, index: &Index) -> Vec<String> {
        let named = index.layers.iter();
        let lie = |digest: &String| {
            let key = format!("buildkit-blob-1-{digest}");
            match self.entry(&key) {
                Some((found, content)) => {
                    let right = found.starts_with(&key)
                        && *digest == format!("sha256:{}", sha256(&content));
                    (!right).then(|| format!("{digest} is not what its name says"))
                }
                None => Some(format!("{digest} is not there")),
            }
        };
        named.filter_map(lie).collect()
    }

    /// The newest entry whose key begins so.
    fn entry(&self, key: &str) -> Option<(String, Vec<u8>)> {
        let keys = key.replace('#', "%23").replace(':', "%3A");
        let path = format!(
            "/_apis/artifactcache/cache?keys={keys}&version={}",
            self.version
        );
        let found = self.http.send("GET", &path, b"").expect("an answer");
        if found.status != 200 {
            return None;
        }
        let found = found.json();
        let url = found["archiveLocation"].as_str().expect("a URL");
        let path = url.splitn(4, '/').nth(3).expect("a path");
        let content = self.http.send("GET", &format!("/{path}"), b"");
        let content = content.expect("the content");
        assert!(
            content.status == 200 && content.is_whole(),
            "the service serves"
        );
        Some((found["cacheKey"].as_str()?.to_owned(), content.body))
    }

    fn post(&self, path: &str, body: &Value) -> Answer {
        let http = self.http.clone().header("Content-Type", "application/json");
        let path = format!("/_apis/artifactcache/{path}");
        let answer = http.send("POST", &path, body.to_string().as_bytes());
        answer.expect("an answer")
    }
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}
