//! The admin socket of a gateway, asked as its operator asks, and with plain HTTP.

use std::{
    io::{self, Read as _, Write as _},
    os::unix::net::UnixStream,
};

use super::{
    Answer, Daemon, SOON,
    daemon::ADMIN_VARIABLE,
    process::{Finished, command, run},
    service::PROGRAM,
};

impl Daemon {
    /// Runs a command of ours that asks this gateway, to its end.
    pub fn ask(&self, words: &[&str]) -> Finished {
        let lab = self.lab();
        let mut ask = command(lab, PROGRAM);
        ask.env(ADMIN_VARIABLE, self.admin_socket()).args(words);
        run(lab, words[0], ask, SOON)
    }

    /// What `stats -o json` says.
    pub fn stats(&self) -> serde_json::Value {
        let text = self.ask(&["stats", "-o", "json"]).ok("stats");
        serde_json::from_str(&text).expect("a document in JSON")
    }

    /// Asks the admin socket itself.
    pub fn admin(&self, method: &str, path: &str) -> io::Result<Answer> {
        let mut stream = UnixStream::connect(self.admin_socket())?;
        stream.set_read_timeout(Some(SOON))?;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        )?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes)?;
        Answer::parse(bytes).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}
