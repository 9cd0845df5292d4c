//! The gRPC surface: messages in, the host's answers out.

use std::{pin::Pin, sync::Arc};

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt as _, stream};
use tonic::{Request, Response, Status, Streaming};

use super::{
    convert::{self, info_message, signed, status_message},
    filter::Filter,
    host::{ContentInfo, Error, Host, Ingest, OpenedIngest},
    write::{Conversation, Message, Step, opening},
};
use crate::proto::content::{
    AbortRequest, DeleteContentRequest, InfoRequest, InfoResponse, ListContentRequest,
    ListContentResponse, ListStatusesRequest, ListStatusesResponse, ReadContentRequest,
    ReadContentResponse, StatusRequest, StatusResponse, UpdateRequest, UpdateResponse, WriteAction,
    WriteContentRequest, WriteContentResponse,
    content_server::{Content, ContentServer},
};

/// The largest message in either direction, as containerd and BuildKit have it. containerd's
/// clients send up to half of it in one WRITE.
const MAX_MESSAGE_BYTES: usize = 16 << 20;

/// The most that one answer of a Read holds: what containerd sends, and little enough that many
/// readers at once need little memory.
const READ_PIECE_BYTES: usize = 1 << 20;

/// How many infos one answer of a List holds, as in containerd.
const LIST_BLOCK: usize = 100;

/// The Content service of one host, to be served by tonic or called as a tower service.
pub type ContentService = ContentServer<Surface>;

/// The Content service of `host`.
pub fn service(host: Arc<dyn Host>) -> ContentService {
    ContentServer::new(Surface { host })
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES)
}

