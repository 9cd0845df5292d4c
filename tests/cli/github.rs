//! GitHub's REST API for caches, as far as commands need it: pages, deletions, refusals.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use buildkit_gha::protocol::key;
use serde_json::{Value, json};

/// The repository of the tests.
pub const REPOSITORY: &str = "owner/repo";

/// What the service has and how it behaves.
#[derive(Default)]
pub struct State {
    pub rows: Vec<Value>,
    /// Requests so far: method, path and query.
    pub requests: Vec<String>,
    /// So many requests are answered with 429.
    pub throttle: usize,
    /// Deletions are refused.
    pub read_only: bool,
    /// When this page is asked for, the oldest entry has just been evicted.
    pub evict_before_page: Option<usize>,
}

/// The service; it lives as long as the test process.
pub struct GitHub {
    address: SocketAddr,
    pub state: Arc<Mutex<State>>,
}

/// An entry, so many hours old.
pub fn row(id: i64, key: &str, git_ref: &str, hours: i64) -> Value {
    let at = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(hours);
    json!({
        "id": id,
        "ref": git_ref,
        "key": key,
        "version": key::version(),
        "last_accessed_at": at.to_string(),
        "created_at": at.to_string(),
        "size_in_bytes": 1000,
    })
}

impl GitHub {
    pub fn start(state: State) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let state = Arc::clone(&shared);
                thread::spawn(move || serve(stream.unwrap(), &state));
            }
        });
        Self { address, state }
    }

    /// The variables of a job that uses it.
    pub fn env(&self) -> Vec<(String, String)> {
        let url = format!("http://{}/api/v3", self.address);
        [
            ("GITHUB_TOKEN", "t"),
            ("GITHUB_REPOSITORY", REPOSITORY),
            ("GITHUB_API_URL", &url),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }

    /// The ids that are left, in order.
    pub fn ids(&self) -> Vec<i64> {
        let state = self.state.lock().unwrap();
        let ids = state.rows.iter().map(|row| row["id"].as_i64().unwrap());
        ids.collect()
    }

    /// How many requests were made with this method.
    pub fn count(&self, method: &str) -> usize {
        let state = self.state.lock().unwrap();
        let requests = state.requests.iter();
        requests.filter(|line| line.starts_with(method)).count()
    }
}

fn serve(stream: TcpStream, state: &Mutex<State>) {
    let mut writer = stream.try_clone().unwrap();
    let mut lines = BufReader::new(stream).lines();
    // The client closes the connection when it has enough.
    while let Some(Ok(request)) = lines.next() {
        let mut authorized = false;
        for line in lines.by_ref() {
            let Ok(line) = line else { return };
            authorized |= line.eq_ignore_ascii_case("authorization: Bearer t");
            if line.is_empty() {
                break;
            }
        }
        assert!(authorized, "{request}");
        let (status, extra, body) = answer(&request, &mut state.lock().unwrap());
        let length = body.len();
        let head = format!("HTTP/1.1 {status} x\r\ncontent-length: {length}\r\n{extra}\r\n");
        if writer.write_all((head + &body).as_bytes()).is_err() {
            return;
        }
    }
}

fn answer(request: &str, state: &mut State) -> (u16, &'static str, String) {
    let mut words = request.split(' ');
    let (method, target) = (words.next().unwrap(), words.next().unwrap());
    state.requests.push(format!("{method} {target}"));
    if state.throttle > 0 {
        state.throttle -= 1;
        let message = json!({"message": "You have exceeded a secondary rate limit"});
        return (429, "retry-after: 1\r\n", message.to_string());
    }
    let url = url::Url::parse(&format!("http://x{target}")).unwrap();
    let caches = format!("/api/v3/repos/{REPOSITORY}/actions/caches");
    let rest = url.path().strip_prefix(&caches).unwrap().to_owned();
    if method == "DELETE" {
        if state.read_only {
            let message = json!({"message": "Resource not accessible by integration"});
            return (403, "", message.to_string());
        }
        let id: i64 = rest.trim_start_matches('/').parse().unwrap();
        state.rows.retain(|row| row["id"] != id);
        return (204, "", String::new());
    }
    let query = |name: &str| {
        let mut pairs = url.query_pairs();
        pairs
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    };
    let page: usize = query("page").unwrap().parse().unwrap();
    if state.evict_before_page == Some(page) {
        state.evict_before_page = None;
        state.rows.remove(0);
    }
    let prefix = query("key").unwrap();
    let matching = |row: &&Value| row["key"].as_str().unwrap().starts_with(&prefix);
    let rows: Vec<_> = state.rows.iter().filter(matching).collect();
    let shown: Vec<_> = rows.iter().skip((page - 1) * 100).take(100).collect();
    let list = json!({"total_count": rows.len(), "actions_caches": shown});
    (200, "content-type: application/json\r\n", list.to_string())
}
