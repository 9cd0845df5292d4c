//! The Content service on the directory store, over a real socket with a real gRPC client.

#![allow(clippy::unwrap_used, reason = "a test fails where it is surprised")]

use std::{path::Path, sync::Arc};

use buildkit_gha::{
    content::{self, Store},
    digest::Digest,
    lifecycle::{TaskGuard, Tasks},
    proto::content::{
        AbortRequest, DeleteContentRequest, Info, InfoRequest, ListContentRequest,
        ListStatusesRequest, ReadContentRequest, StatusRequest, UpdateRequest, WriteAction,
        WriteContentRequest, WriteContentResponse, content_client::ContentClient,
    },
};
use tokio::{net::UnixListener, sync::mpsc};
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tonic::{
    Code, Status, Streaming,
    transport::{Channel, Server},
};

const MIB: usize = 1 << 20;

type Client = ContentClient<Channel>;

/// A server on a directory of its own, and a client of it.
struct Fixture {
    client: Client,
    _server: TaskGuard,
    _directory: tempfile::TempDir,
}

async fn fixture() -> Fixture {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("content.sock");
    let server = serve(directory.path(), &socket);
    Fixture {
        client: connect(&socket).await,
        _server: server,
        _directory: directory,
    }
}

fn serve(root: &Path, socket: &Path) -> TaskGuard {
    let store = Store::open(root).unwrap();
    let incoming = UnixListenerStream::new(UnixListener::bind(socket).unwrap());
    let router = Server::builder().add_service(content::service(Arc::new(store)));
    Tasks::default().spawn_guarded("server", async move {
        router.serve_with_incoming(incoming).await.unwrap();
    })
}

async fn connect(socket: &Path) -> Client {
    let address = format!("unix://{}", socket.display());
    ContentClient::connect(address)
        .await
        .unwrap()
        .max_decoding_message_size(16 * MIB)
        .max_encoding_message_size(64 * MIB)
}

/// The client's side of one Write.
struct Writer {
    requests: mpsc::Sender<WriteContentRequest>,
    answers: Streaming<WriteContentResponse>,
}

impl Writer {
    async fn open(client: &mut Client) -> Self {
        let (requests, receiver) = mpsc::channel(1);
        let answers = client.write(ReceiverStream::new(receiver)).await.unwrap();
        Self {
            requests,
            answers: answers.into_inner(),
        }
    }

    async fn send(&mut self, request: WriteContentRequest) -> Result<WriteContentResponse, Status> {
        self.requests.send(request).await.unwrap();
        let answer = self.answers.message().await?;
        Ok(answer.expect("an answer to each message"))
    }

    async fn write(&mut self, offset: i64, data: &[u8]) -> Result<WriteContentResponse, Status> {
        self.send(WriteContentRequest {
            action: WriteAction::Write.into(),
            offset,
            data: data.to_vec().into(),
            ..Default::default()
        })
        .await
    }

    async fn commit(&mut self, request: WriteContentRequest) -> Result<Digest, Status> {
        let action = WriteAction::Commit.into();
        let answer = self.send(WriteContentRequest { action, ..request }).await?;
        Ok(answer.digest.parse().unwrap())
    }

    /// Ends the call, and waits until the server has ended it too.
    async fn close(mut self) {
        drop(self.requests);
        assert_eq!(self.answers.message().await.unwrap(), None);
    }
}

fn stat(reference: &str) -> WriteContentRequest {
    WriteContentRequest {
        r#ref: reference.to_owned(),
        ..Default::default()
    }
}

/// Writes `content` under labels.
async fn put(client: &mut Client, content: &[u8], labels: &[(&str, &str)]) -> Digest {
    let mut writer = Writer::open(client).await;
    writer.send(stat("put")).await.unwrap();
    writer.write(0, content).await.unwrap();
    let labels = labels
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let commit = WriteContentRequest {
        offset: content.len().try_into().unwrap(),
        labels: labels.collect(),
        ..Default::default()
    };
    writer.commit(commit).await.unwrap()
}

/// Reads a range, and gives the largest answer's size too.
async fn read(
    client: &mut Client,
    digest: &str,
    offset: i64,
    size: i64,
) -> Result<(Vec<u8>, usize), Status> {
    let request = ReadContentRequest {
        digest: digest.to_owned(),
        offset,
        size,
    };
    let mut answers = client.read(request).await?.into_inner();
    let (mut content, mut largest) = (Vec::new(), 0);
    while let Some(answer) = answers.message().await? {
        assert_eq!(answer.offset, i64::try_from(content.len()).unwrap());
        largest = largest.max(answer.data.len());
        content.extend_from_slice(&answer.data);
    }
    Ok((content, largest))
}

