//! A client that floods its connection: the gateway ends that connection or bears it, stays small,
//! and serves the next one. Whoever reaches the socket is trusted with builds; this is about
//! accidents.

use std::time::Duration;

use http::{Request, Response};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

use crate::support::Fixture;

/// Far above what a flood takes, and far below for ever.
const BOUND: Duration = Duration::from_mins(1);

/// What the whole test process may grow by: far above the windows, and far below the floods' effect
/// on a server without limits.
const GROWTH: u64 = 256 << 20;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// `POST http://x/later.Service/Method` in HPACK without its table.
const CALL: &[u8] = b"\x83\x86\x04\x15/later.Service/Method\x01\x01x";

/// A header of 4,000 bytes that goes into HPACK's table, where one byte names it from then on.
fn large_header() -> Vec<u8> {
    // A literal with a new name; 127 + 0x21 + (0x1e << 7) = 4000.
    let mut block = b"\x40\x01a\x7f\xa1\x1e".to_vec();
    block.extend([b'b'; 4000]);
    block
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

fn resets() -> Vec<u8> {
    let call = |n: u32| {
        let stream = 2 * n + 1;
        let open = frame(HEADERS, END_HEADERS, stream, CALL);
        [open, frame(RESET, 0, stream, &8_u32.to_be_bytes())].concat()
    };
    // Twice what is free; then each has its millisecond.
    (0..10_000).flat_map(call).collect()
}

fn empty_data() -> Vec<u8> {
    let open = frame(HEADERS, END_HEADERS, 1, CALL);
    [open, frame(DATA, 0, 1, b"").repeat(500_000)].concat()
}

fn endless_head() -> Vec<u8> {
    let more = frame(
        CONTINUATION,
        0,
        1,
        &[b"\x00\x01a\x01b".repeat(3_000)].concat(),
    );
    [frame(HEADERS, 0, 1, CALL), more.repeat(5_000)].concat()
}

/// Less than 200 KiB on the wire, and 600 MB as a list.
fn header_bomb() -> Vec<u8> {
    let start = [CALL, &large_header()].concat();
    let more = frame(CONTINUATION, 0, 1, &[0xbe; 16_000]);
    let end = frame(CONTINUATION, END_HEADERS, 1, &[]);
    [frame(HEADERS, 0, 1, &start), more.repeat(10), end].concat()
}

fn streams() -> Vec<u8> {
    let open = |n: u32| frame(HEADERS, END_HEADERS, 2 * n + 1, CALL);
    (0..50_000).flat_map(open).collect()
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.unwrap().split_whitespace().nth(1).unwrap();
    kib.parse::<u64>().unwrap() << 10
}

/// Sends everything, reading all that comes back, until one side is done.
async fn flood(fixture: &Fixture, bytes: &[u8]) {
    let (mut read, mut write) = fixture.connect().await.into_split();
    let sending = async {
        // The gateway may hang up in the middle of it.
        let _ = write.write_all(PREFACE).await;
        let _ = write.write_all(&frame(SETTINGS, 0, 0, b"")).await;
        let _ = write.write_all(bytes).await;
        let _ = write.shutdown().await;
    };
    let reading = async {
        let mut buffer = vec![0; 64 << 10];
        while read.read(&mut buffer).await.is_ok_and(|length| length > 0) {}
    };
    tokio::join!(sending, reading);
}

#[tokio::test]
async fn floods_leave_the_gateway_alive_small_and_serving() {
    for (name, bytes) in [
        ("streams that are reset at once", resets()),
        ("DATA frames without data", empty_data()),
        ("PING", frame(PING, 0, 0, b"12345678").repeat(500_000)),
        (
            "SETTINGS",
            frame(SETTINGS, 0, 0, b"\0\x04\0\0\xff\xff").repeat(200_000),
        ),
        ("a head without end", endless_head()),
        ("a head that unpacks", header_bomb()),
        ("streams that never end", streams()),
    ] {
        let mut fixture = Fixture::start().await;
        let before = resident();
        let flooded = timeout(BOUND, flood(&fixture, &bytes)).await;
        flooded.unwrap_or_else(|_| panic!("{name}: the connection hangs"));
        let grown = resident().saturating_sub(before);
        assert!(grown < GROWTH, "{name}: {} MiB more", grown >> 20);

        let request = Request::post("http://client.example/moby.buildkit.v1.Control/Info");
        let request = request.body(()).unwrap();
        let (response, _send) = fixture.client.send_request(request, true).unwrap();
        let answered = async {
            loop {
                let (request, mut respond) = fixture.upstream.call().await;
                if request.uri().path().ends_with("/Info") {
                    respond.send_response(Response::new(()), true).unwrap();
                    return response.await.unwrap();
                }
            }
        };
        let answered = timeout(BOUND, answered).await;
        answered.unwrap_or_else(|_| panic!("{name}: the next client is not served"));
    }
}
