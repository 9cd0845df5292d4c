//! gRPC's framing, and the byte stream of a session in it: any split of a body gives the same.

use buildkit_gha::gateway::internals::{
    bytes_message::{DecodeError, Decoder},
    frame::{FrameError, Messages, encode},
};
use bytes::Bytes;

/// The first byte is the length of the pieces that the rest comes in.
pub fn body(data: &[u8]) {
    let Some((length, stream)) = data.split_first() else {
        return;
    };
    let length = usize::from(*length).max(1);
    let whole = messages([stream]);
    assert_eq!(messages(stream.chunks(length)), whole);
    assert_eq!(payload(stream.chunks(length)), payload([stream]));

    let framed = encode(stream).expect("an input of libFuzzer is shorter than a message may be");
    let back = (vec![Bytes::copy_from_slice(stream)], Ok(()));
    assert_eq!(messages(framed.chunks(length)), back);
}

/// All messages up to the end or the first error.
fn messages<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Bytes>, Result<(), FrameError>) {
    let mut reader = Messages::default();
    let mut read = Vec::new();
    for piece in pieces {
        reader.push(piece);
        loop {
            match reader.pop() {
                Ok(Some(message)) => read.push(message),
                Ok(None) => break,
                Err(error) => return (read, Err(error)),
            }
        }
    }
    (read, reader.end())
}

/// All of a session's byte stream up to the first error.
fn payload<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<u8>, Option<DecodeError>) {
    let mut decoder = Decoder::default();
    let mut read = Vec::new();
    for piece in pieces {
        let mut piece = Bytes::copy_from_slice(piece);
        loop {
            match decoder.payload(&mut piece) {
                Ok(Some(payload)) => read.extend_from_slice(&payload),
                Ok(None) => break,
                Err(error) => return (read, Some(error)),
            }
        }
    }
    (read, None)
}
