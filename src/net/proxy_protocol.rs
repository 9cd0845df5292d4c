//! The PROXY protocol, versions 1 and 2: the first bytes of a connection say for whom a proxy has made it.
//!
//! Written from the protocol's specification (haproxy 2.6, `doc/proxy-protocol.txt`). A header is read to its last byte
//! and no farther: what follows belongs to TLS or HTTP.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    time::timeout,
};

/// How long a proxy may take for its header, which it sends as soon as it is connected.
const HEADER_TIME: Duration = Duration::from_secs(5);

/// What version 2 begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// What version 1 begins with.
const PREFIX: &[u8; 6] = b"PROXY ";

/// Longest header of version 1, with its line end.
const MAX_LINE: usize = 107;

/// Longest rest of a version 2: addresses take 216 bytes at most, and all that haproxy and AWS add of certificates and
/// endpoints has some hundred.
const MAX_REST: u16 = 4 << 10;

/// Whom a connection is for: a client's address, or nobody but the proxy itself, which looks whether the service is
/// alive.
pub type Client = Option<SocketAddr>;

/// Why the first bytes are no header.
#[derive(Debug, thiserror::Error)]
pub enum ProxyProtocolError {
    /// It was closed before the first byte, as checks of balancers do.
    #[error("it was closed without a byte")]
    Empty,
    /// They are something else.
    #[error("it does not begin with a PROXY header (send-proxy, send-proxy-v2)")]
    Missing,
    /// They begin like one and go on otherwise.
    #[error("its PROXY header makes no sense: {0}")]
    Malformed(&'static str),
    /// They did not come.
    #[error("its PROXY header did not come within {} s", HEADER_TIME.as_secs())]
    TooSlow,
    /// The connection broke.
    #[error(transparent)]
    Io(#[from] io::Error),
}

use ProxyProtocolError as Error;

/// Reads the header of a connection from a proxy that sends one, within 5 s.
pub async fn read_client(stream: &mut (impl AsyncRead + Unpin)) -> Result<Client, Error> {
    timeout(HEADER_TIME, read_header(stream))
        .await
        .map_err(|_| Error::TooSlow)?
}

/// The same, however long it takes.
pub async fn read_header(stream: &mut (impl AsyncRead + Unpin)) -> Result<Client, Error> {
    let first = match stream.read_u8().await {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(Error::Empty),
        first => first?,
    };
    if first == SIGNATURE[0] {
        read_rest_of(stream, SIGNATURE).await?;
        read_v2(stream).await
    } else if first == PREFIX[0] {
        read_rest_of(stream, PREFIX).await?;
        read_v1(stream).await
    } else {
        Err(Error::Missing)
    }
}

/// Reads what must follow the first byte of `expected`.
async fn read_rest_of<const N: usize>(
    stream: &mut (impl AsyncRead + Unpin),
    expected: &[u8; N],
) -> Result<(), Error> {
    let mut rest = [0; N];
    stream.read_exact(&mut rest[1..]).await?;
    if rest[1..] == expected[1..] {
        Ok(())
    } else {
        Err(Error::Missing)
    }
}

/// One byte after another: where the line ends is known at its end only.
async fn read_v1(stream: &mut (impl AsyncRead + Unpin)) -> Result<Client, Error> {
    let mut line = Vec::with_capacity(MAX_LINE);
    while !line.ends_with(b"\r\n") {
        if PREFIX.len() + line.len() == MAX_LINE {
            return Err(Error::Malformed("its line is too long"));
        }
        line.push(stream.read_u8().await?);
    }
    parse_v1(&line[..line.len() - 2])
}

/// `TCP4 SOURCE DESTINATION PORT PORT`, the same with `TCP6`, or `UNKNOWN` and whatever follows.
fn parse_v1(line: &[u8]) -> Result<Client, Error> {
    let line = std::str::from_utf8(line).map_err(|_| Error::Malformed("it is no text"))?;
    let fields: Vec<&str> = line.split(' ').collect();
    match fields[..] {
        ["UNKNOWN", ..] => Ok(None),
        ["TCP4", source, destination, port, other] => {
            let ip = parsed::<Ipv4Addr>(source, "its source is no IPv4 address")?;
            parsed::<Ipv4Addr>(destination, "its destination is no IPv4 address")?;
            client(ip.into(), port, other)
        }
        ["TCP6", source, destination, port, other] => {
            let ip = parsed::<Ipv6Addr>(source, "its source is no IPv6 address")?;
            parsed::<Ipv6Addr>(destination, "its destination is no IPv6 address")?;
            client(ip.into(), port, other)
        }
        _ => Err(Error::Malformed(
            "it is not of the form TCP4 or TCP6, two addresses, two ports",
        )),
    }
}

fn client(ip: IpAddr, port: &str, other: &str) -> Result<Client, Error> {
    let wrong = "a port is none";
    parsed::<u16>(other, wrong)?;
    Ok(Some(SocketAddr::new(ip, parsed(port, wrong)?)))
}

fn parsed<T: FromStr>(text: &str, wrong: &'static str) -> Result<T, Error> {
    text.parse().map_err(|_| Error::Malformed(wrong))
}

/// Version and command, family, a length, and so many bytes: addresses, and more that is skipped.
async fn read_v2(stream: &mut (impl AsyncRead + Unpin)) -> Result<Client, Error> {
    let (command, family) = (stream.read_u8().await?, stream.read_u8().await?);
    let len = stream.read_u16().await?;
    if len > MAX_REST {
        return Err(Error::Malformed("it is too long"));
    }
    let mut rest = vec![0; len.into()];
    stream.read_exact(&mut rest).await?;
    parse_v2(command, family, &rest)
}

fn parse_v2(command: u8, family: u8, rest: &[u8]) -> Result<Client, Error> {
    match command {
        // Of the proxy's own.
        0x20 => return Ok(None),
        0x21 => {}
        _ => return Err(Error::Malformed("its version or command is unknown")),
    }
    let short = Error::Malformed("it is too short for its addresses");
    match family >> 4 {
        1 => {
            let &[a, b, c, d, _, _, _, _, port @ ..] = rest.first_chunk::<12>().ok_or(short)?;
            Ok(Some(address([a, b, c, d].into(), [port[0], port[1]])))
        }
        2 => {
            let addresses: &[u8; 36] = rest.first_chunk().ok_or(short)?;
            let source: &[u8; 16] = addresses.first_chunk().expect("36 bytes have 16");
            Ok(Some(address(
                (*source).into(),
                [addresses[32], addresses[33]],
            )))
        }
        // Neither unknown families nor sockets of a machine have addresses of a network.
        0 | 3 => Ok(None),
        _ => Err(Error::Malformed("its family is unknown")),
    }
}

fn address(ip: IpAddr, port: [u8; 2]) -> SocketAddr {
    SocketAddr::new(ip, u16::from_be_bytes(port))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn client_of(mut bytes: &[u8]) -> Result<(Client, &[u8]), Error> {
        let client = read_client(&mut bytes).await?;
        Ok((client, bytes))
    }

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let len = u16::try_from(rest.len()).unwrap();
        let head = [command, family];
        [&SIGNATURE[..], &head, &len.to_be_bytes(), rest].concat()
    }

    #[tokio::test]
    async fn a_line_names_the_client_and_ends_before_what_follows() {
        for (line, expected) in [
            ("TCP4 192.0.2.7 10.0.0.1 4711 3000", Some("192.0.2.7:4711")),
            ("TCP6 2001:db8::7 ::1 4711 3000", Some("[2001:db8::7]:4711")),
            ("UNKNOWN", None),
            ("UNKNOWN ffff::1 ffff::2 1 2", None),
        ] {
            let bytes = format!("PROXY {line}\r\nGET / HTTP/1.1\r\n");
            let (client, rest) = client_of(bytes.as_bytes()).await.unwrap();
            assert_eq!(client, expected.map(|text| text.parse().unwrap()), "{line}");
            assert_eq!(rest, b"GET / HTTP/1.1\r\n");
        }
    }

    #[tokio::test]
    async fn bytes_name_the_client_and_what_more_they_say_is_skipped() {
        let four = [192, 0, 2, 7, 10, 0, 0, 1, 0x12, 0x67, 0x0b, 0xb8];
        let mut six = [0; 36];
        six[..4].copy_from_slice(&[0x20, 1, 0xd, 0xb8]);
        six[15] = 7;
        six[32..34].copy_from_slice(&[0x12, 0x67]);
        let more = [&four[..], &[4, 0, 1, 0]].concat();
        for (header, expected) in [
            (v2(0x21, 0x11, &four), Some("192.0.2.7:4711")),
            (v2(0x21, 0x11, &more), Some("192.0.2.7:4711")),
            (v2(0x21, 0x21, &six), Some("[2001:db8::7]:4711")),
            (v2(0x20, 0x00, b""), None),
            (v2(0x21, 0x00, b""), None),
            (v2(0x21, 0x31, &[0; 216]), None),
        ] {
            let bytes = [&header[..], b"\x16\x03"].concat();
            let (client, rest) = client_of(&bytes).await.unwrap();
            assert_eq!(client, expected.map(|text| text.parse().unwrap()));
            assert_eq!(rest, b"\x16\x03");
        }
    }

    #[tokio::test]
    async fn anything_else_is_refused() {
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(MAX_LINE));
        for bytes in [
            "GET / HTTP/1.1\r\n",
            "POST / HTTP/1.1\r\n",
            "\x16\x03\x01",
            "\r\n\r\nGET / HTTP/1.1\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 4711\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 4711 65536\r\n",
            "PROXY TCP4 ::1 10.0.0.1 4711 3000\r\n",
            "PROXY TCP6 192.0.2.7 ::1 4711 3000\r\n",
            "PROXY UDP4 192.0.2.7 10.0.0.1 4711 3000\r\n",
            "PROXY ",
            &long,
        ] {
            assert!(client_of(bytes.as_bytes()).await.is_err(), "{bytes:?}");
        }
        for header in [
            v2(0x11, 0x11, &[0; 12]),
            v2(0x22, 0x11, &[0; 12]),
            v2(0x21, 0x11, &[0; 11]),
            v2(0x21, 0x21, &[0; 35]),
            v2(0x21, 0x41, &[0; 12]),
            v2(0x21, 0x11, &vec![0; usize::from(MAX_REST) + 1]),
            v2(0x21, 0x11, &[0; 12])[..20].to_vec(),
        ] {
            assert!(client_of(&header).await.is_err(), "{header:?}");
        }
        let error = client_of(b"").await.unwrap_err();
        assert!(matches!(error, Error::Empty), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_proxy_that_says_nothing_is_not_waited_for() {
        let (mut here, _there) = tokio::io::duplex(16);
        let error = read_client(&mut here).await.unwrap_err();
        assert!(matches!(error, Error::TooSlow), "{error}");
    }
}
