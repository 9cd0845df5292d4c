//! A session's byte stream, taken out of its messages and put into messages again.

use std::hint::black_box;

use buildkit_gha::gateway::internals::bytes_message::{Decoder, HEADROOM, seal};
use bytes::{Bytes, BytesMut};
use criterion::{Criterion, Throughput};

/// What buildkitd and clients send at once, and what the gateway gathers.
const MESSAGES: [usize; 2] = [32 << 10, 256 << 10];

/// Pieces as HTTP/2 delivers them.
const FRAME: usize = 16 << 10;

pub fn tunnel(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("splice");
    for size in MESSAGES {
        let message = message(size);
        let frames: Vec<Bytes> = message.chunks(FRAME).map(Bytes::copy_from_slice).collect();
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(format!("unwrap a message of {} KiB", size >> 10), |b| {
            b.iter(|| unwrap(black_box(&frames)));
        });
        group.bench_function(format!("gather and wrap {} KiB", size >> 10), |b| {
            b.iter(|| gather(black_box(&frames)));
        });
    }
    group.finish();
}

fn message(size: usize) -> Bytes {
    let mut buffer = BytesMut::zeroed(HEADROOM);
    buffer.resize(HEADROOM + size, 7);
    seal(buffer)
}

/// How many bytes of payload the frames hold.
fn unwrap(frames: &[Bytes]) -> usize {
    let mut decoder = Decoder::default();
    let mut read = 0;
    for frame in frames {
        let mut piece = frame.clone();
        while let Some(payload) = decoder.payload(&mut piece).expect("a message") {
            read += payload.len();
        }
    }
    read
}

fn gather(frames: &[Bytes]) -> Bytes {
    let mut buffer = BytesMut::zeroed(HEADROOM);
    for frame in frames {
        buffer.extend_from_slice(frame);
    }
    seal(buffer)
}
