//! Where other replicas reach this process.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
};

use super::{api_error::ApiError, instance::Service};

/// Never a host (RFC 5737): the system only says from which address it would be asked.
const ELSEWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 9);

impl Service {
    /// Tells other replicas where this one listens. One that is alone tells nobody.
    pub(super) async fn announce(&self, local: SocketAddr) -> Result<(), ApiError> {
        if !self.entries().is_shared() {
            return Ok(());
        }
        let address = match &self.config().advertise {
            Some(url) => url.to_string(),
            None => format!("{}://{}/", self.scheme(), reached_at(local)?),
        };
        tracing::info!(address, "other replicas reach this one here (--advertise)");
        self.run(async move |entries| entries.announce(address).await)
            .await
    }
}

/// The address of a socket, as others would write it.
fn reached_at(local: SocketAddr) -> io::Result<SocketAddr> {
    if !local.ip().is_unspecified() {
        return Ok(local);
    }
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    let ip = match socket.connect(ELSEWHERE) {
        Ok(()) => socket.local_addr()?.ip(),
        // There is no other network.
        Err(_) => Ipv4Addr::LOCALHOST.into(),
    };
    Ok(SocketAddr::new(ip, local.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_listens_everywhere_is_reached_somewhere() {
        let somewhere = reached_at(([0, 0, 0, 0], 3000).into()).unwrap();
        assert!(!somewhere.ip().is_unspecified());
        assert_eq!(somewhere.port(), 3000);
        let there = ([10, 0, 0, 7], 3000).into();
        assert_eq!(reached_at(there).unwrap(), there);
    }
}
