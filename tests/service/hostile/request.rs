//! A request that need not be one.

use rand::{RngExt as _, rngs::StdRng};

use super::pick;

/// A request before it is bytes.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: Vec<u8>,
    pub path: Vec<u8>,
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
    pub body: Vec<u8>,
    /// Said of the body in place of the truth.
    pub length: Option<String>,
}

impl Request {
    pub fn new(method: &str, path: impl Into<Vec<u8>>) -> Self {
        Self {
            method: method.into(),
            path: path.into(),
            headers: Vec::new(),
            body: Vec::new(),
            length: None,
        }
    }

    pub fn header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    pub fn json(self, body: impl Into<Vec<u8>>) -> Self {
        self.header("content-type", "application/json").body(body)
    }

    pub fn length(mut self, length: &str) -> Self {
        self.length = Some(length.to_owned());
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = [&self.method[..], b" ", &self.path, b" HTTP/1.1\r\n"].concat();
        for (name, value) in &self.headers {
            bytes.extend([&name[..], b": ", value, b"\r\n"].concat());
        }
        let length = self.length.clone();
        let length = length.unwrap_or_else(|| format!("content-length: {}\r\n", self.body.len()));
        let rest = format!("host: x\r\nconnection: close\r\n{length}\r\n");
        bytes.extend(rest.as_bytes());
        bytes.extend(&self.body);
        bytes
    }
}

/// What is not even HTTP, or HTTP that nobody answers.
pub fn bad_http(rng: &mut StdRng) -> Request {
    let get = Request::new("GET", "/_apis/artifactcache/cache");
    match rng.random_range(0..5) {
        0 => {
            let methods = [
                "PUT",
                "TRACE",
                "PROPFIND",
                "get",
                "G\0T",
                "",
                "G(T",
                &"X".repeat(5000),
            ];
            Request::new(pick(rng, &methods), "/healthz")
        }
        1 => {
            let paths = [
                "/",
                "//",
                "/..",
                "/%2e%2e/secret",
                "*",
                "http://x/",
                "/blobs/../secret",
                "healthz",
                "/_apis/artifactcache/caches/",
                &"/a".repeat(40_000),
                "/\u{7f}",
                "/a b",
            ];
            Request::new("GET", pick(rng, &paths))
        }
        2 => get.header("x", vec![b'x'; 100_000]),
        3 => (0..200).fold(get, |get, n| get.header(&format!("x-{n}"), "x")),
        _ => {
            let names = ["", " ", "a b", "a\0", "a:", "é"];
            get.header(pick(rng, &names), "x")
        }
    }
}
