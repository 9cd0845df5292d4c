//! A cache service that refuses everything late and repeats what it was asked, secrets and all:
//! what a careless proxy or an error page does.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

/// The service. Its threads end with the test process.
pub struct Repeater {
    address: SocketAddr,
    heard: Arc<Mutex<String>>,
}

impl Repeater {
    /// The signature in all its URLs.
    pub const SIGNATURE: &str = "c2lnbmF0dXJlLW9mLXRoZS1yZXBlYXRlcg";

    /// Starts to listen.
    pub fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let heard = Arc::<Mutex<String>>::default();
        let all = Arc::clone(&heard);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let all = Arc::clone(&all);
                thread::spawn(move || serve(stream, address, &all));
            }
        });
        Self { address, heard }
    }

    /// Where it listens, with a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// All that it has been asked.
    pub fn heard(&self) -> String {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.clone()
    }
}

/// One request and its answer. What breaks off was the client's decision.
fn serve(stream: TcpStream, address: SocketAddr, asked: &Mutex<String>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    asked
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push_str(&head);
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let length = name.eq_ignore_ascii_case("content-length");
        length.then(|| value.trim().parse().ok()).flatten()
    });
    let mut body = Vec::new();
    let mut sent = reader.by_ref().take(length.unwrap_or(0));
    sent.read_to_end(&mut body).ok()?;
    let (status, answer) = answer(&head, &String::from_utf8_lossy(&body), address);
    let mut stream = reader.into_inner();
    let length = answer.len();
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(answer.as_bytes()).ok()
}

/// Reservations and lookups succeed, so that signed URLs are handed out; the rest fails.
fn answer(head: &str, body: &str, address: SocketAddr) -> (&'static str, String) {
    let line = head.lines().next().unwrap_or_default();
    let key = |text: &str| {
        serde_json::from_str::<serde_json::Value>(text).ok()?["key"]
            .as_str()
            .map(str::to_owned)
    };
    let url = format!("http://{address}/blob?sig={}", Repeater::SIGNATURE);
    let answer = if line.contains("GetCacheEntryDownloadURL") {
        // A key that ends with `#` is a prefix of numbered ones.
        let found = key(body).unwrap_or_default().replace('#', "#1");
        serde_json::json!({"ok": true, "signed_download_url": url, "matched_key": found})
    } else if line.contains("CreateCacheEntry") {
        serde_json::json!({"ok": true, "signed_upload_url": url})
    } else if line.starts_with("POST") && line.contains("/caches ") {
        serde_json::json!({"cacheId": 1})
    } else if line.contains("/cache?") {
        let found = line.split(['=', '&']).nth(1).unwrap_or_default();
        let found = found.replace("%23", "#1").replace("%3A", ":");
        serde_json::json!({"cacheKey": found, "archiveLocation": url})
    } else {
        let said = format!("cannot do {head} {body}");
        let answer = serde_json::json!({"code": "malformed", "msg": said, "message": said});
        return ("400 Bad Request", answer.to_string());
    };
    ("200 OK", answer.to_string())
}
