//! A load balancer in front of programs: haproxy, which ends with the test.

use std::{
    fs::File,
    net::{SocketAddr, TcpListener},
    os::fd::OwnedFd,
    path::Path,
    process::{Child, Command, Stdio},
};

/// Calls go round; one whose replica takes no connection goes to the next.
const SETTINGS: &str = "    timeout connect 2s
    timeout client 1m
    timeout server 1m
    retries 3
    option redispatch 1
frontend clients
    bind fd@3
    default_backend replicas
backend replicas
    balance roundrobin
";

/// Gives haproxy the socket that it takes connections from: it cannot tell which port it was given. Debian keeps it off
/// the path of users.
const SCRIPT: &str = "PATH=$PATH:/usr/sbin exec haproxy -db -f \"$1\" 3<&0 0</dev/null";

/// A running one.
pub struct Balancer {
    child: Child,
    /// Where it listens.
    pub url: String,
}

impl Balancer {
    /// Starts one for programs at `addresses`; its files are in `dir`.
    pub fn start(dir: &Path, addresses: &[SocketAddr]) -> Self {
        Self::start_in_mode("http", "", dir, addresses)
    }

    /// One that passes connections on as they are, but for what `option` of the servers makes of them.
    pub fn of_connections(option: &str, dir: &Path, addresses: &[SocketAddr]) -> Self {
        Self::start_in_mode("tcp", option, dir, addresses)
    }

    fn start_in_mode(mode: &str, option: &str, dir: &Path, addresses: &[SocketAddr]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let replica =
            |(at, address): (usize, &SocketAddr)| format!("    server r{at} {address} {option}\n");
        let replicas: String = addresses.iter().enumerate().map(replica).collect();
        let config = dir.join("haproxy.cfg");
        let text = format!("defaults\n    mode {mode}\n{SETTINGS}{replicas}");
        std::fs::write(&config, text).unwrap();
        let child = Command::new("sh")
            .args(["-c", SCRIPT, "sh"])
            .arg(&config)
            .stdin(Stdio::from(OwnedFd::from(listener)))
            .stdout(Stdio::null())
            .stderr(File::create(dir.join("haproxy.log")).unwrap())
            .spawn()
            .unwrap();
        Self { child, url }
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}
