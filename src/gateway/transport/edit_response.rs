//! A response whose messages are edited one by one, with messages of ours between them.

use async_trait::async_trait;
use bytes::Bytes;
use h2::{RecvStream, SendStream};

use super::{
    frame::{self, FrameError, MessageDecoder},
    pump::{self, PumpError},
};
use crate::gateway::interceptor::{GrpcStatus, SolveCompletion, StatusEditor};

/// Why an edited response stopped.
enum EditError {
    Pump(PumpError),
    Frame(FrameError),
}

impl From<PumpError> for EditError {
    fn from(broken: PumpError) -> Self {
        Self::Pump(broken)
    }
}

impl From<FrameError> for EditError {
    fn from(error: FrameError) -> Self {
        Self::Frame(error)
    }
}

/// Moves a body and its trailers as [`pump::pump`] does, through `editor`.
pub(super) async fn pump_edited(
    from: &mut RecvStream,
    to: &mut SendStream<Bytes>,
    editor: &mut dyn StatusEditor,
) -> Result<(), PumpError> {
    match edit_messages(from, to, editor).await {
        Ok(()) => {
            let trailers = from.trailers().await.map_err(PumpError::Source)?;
            pump::finish(to, trailers)
        }
        Err(EditError::Pump(broken)) => Err(broken),
        Err(EditError::Frame(error)) => pump::finish(to, Some(GrpcStatus::from(error).headers())),
    }
}

async fn edit_messages(
    from: &mut RecvStream,
    to: &mut SendStream<Bytes>,
    editor: &mut dyn StatusEditor,
) -> Result<(), EditError> {
    let mut messages = MessageDecoder::default();
    loop {
        let data = tokio::select! {
            data = pump::next_data(from, to) => data?,
            ours = editor.next() => {
                send_message(to, &ours).await?;
                continue;
            }
        };
        let Some(data) = data else { break };
        messages.push(&data);
        let _ = from.flow_control().release_capacity(data.len());
        while let Some(message) = messages.pop()? {
            if let Some(edited) = editor.edit(message) {
                send_message(to, &edited).await?;
            }
        }
    }
    messages.end()?;
    if let Some(last) = editor.finish() {
        send_message(to, &last).await?;
    }
    Ok(())
}

async fn send_message(to: &mut SendStream<Bytes>, message: &[u8]) -> Result<(), EditError> {
    pump::send(to, frame::encode(message)?, false).await?;
    Ok(())
}

/// The editor of a unary response: its one message goes through a [`Finish`].
pub(super) struct UnaryEditor(Option<Box<dyn SolveCompletion>>);

impl UnaryEditor {
    pub(crate) fn new(finish: Box<dyn SolveCompletion>) -> Self {
        Self(Some(finish))
    }
}

#[async_trait]
impl StatusEditor for UnaryEditor {
    fn edit(&mut self, message: Bytes) -> Option<Bytes> {
        Some(match self.0.take() {
            Some(finish) => finish.edit_response(message),
            None => message,
        })
    }

    async fn next(&mut self) -> Bytes {
        std::future::pending().await
    }

    fn finish(&mut self) -> Option<Bytes> {
        self.refused();
        None
    }

    fn refused(&mut self) {
        if let Some(finish) = self.0.take() {
            finish.fail();
        }
    }
}
