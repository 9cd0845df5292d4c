//! A server that is measured, and how it is reached.

use std::net::SocketAddr;

use crate::{harness::Process, protocol::Protocol, vitals::Watch};

/// How clients reach a server.
#[derive(Clone, Debug)]
pub struct Address {
    pub socket: SocketAddr,
    pub protocol: Protocol,
    pub token: String,
}

/// A running one.
pub struct Server {
    /// What tables call it.
    pub name: String,
    pub address: Address,
    /// Its processes, without engines and load balancers.
    processes: Vec<Process>,
    /// What must stay as long as it runs.
    needs: Vec<Box<dyn Send>>,
}

impl Server {
    pub fn new(name: &str, address: Address, processes: Vec<Process>) -> Self {
        Self {
            name: name.to_owned(),
            address,
            processes,
            needs: Vec::new(),
        }
    }

    /// The same with something that must stay as long as it runs.
    pub fn with(mut self, needed: impl Send + 'static) -> Self {
        self.needs.push(Box::new(needed));
        self
    }

    /// Watches its processes from now on.
    pub fn watch(&self) -> Watch {
        Watch::begin_with_children(&self.processes)
    }
}
