//! A `BytesMessage` stream as an ordinary byte stream, for the HTTP/2 inside it.
//!
//! Reading takes payloads out of messages as they come. Writing gathers: h2 flushes after every
//! frame of its own, and a message for each would cost more than its content. So what is written
//! goes to an [`Outbox`], flushing does nothing, and [`Sender`] sends all that has gathered as one
//! message whenever the stream takes one.

use std::{
    io, mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
};

use bytes::{Buf as _, Bytes, BytesMut};
use h2::{Reason, RecvStream, SendStream};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::oneshot,
};

use super::bytes_message::{self, Decoder, HEADROOM};
use crate::gateway::transport::pump::{self, Broken};

/// What may wait in an outbox: several of h2's frames, little of memory.
const OUTBOX: usize = 256 << 10;

/// The byte stream inside a `BytesMessage` stream.
pub(super) struct Tunnel {
    reader: Reader,
    outbox: Arc<Mutex<Outbox>>,
}

/// Sends what is written to the tunnel.
pub(super) struct Sender {
    send: SendStream<Bytes>,
    outbox: Arc<Mutex<Outbox>>,
}

/// What is left of the stream that was read when the tunnel is dropped.
#[derive(Debug)]
pub(super) enum Rest {
    /// It goes on, if only to its trailers.
    Open(RecvStream),
    /// Its sender reset it, or its connection is gone.
    Reset(Reason),
}

/// Makes a tunnel of the two halves of a stream; [`Rest`] comes when the tunnel is dropped.
pub(super) fn open(
    recv: RecvStream,
    send: SendStream<Bytes>,
) -> (Tunnel, Sender, oneshot::Receiver<Rest>) {
    let (back, rest) = oneshot::channel();
    let outbox = Arc::new(Mutex::new(Outbox::new()));
    let reader = Reader {
        from: Some(Rest::Open(recv)),
        decoder: Decoder::default(),
        piece: Bytes::new(),
        payload: Bytes::new(),
        back: Some(back),
    };
    let sender = Sender {
        send,
        outbox: Arc::clone(&outbox),
    };
    (Tunnel { reader, outbox }, sender, rest)
}

struct Reader {
    /// Taken on drop only.
    from: Option<Rest>,
    decoder: Decoder,
    piece: Bytes,
    payload: Bytes,
    back: Option<oneshot::Sender<Rest>>,
}

impl Reader {
    /// Fills `payload`; false at the end of the stream.
    fn poll_payload(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        while self.payload.is_empty() {
            let next = self.decoder.payload(&mut self.piece);
            if let Some(payload) =
                next.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?
            {
                self.payload = payload;
                break;
            }
            let Some(Rest::Open(stream)) = &mut self.from else {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            };
            match ready!(stream.poll_data(cx)) {
                Some(Ok(piece)) => {
                    // The connection inside has windows of its own, which bound what is read.
                    let _ = stream.flow_control().release_capacity(piece.len());
                    self.piece = piece;
                }
                Some(Err(error)) => {
                    self.from = Some(Rest::Reset(pump::reason(&error)));
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionReset, error)));
                }
                None => return Poll::Ready(Ok(false)),
            }
        }
        Poll::Ready(Ok(true))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let (Some(back), Some(rest)) = (self.back.take(), self.from.take()) {
            // Nobody waits for the rest of a session that was aborted.
            let _ = back.send(rest);
        }
    }
}

impl AsyncRead for Tunnel {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let reader = &mut self.reader;
        if ready!(reader.poll_payload(cx))? {
            let length = reader.payload.len().min(buf.remaining());
            buf.put_slice(&reader.payload[..length]);
            reader.payload.advance(length);
        }
        Poll::Ready(Ok(()))
    }
}

/// What was written and not yet sent.
struct Outbox {
    /// [`HEADROOM`], then payload.
    buffer: BytesMut,
    /// No more will be written.
    closed: bool,
    /// Nothing will be sent any more.
    broken: bool,
    writer: Option<Waker>,
    sender: Option<Waker>,
}

impl Outbox {
    fn new() -> Self {
        Self {
            buffer: BytesMut::zeroed(HEADROOM),
            closed: false,
            broken: false,
            writer: None,
            sender: None,
        }
    }

    fn close(&mut self) {
        self.closed = true;
        wake(&mut self.sender);
    }

    /// Everything that was written, as one message; None after the last.
    fn poll_take(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.buffer.len() > HEADROOM {
            let taken = mem::replace(&mut self.buffer, BytesMut::zeroed(HEADROOM));
            wake(&mut self.writer);
            Poll::Ready(Some(bytes_message::seal(taken)))
        } else if self.closed {
            Poll::Ready(None)
        } else {
            self.sender = Some(cx.waker().clone());
            Poll::Pending
        }
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.broken {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let before = self.buffer.len();
        for slice in slices {
            let room = (HEADROOM + OUTBOX).saturating_sub(self.buffer.len());
            self.buffer
                .extend_from_slice(&slice[..slice.len().min(room)]);
        }
        let written = self.buffer.len() - before;
        if written == 0 && slices.iter().any(|slice| !slice.is_empty()) {
            self.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        wake(&mut self.sender);
        Poll::Ready(Ok(written))
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

fn lock(outbox: &Mutex<Outbox>) -> MutexGuard<'_, Outbox> {
    // No code that holds it panics half way.
    outbox.lock().unwrap_or_else(PoisonError::into_inner)
}

impl AsyncWrite for Tunnel {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        lock(&self.outbox).poll_write(cx, &[io::IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        lock(&self.outbox).poll_write(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        lock(&self.outbox).close();
        Poll::Ready(Ok(()))
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        lock(&self.outbox).close();
    }
}

impl Sender {
    /// Sends until the tunnel is closed and everything is sent, or the stream breaks. The stream
    /// comes back open: who owns it says how it ends.
    pub(super) async fn run(self) -> (SendStream<Bytes>, Result<(), Broken>) {
        let outbox = BreakOnDrop(self.outbox);
        let mut send = self.send;
        loop {
            let taken = std::future::poll_fn(|cx| lock(&outbox.0).poll_take(cx)).await;
            let Some(message) = taken else {
                return (send, Ok(()));
            };
            if let Err(broken) = pump::send(&mut send, message, false).await {
                return (send, Err(broken));
            }
        }
    }
}

/// A writer must not wait for a sender that is gone.
struct BreakOnDrop(Arc<Mutex<Outbox>>);

impl Drop for BreakOnDrop {
    fn drop(&mut self) {
        let mut outbox = lock(&self.0);
        outbox.broken = true;
        wake(&mut outbox.writer);
    }
}
