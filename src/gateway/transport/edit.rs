//! A response whose messages are edited one by one, with messages of ours between them.

use async_trait::async_trait;
use bytes::Bytes;
use h2::{RecvStream, SendStream};

use super::{
    frame::{self, FrameError, Messages},
    pump::{self, Broken},
};
use crate::gateway::interceptor::{Finish, GrpcStatus, StatusEditor};

/// Why an edited response stopped.
enum Stopped {
    /// The stream broke.
    Broken(Broken),
    /// A message of it cannot be read or written.
    Frame(FrameError),
}

impl From<Broken> for Stopped {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

impl From<FrameError> for Stopped {
    fn from(error: FrameError) -> Self {
        Self::Frame(error)
    }
}

/// Moves a body and its trailers as [`pump::pump`] does, through `editor`.
pub(crate) async fn pump_edited(
    from: &mut RecvStream,
    to: &mut SendStream<Bytes>,
    editor: &mut dyn StatusEditor,
) -> Result<(), Broken> {
    match edit_messages(from, to, editor).await {
        Ok(()) => {
            let trailers = from.trailers().await.map_err(Broken::Source)?;
            pump::finish(to, trailers)
        }
        Err(Stopped::Broken(broken)) => Err(broken),
        Err(Stopped::Frame(error)) => pump::finish(to, Some(GrpcStatus::from(error).headers())),
    }
}

async fn edit_messages(
    from: &mut RecvStream,
    to: &mut SendStream<Bytes>,
    editor: &mut dyn StatusEditor,
) -> Result<(), Stopped> {
    let mut messages = Messages::default();
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

async fn send_message(to: &mut SendStream<Bytes>, message: &[u8]) -> Result<(), Stopped> {
    pump::send(to, frame::encode(message)?, false).await?;
    Ok(())
}

/// The editor of a unary response: its one message goes through a [`Finish`].
pub(crate) struct FinishEditor(Option<Box<dyn Finish>>);

impl FinishEditor {
    /// Edits with `finish`.
    pub(crate) fn new(finish: Box<dyn Finish>) -> Self {
        Self(Some(finish))
    }
}

#[async_trait]
impl StatusEditor for FinishEditor {
    fn edit(&mut self, message: Bytes) -> Option<Bytes> {
        Some(match self.0.take() {
            Some(finish) => finish.response(message),
            None => message,
        })
    }

    async fn next(&mut self) -> Bytes {
        std::future::pending().await
    }

    fn finish(&mut self) -> Option<Bytes> {
        None
    }
}
