//! A registry that serves one image layout, to be read only, and counts what it sends of blobs.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use serde_json::Value;

/// The registry. Its threads end with the test process.
pub struct Registry {
    address: SocketAddr,
    sent: Arc<AtomicU64>,
}

impl Registry {
    /// Serves the layout in this directory, as a `local` cache export leaves it.
    pub fn from_layout(layout: &Path) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let sent = Arc::<AtomicU64>::default();
        let (layout, counter) = (layout.to_owned(), Arc::clone(&sent));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (layout, counter) = (layout.clone(), Arc::clone(&counter));
                thread::spawn(move || serve(stream, &layout, &counter));
            }
        });
        Self { address, sent }
    }

    /// The name of its only image.
    pub fn image(&self) -> String {
        format!("{}/image:latest", self.address)
    }

    /// How many bytes of blobs it has sent: layers, and the config.
    pub fn sent_bytes(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

/// One request and its answer. What breaks off was the client's decision.
fn serve(stream: TcpStream, layout: &Path, sent: &AtomicU64) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let mut words = head.split(' ');
    let (method, path) = (words.next()?, words.next()?);
    let mut stream = reader.into_inner();
    let Some((kind, digest, content)) = find(layout, path) else {
        let answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        return stream.write_all(answer).ok();
    };
    let length = content.len();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nDocker-Content-Digest: {digest}\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).ok()?;
    if method != "GET" {
        return None;
    }
    if path.contains("/blobs/") {
        sent.fetch_add(length as u64, Ordering::Relaxed);
    }
    stream.write_all(&content).ok()
}

/// The media type, the digest and the bytes of what a path names.
fn find(layout: &Path, path: &str) -> Option<(String, String, Vec<u8>)> {
    let path = path.strip_prefix("/v2/")?.split('?').next()?;
    if path.is_empty() {
        return Some(("application/json".into(), String::new(), b"{}".to_vec()));
    }
    let (place, name) = path.rsplit_once('/')?;
    let digest = if name.starts_with("sha256:") {
        name.to_owned()
    } else {
        let index: Value =
            serde_json::from_slice(&fs::read(layout.join("index.json")).ok()?).ok()?;
        index["manifests"][0]["digest"].as_str()?.to_owned()
    };
    let content = fs::read(blob(layout, &digest)).ok()?;
    let kind = if place.ends_with("/manifests") {
        let manifest: Value = serde_json::from_slice(&content).ok()?;
        manifest["mediaType"].as_str()?.to_owned()
    } else {
        "application/octet-stream".to_owned()
    };
    Some((kind, digest, content))
}

fn blob(layout: &Path, digest: &str) -> PathBuf {
    layout.join("blobs").join(digest.replace(':', "/"))
}
