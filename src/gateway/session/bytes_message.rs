//! `moby.buildkit.v1.BytesMessage` in gRPC frames: the byte stream inside `Control.Session`.
//!
//! A message is at most one field, `bytes data = 1`; empty data is an empty message:
//!
//! ```text
//! 00 00000005   gRPC prefix: not compressed, 5 bytes
//!    0a 03      field 1, 3 bytes
//!    61 62 63
//! 00 00000000   an empty message
//! ```

use bytes::{Buf as _, Bytes, BytesMut};

use crate::gateway::transport::frame::{MAX_MESSAGE, PREFIX};

/// Field 1, length-delimited.
const TAG: u8 = 0x0a;

/// A varint of a length under 16 MiB has at most this many bytes.
const MAX_VARINT: usize = 4;

/// Bytes in front of a payload for the longest prefix, tag and length.
pub const HEADROOM: usize = PREFIX + 1 + MAX_VARINT;

/// Why bytes are no `BytesMessage`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The flag byte says that it is compressed, or is no flag byte.
    #[error("a session message is compressed")]
    Compressed,
    /// Longer than [`MAX_MESSAGE`].
    #[error("a session message of {0} bytes is longer than the limit of {MAX_MESSAGE} bytes")]
    TooLong(usize),
    /// Anything but one field of bytes, with number 1.
    #[error("a session message is no BytesMessage")]
    Malformed,
}

/// Finds the payloads in a body that comes in pieces of any size.
#[derive(Debug)]
pub struct Decoder {
    state: DecoderState,
}

#[derive(Debug, Clone, Copy)]
enum DecoderState {
    /// `filled` bytes of the gRPC prefix are there.
    Prefix { bytes: [u8; PREFIX], filled: usize },
    /// `left` bytes of the message are to come, the tag first.
    Tag { left: usize },
    /// As before, the rest of the length first.
    Length {
        left: usize,
        value: usize,
        shift: u32,
    },
    /// `left` bytes of payload are to come.
    Payload { left: usize },
}

impl DecoderState {
    const START: Self = Self::Prefix {
        bytes: [0; PREFIX],
        filled: 0,
    };

    fn payload(left: usize) -> Self {
        if left == 0 {
            Self::START
        } else {
            Self::Payload { left }
        }
    }
}

impl Default for Decoder {
    fn default() -> Self {
        Self {
            state: DecoderState::START,
        }
    }
}

impl Decoder {
    /// Takes the next bytes of payload from `piece`; None when all of it has been taken.
    pub fn payload(&mut self, piece: &mut Bytes) -> Result<Option<Bytes>, DecodeError> {
        while !piece.is_empty() {
            if let DecoderState::Payload { left } = self.state {
                let payload = piece.split_to(left.min(piece.len()));
                self.state = DecoderState::payload(left - payload.len());
                return Ok(Some(payload));
            }
            self.state = step(self.state, piece.get_u8())?;
        }
        Ok(None)
    }
}

/// One byte outside a payload.
fn step(state: DecoderState, byte: u8) -> Result<DecoderState, DecodeError> {
    match state {
        DecoderState::Prefix { mut bytes, filled } => {
            bytes[filled] = byte;
            let filled = filled + 1;
            if filled < PREFIX {
                Ok(DecoderState::Prefix { bytes, filled })
            } else {
                after_prefix(bytes)
            }
        }
        DecoderState::Tag { left } if byte == TAG && left > 1 => Ok(DecoderState::Length {
            left: left - 1,
            value: 0,
            shift: 0,
        }),
        DecoderState::Length { left, value, shift } => {
            let left = left - 1;
            let value = value | usize::from(byte & 0x7f) << shift;
            let shift = shift + 7;
            let more = byte & 0x80 != 0;
            match more {
                true if left > 0 && shift < 32 => Ok(DecoderState::Length { left, value, shift }),
                false if value == left => Ok(DecoderState::payload(left)),
                _ => Err(DecodeError::Malformed),
            }
        }
        DecoderState::Tag { .. } | DecoderState::Payload { .. } => Err(DecodeError::Malformed),
    }
}

