//! gRPC's framing of messages in a body: a flag byte, four bytes of length, the message.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

use crate::gateway::interceptor::{Code, GrpcStatus};

/// The flag byte and the length.
pub const PREFIX: usize = 5;

/// The largest message that BuildKit's daemon and clients accept from each other.
pub const MAX_MESSAGE: usize = 16 << 20;

/// Why a body is not a row of plain messages.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Longer than [`MAX_MESSAGE`].
    #[error("a message of {0} bytes is longer than the limit of {MAX_MESSAGE} bytes")]
    TooLong(usize),
    /// The flag byte says that it is compressed, or is no flag byte.
    #[error("a message is compressed, which buildkit-gha does not read here")]
    Compressed,
    /// The body ended inside a message.
    #[error("the body ended inside a message")]
    Cut,
    /// A call with one message per direction had none, or a second one.
    #[error("a call that carries exactly one message had {0}")]
    NotOne(usize),
}

impl From<FrameError> for GrpcStatus {
    fn from(error: FrameError) -> Self {
        let code = match error {
            FrameError::TooLong(_) => Code::ResourceExhausted,
            FrameError::Compressed => Code::Unimplemented,
            FrameError::Cut | FrameError::NotOne(_) => Code::Internal,
        };
        Self::new(code, format!("buildkit-gha: {error}"))
    }
}

/// Puts messages together from a body that comes in pieces of any size.
#[derive(Debug, Default)]
pub struct Messages {
    buffer: BytesMut,
}

impl Messages {
    /// Adds a piece of the body.
    pub fn push(&mut self, piece: &[u8]) {
        self.buffer.extend_from_slice(piece);
    }

    /// The next whole message, if it is there.
    pub fn pop(&mut self) -> Result<Option<Bytes>, FrameError> {
        let Some((prefix, rest)) = self.buffer.split_first_chunk::<PREFIX>() else {
            return Ok(None);
        };
        let [flag, length @ ..] = *prefix;
        if flag != 0 {
            return Err(FrameError::Compressed);
        }
        let length = u32::from_be_bytes(length) as usize;
        if length > MAX_MESSAGE {
            return Err(FrameError::TooLong(length));
        }
        if rest.len() < length {
            return Ok(None);
        }
        self.buffer.advance(PREFIX);
        Ok(Some(self.buffer.split_to(length).freeze()))
    }

    /// Whether the body may end here.
    pub fn end(&self) -> Result<(), FrameError> {
        if self.buffer.is_empty() {
            Ok(())
        } else {
            Err(FrameError::Cut)
        }
    }
}

/// The message with its prefix.
pub fn encode(message: &[u8]) -> Result<Bytes, FrameError> {
    if message.len() > MAX_MESSAGE {
        return Err(FrameError::TooLong(message.len()));
    }
    let length = u32::try_from(message.len()).expect("16 MiB fit");
    let mut frame = BytesMut::with_capacity(PREFIX + message.len());
    frame.put_u8(0);
    frame.put_u32(length);
    frame.extend_from_slice(message);
    Ok(frame.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(messages: &[&[u8]]) -> Vec<u8> {
        let frames = messages.iter().map(|message| encode(message).unwrap());
        frames.flatten().collect()
    }

    #[test]
    fn messages_survive_a_cut_at_every_byte() {
        let sent: [&[u8]; 4] = [b"one", b"", b"three", b"4"];
        let body = body(&sent);
        for cut in 0..=body.len() {
            let mut messages = Messages::default();
            let mut received = Vec::new();
            for piece in [&body[..cut], &body[cut..]] {
                messages.push(piece);
                while let Some(message) = messages.pop().unwrap() {
                    received.push(message);
                }
            }
            assert_eq!(received, sent, "cut at {cut}");
            assert_eq!(messages.end(), Ok(()));
        }
    }

    #[test]
    fn a_body_that_ends_inside_a_message_is_cut() {
        let body = body(&[b"message"]);
        for end in 1..body.len() {
            let mut messages = Messages::default();
            messages.push(&body[..end]);
            assert_eq!(messages.pop(), Ok(None));
            assert_eq!(messages.end(), Err(FrameError::Cut));
        }
    }

    #[test]
    fn what_cannot_be_read_is_said_at_the_prefix() {
        let mut long = Messages::default();
        long.push(&[0, 1, 0, 0, 1]);
        assert_eq!(long.pop(), Err(FrameError::TooLong(MAX_MESSAGE + 1)));
        let status = GrpcStatus::from(FrameError::TooLong(1));
        assert_eq!(status.code, Code::ResourceExhausted);

        let mut compressed = Messages::default();
        compressed.push(&[1, 0, 0, 0, 0]);
        assert_eq!(compressed.pop(), Err(FrameError::Compressed));
    }
}
