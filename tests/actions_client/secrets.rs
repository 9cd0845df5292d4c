//! No token and no signed URL is logged, at any level, by this program or the libraries below it.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use tracing_subscriber::fmt::MakeWriter;

use crate::{
    fake::{Fake, SIGNATURE, TOKEN_MARK, say},
    v1::reserve,
    v2::{healthy, method},
};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn no_token_and_no_signature_is_logged_or_told() {
    let log = Log::default();
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(log.clone())
        .init();
    let fake = Fake::start(|seen, n| match n {
        // A proxy that repeats what it was asked for.
        0 => say(
            502,
            format!("{} {}", seen.line, seen.header("authorization")),
        ),
        n if n > 4 && method(seen).is_empty() => say(403, seen.line.clone()),
        _ => healthy(seen),
    })
    .await;
    let client = fake.v2();
    let reservation = reserve(&client).await;
    client
        .upload_bytes(&reservation, Bytes::from_static(b"hello"))
        .await
        .unwrap();
    let entry = client.lookup("key#1", "v").await.unwrap().unwrap();
    let error = client.probe(&entry, 1).await.unwrap_err();
    let told = format!("{error} {error:?} {client:?} {entry:?} {reservation:?}");

    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(
        log.contains("call failed") && log.contains("waiting to try again"),
        "{log}"
    );
    assert!(
        log.contains("reqwest") || log.contains("hyper"),
        "libraries are heard: {log}"
    );
    for mark in [TOKEN_MARK, SIGNATURE] {
        for text in [&log, &told] {
            let found = text.lines().find(|line| line.contains(mark));
            assert_eq!(found, None);
        }
    }
}