fn code<T: std::fmt::Debug>(result: Result<T, Status>) -> Code {
    result.expect_err("a refusal").code()
}

#[tokio::test]
async fn a_write_in_pieces_goes_on_after_a_break() {
    let mut fixture = fixture().await;
    let client = &mut fixture.client;
    let digest = Digest::sha256("first, second");
    let mut open = stat("ref");
    open.total = 13;
    open.expected = digest.to_string();

    let mut writer = Writer::open(client).await;
    let answer = writer.send(open.clone()).await.unwrap();
    assert_eq!((answer.offset, answer.total), (0, 13));
    let answer = writer.write(0, b"first").await.unwrap();
    assert_eq!(answer.offset, 5);
    assert_eq!(answer.digest, Digest::sha256("first").to_string());
    writer.close().await;

    let status = client
        .status(StatusRequest {
            r#ref: "ref".into(),
        })
        .await;
    let status = status.unwrap().into_inner().status.unwrap();
    assert_eq!((status.offset, status.total), (5, 13));
    assert_eq!(status.expected, digest.to_string());

    let mut writer = Writer::open(client).await;
    assert_eq!(writer.send(open).await.unwrap().offset, 5);
    writer.write(5, b", second").await.unwrap();
    let commit = WriteContentRequest {
        offset: 13,
        ..Default::default()
    };
    assert_eq!(writer.commit(commit).await.unwrap(), digest);
    let (content, _) = read(client, &digest.to_string(), 0, 0).await.unwrap();
    assert_eq!(content, b"first, second");
    let gone = client
        .status(StatusRequest {
            r#ref: "ref".into(),
        })
        .await;
    assert_eq!(code(gone), Code::NotFound);
}

#[tokio::test]
async fn what_does_not_fit_is_not_committed() {
    let mut fixture = fixture().await;
    let client = &mut fixture.client;
    let digest = Digest::sha256("content");
    let wrong_size = WriteContentRequest {
        offset: 7,
        total: 8,
        ..Default::default()
    };
    let wrong_digest = WriteContentRequest {
        offset: 7,
        expected: Digest::sha256("other").to_string(),
        ..Default::default()
    };
    let wrong_offset = WriteContentRequest {
        offset: 6,
        ..Default::default()
    };
    for (commit, expected) in [
        (wrong_size, Code::FailedPrecondition),
        (wrong_digest, Code::FailedPrecondition),
        (wrong_offset, Code::OutOfRange),
    ] {
        let mut writer = Writer::open(client).await;
        let at = writer.send(stat("ref")).await.unwrap().offset;
        writer
            .write(at, &b"content"[usize::try_from(at).unwrap()..])
            .await
            .unwrap();
        assert_eq!(code(writer.commit(commit).await), expected);
    }
    let request = InfoRequest {
        digest: digest.to_string(),
    };
    assert_eq!(code(client.info(request).await), Code::NotFound);
}

#[tokio::test]
async fn a_ref_has_one_writer() {
    let mut fixture = fixture().await;
    let client = &mut fixture.client;
    let mut first = Writer::open(client).await;
    first.send(stat("ref")).await.unwrap();
    let mut second = Writer::open(client).await;
    assert_eq!(code(second.send(stat("ref")).await), Code::Unavailable);
    first.close().await;
    let mut third = Writer::open(client).await;
    third.send(stat("ref")).await.unwrap();
}

#[tokio::test]
async fn content_that_exists_is_not_written_again() {
    let mut fixture = fixture().await;
    let client = &mut fixture.client;
    let digest = put(client, b"content", &[]).await;
    let mut writer = Writer::open(client).await;
    let mut open = stat("again");
    open.expected = digest.to_string();
    assert_eq!(code(writer.send(open).await), Code::AlreadyExists);
}

#[tokio::test]
async fn an_aborted_ingest_is_gone() {
    let mut fixture = fixture().await;
    let client = &mut fixture.client;
    let mut writer = Writer::open(client).await;
    writer.send(stat("ref")).await.unwrap();
    writer.write(0, b"some").await.unwrap();
    writer.close().await;
    let filters = vec!["ref==ref".to_owned(), "ref~=/^x/".to_owned()];
    let found = client.list_statuses(ListStatusesRequest { filters }).await;
    assert_eq!(found.unwrap().into_inner().statuses.len(), 1);

    let abort = AbortRequest {
        r#ref: "ref".into(),
    };
    client.abort(abort.clone()).await.unwrap();
    assert_eq!(code(client.abort(abort).await), Code::NotFound);
    let all = client.list_statuses(ListStatusesRequest::default()).await;
    assert!(all.unwrap().into_inner().statuses.is_empty());
}

