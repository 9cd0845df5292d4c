//! HTTP without any library, so that the tests share no code with what they test.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use super::SOON;

/// A client of one address. Each request has a connection of its own.
#[derive(Clone)]
pub struct Http {
    address: SocketAddr,
    headers: String,
    timeout: Duration,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// The status; 2xx is good.
    pub status: u16,
    /// All after the status line, up to the body.
    head: String,
    /// The body, as far as it came.
    pub body: Vec<u8>,
}

impl Http {
    /// Without a token.
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            headers: String::new(),
            timeout: SOON,
        }
    }

    /// With this token.
    pub fn token(self, token: &str) -> Self {
        self.header("Authorization", &format!("Bearer {token}"))
    }

    /// With one more header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.extend([name, ": ", value, "\r\n"]);
        self
    }

    /// How long one read may take.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The body of a good answer to a GET.
    pub fn text(&self, path: &str) -> Option<String> {
        let answer = self.send("GET", path, b"").ok()?;
        let body = String::from_utf8(answer.body).ok()?;
        (answer.status == 200).then_some(body)
    }

    /// Sends a request and reads the answer to the end of the connection. An error is what the
    /// connection had, even if something had come before.
    pub fn send(&self, method: &str, path: &str, body: &[u8]) -> io::Result<Answer> {
        let mut stream = TcpStream::connect_timeout(&self.address, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(self.timeout))?;
        stream.set_write_timeout(Some(self.timeout))?;
        let (address, headers, length) = (self.address, &self.headers, body.len());
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
             Content-Length: {length}\r\n{headers}\r\n"
        )?;
        stream.write_all(body)?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes)?;
        Answer::parse(bytes).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

impl Answer {
    pub(super) fn parse(mut bytes: Vec<u8>) -> Option<Self> {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
        let body = bytes.split_off(end + 4);
        let head = String::from_utf8(bytes).ok()?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some(Self { status, head, body })
    }

    /// A header by its name in small letters.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let found = lines.find(|(found, _)| found.eq_ignore_ascii_case(name))?;
        Some(found.1)
    }

    /// Whether as much came as the head says.
    pub fn is_whole(&self) -> bool {
        let length = self.header("content-length");
        length.is_none_or(|length| length.parse() == Ok(self.body.len()))
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("a body in JSON")
    }
}