/// Translates between gRPC and a [`Host`].
pub struct Surface {
    host: Arc<dyn Host>,
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Content for Surface {
    async fn info(&self, request: Request<InfoRequest>) -> Result<Response<InfoResponse>, Status> {
        let digest = convert::digest(&request.into_inner().digest)?;
        let info = info_message(self.host.info(digest).await?);
        Ok(Response::new(InfoResponse { info: Some(info) }))
    }

    async fn update(
        &self,
        request: Request<UpdateRequest>,
    ) -> Result<Response<UpdateResponse>, Status> {
        let UpdateRequest { info, update_mask } = request.into_inner();
        let info = info.unwrap_or_default();
        let digest = convert::digest(&info.digest)?;
        let change = convert::label_change(info.labels, update_mask)?;
        let info = info_message(self.host.update(digest, change).await?);
        Ok(Response::new(UpdateResponse { info: Some(info) }))
    }

    type ListStream = Answers<ListContentResponse>;

    async fn list(
        &self,
        request: Request<ListContentRequest>,
    ) -> Result<Response<Self::ListStream>, Status> {
        let filter = Filter::parse(&request.into_inner().filters)?;
        let matching = self.host.list().await?.try_filter(move |info| {
            let matches = filter.matches(|path| info_field(info, path));
            async move { matches }
        });
        let blocks = matching
            .map_ok(info_message)
            .try_chunks(LIST_BLOCK)
            .map_ok(|info| ListContentResponse { info })
            .map_err(|error| Status::from(error.1));
        Ok(Response::new(Box::pin(blocks)))
    }

    async fn delete(&self, request: Request<DeleteContentRequest>) -> Result<Response<()>, Status> {
        let digest = convert::digest(&request.into_inner().digest)?;
        Ok(Response::new(self.host.delete(digest).await?))
    }

    type ReadStream = Answers<ReadContentResponse>;

    async fn read(
        &self,
        request: Request<ReadContentRequest>,
    ) -> Result<Response<Self::ReadStream>, Status> {
        let request = request.into_inner();
        let digest = convert::digest(&request.digest)?;
        let start = convert::count("offset", request.offset)?;
        let wanted = convert::count("size", request.size)?;
        let size = self.host.info(digest).await?.size;
        if start > size {
            return Err(Error::OutOfRange(format!(
                "offset {start} is past the {size} bytes of {digest}"
            ))
            .into());
        }
        let end = match wanted {
            0 => size,
            wanted => size.min(start.saturating_add(wanted)),
        };
        // Counted from the start of the range, as containerd's server does.
        let mut offset = 0;
        let answers = self
            .host
            .read(digest, start..end)
            .await?
            .map_ok(|data| stream::iter(pieces(data).map(Ok::<_, Error>)))
            .try_flatten()
            .map_ok(move |data| {
                let at = signed(offset);
                offset += data.len() as u64;
                ReadContentResponse { offset: at, data }
            })
            .map_err(Status::from);
        Ok(Response::new(Box::pin(answers)))
    }

    async fn status(
        &self,
        request: Request<StatusRequest>,
    ) -> Result<Response<StatusResponse>, Status> {
        let reference = convert::reference(request.into_inner().r#ref)?;
        let status = status_message(self.host.status(&reference).await?);
        Ok(Response::new(StatusResponse {
            status: Some(status),
        }))
    }

    async fn list_statuses(
        &self,
        request: Request<ListStatusesRequest>,
    ) -> Result<Response<ListStatusesResponse>, Status> {
        let filter = Filter::parse(&request.into_inner().filters)?;
        let mut statuses = self.host.list_statuses().await?;
        statuses.retain(|status| {
            filter.matches(|path| match path {
                [field] if field == "ref" => Some(status.spec.reference.clone()),
                _ => None,
            })
        });
        Ok(Response::new(ListStatusesResponse {
            statuses: statuses.into_iter().map(status_message).collect(),
        }))
    }

    type WriteStream = Answers<WriteContentResponse>;

    async fn write(
        &self,
        request: Request<Streaming<WriteContentRequest>>,
    ) -> Result<Response<Self::WriteStream>, Status> {
        let start = WriteState::Opening(Arc::clone(&self.host), request.into_inner());
        Ok(Response::new(Box::pin(stream::try_unfold(start, answer))))
    }

    async fn abort(&self, request: Request<AbortRequest>) -> Result<Response<()>, Status> {
        let reference = convert::reference(request.into_inner().r#ref)?;
        Ok(Response::new(self.host.abort(&reference).await?))
    }
}

/// What a filter sees of content: `digest`, `size` and `labels.<key>`.
fn info_field(info: &ContentInfo, path: &[String]) -> Option<String> {
    match path {
        [field] if field == "digest" => Some(info.digest.to_string()),
        [field] if field == "size" => Some(info.size.to_string()),
        [field, key @ ..] if field == "labels" => info.labels.get(&key.join(".")).cloned(),
        _ => None,
    }
}

/// `data` in pieces that fit an answer.
fn pieces(mut data: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || {
        let piece = data.split_to(data.len().min(READ_PIECE_BYTES));
        (!piece.is_empty()).then_some(piece)
    })
}

/// Where a Write stands between two answers. The ingest lives here, so it is released when the
/// client leaves and tonic drops the answers.
enum WriteState {
    Opening(Arc<dyn Host>, Streaming<WriteContentRequest>),
    Open(
        Box<dyn Ingest>,
        Conversation,
        Streaming<WriteContentRequest>,
    ),
    Committed,
}

/// Receives one message and answers it. The next one is not received before tonic asks for its
/// answer, so the client sets the pace.
async fn answer(state: WriteState) -> Result<Option<(WriteContentResponse, WriteState)>, Status> {
    let (mut ingest, mut conversation, message, inbound) = match state {
        WriteState::Opening(host, mut inbound) => {
            let Some(request) = inbound.message().await? else {
                return Ok(None);
            };
            let (spec, message) = opening(request)?;
            let ingest = match host.open(spec).await? {
                OpenedIngest::Writer(ingest) => ingest,
                OpenedIngest::Exists(digest) => {
                    return Err(Error::AlreadyExists(digest.to_string()).into());
                }
            };
            let conversation = Conversation::new(&ingest.status().spec);
            (ingest, conversation, message, inbound)
        }
        WriteState::Open(ingest, conversation, mut inbound) => {
            let Some(request) = inbound.message().await? else {
                return Ok(None);
            };
            (ingest, conversation, Message::parse(request)?, inbound)
        }
        WriteState::Committed => return Ok(None),
    };
    let action = message.action;
    let step = conversation.step(message, ingest.status().offset)?;
    let response = perform(step, action, ingest.as_mut(), &conversation).await?;
    let next = match action {
        WriteAction::Commit => WriteState::Committed,
        WriteAction::Stat | WriteAction::Write => WriteState::Open(ingest, conversation, inbound),
    };
    Ok(Some((response, next)))
}

/// Does what was decided, and says how the ingest stands then.
async fn perform(
    step: Step,
    action: WriteAction,
    ingest: &mut dyn Ingest,
    conversation: &Conversation,
) -> Result<WriteContentResponse, Error> {
    if step.restart {
        ingest.restart().await?;
    }
    if !step.data.is_empty() {
        ingest.write(step.data).await?;
    }
    let status = ingest.status();
    let digest = match step.commit {
        Some(commit) => Some(ingest.commit(commit).await?),
        None => ingest.digest(),
    };
    Ok(WriteContentResponse {
        action: action.into(),
        started_at: Some(status.started_at.into()),
        updated_at: Some(status.updated_at.into()),
        offset: signed(status.offset),
        total: signed(conversation.total().unwrap_or(0)),
        digest: convert::digest_text(digest),
    })
}