#[tokio::test]
async fn ranges_are_read_in_small_answers() {
    let mut fixture = fixture().await;
    let client = &mut fixture.client;
    let content: Vec<u8> = (0..=250).cycle().take(2 * MIB + 123).collect();
    let size = i64::try_from(content.len()).unwrap();
    let digest = put(client, &content, &[]).await.to_string();

    let (all, largest) = read(client, &digest, 0, 0).await.unwrap();
    assert!(all == content);
    assert_eq!(largest, MIB);
    let (middle, _) = read(client, &digest, 1000, 24).await.unwrap();
    assert_eq!(middle, content[1000..1024]);
    let (rest, _) = read(client, &digest, size - 3, i64::MAX).await.unwrap();
    assert_eq!(rest, content[content.len() - 3..]);
    assert!(read(client, &digest, size, 0).await.unwrap().0.is_empty());

    for (offset, wanted, expected) in [
        (size + 1, 0, Code::OutOfRange),
        (-1, 0, Code::InvalidArgument),
        (0, -1, Code::InvalidArgument),
    ] {
        let refused = read(client, &digest, offset, wanted).await;
        assert_eq!(code(refused), expected);
    }
    let unknown = Digest::sha256("unknown").to_string();
    assert_eq!(code(read(client, &unknown, 0, 0).await), Code::NotFound);
    for malformed in ["", "text", "sha512:00"] {
        let refused = read(client, malformed, 0, 0).await;
        assert_eq!(code(refused), Code::InvalidArgument);
    }
}

#[tokio::test]
async fn labels_are_kept_changed_and_searched() {
    let mut fixture = fixture().await;
    let client = &mut fixture.client;
    let first = put(client, b"first", &[("a.b/c", "1"), ("kind", "x")]).await;
    let second = put(client, b"second", &[("kind", "y")]).await;

    let update = UpdateRequest {
        info: Some(Info {
            digest: first.to_string(),
            labels: [("kind".to_owned(), "z".to_owned())].into(),
            ..Default::default()
        }),
        update_mask: Some(prost_types::FieldMask {
            paths: vec!["labels.kind".into(), "labels.a.b/c".into()],
        }),
    };
    let updated = client.update(update.clone()).await.unwrap().into_inner();
    let updated = updated.info.unwrap();
    assert_eq!(updated.labels, update.info.unwrap().labels);
    assert_eq!(updated.size, 5);

    for (filter, expected) in [
        ("labels.kind", vec![first, second]),
        ("labels.\"kind\"==z", vec![first]),
        ("labels.kind~=/[x-y]/,size==6", vec![second]),
        ("labels.\"a.b/c\"", vec![]),
    ] {
        let filters = vec![filter.to_owned()];
        let mut answers = client
            .list(ListContentRequest { filters })
            .await
            .unwrap()
            .into_inner();
        let mut found = Vec::new();
        while let Some(answer) = answers.message().await.unwrap() {
            found.extend(
                answer
                    .info
                    .iter()
                    .map(|info| info.digest.parse::<Digest>().unwrap()),
            );
        }
        found.sort();
        let mut expected = expected;
        expected.sort();
        assert_eq!(found, expected, "{filter}");
    }
    let filters = vec!["labels.".to_owned()];
    let refused = client.list(ListContentRequest { filters }).await;
    assert_eq!(code(refused), Code::InvalidArgument);

    let delete = DeleteContentRequest {
        digest: first.to_string(),
    };
    client.delete(delete.clone()).await.unwrap();
    assert_eq!(code(client.delete(delete).await), Code::NotFound);
}

#[tokio::test]
async fn a_message_over_the_limit_harms_only_its_call() {
    let mut fixture = fixture().await;
    let client = &mut fixture.client;
    let mut good = Writer::open(client).await;
    good.send(stat("good")).await.unwrap();
    let mut bad = Writer::open(client).await;
    bad.send(stat("bad")).await.unwrap();

    let refused = bad.write(0, &vec![0; 16 * MIB]).await;
    assert_eq!(code(refused), Code::OutOfRange);
    let answer = good.write(0, &vec![0; 15 * MIB]).await.unwrap();
    assert_eq!(answer.offset, 15 << 20);
}
