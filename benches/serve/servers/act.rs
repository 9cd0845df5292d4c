//! act's cache server, alone.

use super::{Peers, START};
use crate::{
    harness::{Lab, Process, command},
    protocol::Protocol,
    server::{Address, Server},
};

/// One process, bbolt and files. It speaks v1, and its token is in its paths.
pub fn embedded(peers: &Peers) -> Server {
    let lab = Lab::new();
    let mut act = command(&lab, peers.dir.join("act"));
    act.arg(lab.path("content"));
    let mut process = Process::start(&lab, "act", act);
    let (socket, token) = process.until("it says where it is", START, |log| {
        let url = log.lines().find_map(|line| line.strip_prefix("http://"))?;
        let (socket, token) = url.split_once('/')?;
        Some((socket.parse().ok()?, token.to_owned()))
    });
    let address = Address {
        socket,
        protocol: Protocol::V1(format!("/{token}/_apis/artifactcache/")),
        token,
    };
    Server::new("act", address, vec![process]).with(lab)
}