fn after_prefix([flag, length @ ..]: [u8; PREFIX]) -> Result<DecoderState, DecodeError> {
    let length = u32::from_be_bytes(length) as usize;
    match length {
        _ if flag != 0 => Err(DecodeError::Compressed),
        0 => Ok(DecoderState::START),
        1..=MAX_MESSAGE => Ok(DecoderState::Tag { left: length }),
        _ => Err(DecodeError::TooLong(length)),
    }
}

/// Turns a buffer of [`HEADROOM`] unused bytes and a payload into a framed message.
pub fn frame_in_place(mut buffer: BytesMut) -> Bytes {
    let payload = buffer.len() - HEADROOM;
    let mut varint = [0; MAX_VARINT];
    let mut used = 0;
    let mut rest = payload;
    loop {
        let low = u8::try_from(rest & 0x7f).expect("seven bits fit");
        rest >>= 7;
        varint[used] = if rest > 0 { low | 0x80 } else { low };
        used += 1;
        if rest == 0 {
            break;
        }
    }
    let message = 1 + used + payload;
    let length = u32::try_from(message).expect("the writer bounds a message far below 16 MiB");
    let start = MAX_VARINT - used;
    buffer[start] = 0;
    buffer[start + 1..start + PREFIX].copy_from_slice(&length.to_be_bytes());
    buffer[start + PREFIX] = TAG;
    buffer[start + PREFIX + 1..HEADROOM].copy_from_slice(&varint[..used]);
    buffer.advance(start);
    buffer.freeze()
}

#[cfg(test)]
mod tests {
    use bytes::BufMut as _;
    use prost::Message as _;

    use super::*;

    fn sealed(payload: &[u8]) -> Bytes {
        let mut buffer = BytesMut::zeroed(HEADROOM);
        buffer.extend_from_slice(payload);
        frame_in_place(buffer)
    }

    fn decode(pieces: &[&[u8]]) -> Result<Vec<u8>, DecodeError> {
        let mut decoder = Decoder::default();
        let mut out = Vec::new();
        for piece in pieces {
            let mut piece = Bytes::copy_from_slice(piece);
            while let Some(payload) = decoder.payload(&mut piece)? {
                assert!(!payload.is_empty());
                out.extend_from_slice(&payload);
            }
        }
        Ok(out)
    }

    #[test]
    fn a_sealed_payload_is_the_protobuf_message() {
        for length in [0, 1, 127, 128, 300, 16_383, 16_384, 262_144] {
            let payload = vec![7; length];
            let message = sealed(&payload).slice(PREFIX..);
            // `bytes data = 1` and prost's own wrapper for bytes are the same on the wire.
            let decoded = prost::bytes::Bytes::decode(message).unwrap();
            assert_eq!(decoded, payload, "{length}");
        }
    }

    #[test]
    fn payloads_survive_a_cut_at_every_byte() {
        let mut body = BytesMut::new();
        let mut sent = Vec::new();
        for length in [3, 0, 1, 200, 130, 0] {
            let payload: Vec<u8> = (0..length).collect();
            body.extend_from_slice(&sealed(&payload));
            body.put_bytes(0, PREFIX);
            sent.extend(payload);
        }
        for first in 0..=body.len() {
            assert_eq!(decode(&[&body[..first], &body[first..]]), Ok(sent.clone()));
            for second in first..(first + 12).min(body.len()) {
                let pieces = [&body[..first], &body[first..second], &body[second..]];
                assert_eq!(decode(&pieces), Ok(sent.clone()), "{first} {second}");
            }
        }
        let single: Vec<&[u8]> = body.chunks(1).collect();
        assert_eq!(decode(&single), Ok(sent));
    }

    #[test]
    fn other_messages_are_refused() {
        let cases: [(&[u8], DecodeError); 6] = [
            (&[1, 0, 0, 0, 0], DecodeError::Compressed),
            (&[0, 1, 0, 0, 1], DecodeError::TooLong(MAX_MESSAGE + 1)),
            (&[0, 0, 0, 0, 2, 0x12, 0], DecodeError::Malformed),
            (&[0, 0, 0, 0, 1, 0x0a], DecodeError::Malformed),
            (&[0, 0, 0, 0, 3, 0x0a, 2, 1], DecodeError::Malformed),
            (&[0, 0, 0, 0, 2, 0x0a, 0x80], DecodeError::Malformed),
        ];
        for (body, error) in cases {
            assert_eq!(decode(&[body]), Err(error), "{body:?}");
        }
    }
}
