//! Holds a step of a build until the test lets it pass: the step asks for a page.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
};

/// Where steps wait. They have the network of the host.
pub struct Gate(TcpListener);

/// A step that waits.
pub struct Waiting(TcpStream);

impl Gate {
    /// A gate that is closed.
    pub fn new() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        listener.set_nonblocking(true).expect("a socket");
        Self(listener)
    }

    /// What the step asks: `wget http://<address>/`.
    pub fn address(&self) -> SocketAddr {
        self.0.local_addr().expect("an address")
    }

    /// The next step that waits, if one has come.
    pub fn arrived(&self) -> Option<Waiting> {
        let (stream, _) = self.0.accept().ok()?;
        stream.set_nonblocking(false).expect("a socket");
        Some(Waiting(stream))
    }
}

impl Waiting {
    /// Lets the step go on.
    pub fn pass(mut self) {
        // The request is read first: what is unread when a socket is closed resets it.
        let mut request = [0; 4096];
        let read = self.0.read(&mut request).expect("a request");
        assert!(read > 0, "the step has left");
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n";
        self.0.write_all(answer).expect("the step waits");
    }
}
