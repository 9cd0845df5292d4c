//! The PROXY protocol: a header ends where it says, and less of it is none.

use buildkit_gha::net::proxy_protocol::read_header;
use futures_util::FutureExt as _;

/// The first bytes of a connection.
pub fn body(data: &[u8]) {
    let Some((client, rest)) = read(data) else {
        return;
    };
    let header = &data[..data.len() - rest.len()];
    assert!(header.len() <= 16 + (4 << 10), "it is bounded");
    assert_eq!(
        read(header),
        Some((client, &[][..])),
        "what follows changes nothing"
    );
    assert_eq!(
        read(&header[..header.len() - 1]),
        None,
        "all of it is needed"
    );
}

fn read(mut data: &[u8]) -> Option<(Option<std::net::SocketAddr>, &[u8])> {
    let client = read_header(&mut data).now_or_never();
    let client = client.expect("bytes in memory are there").ok()?;
    Some((client, data))
}
