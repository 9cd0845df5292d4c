//! Reading the bytes of an entry: whole or a range, through a signed URL that may expire.

use std::{fmt, ops::Range, sync::Arc};

use bytes::{Bytes, BytesMut};
use futures_util::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use http::{Method, StatusCode, header};
use tokio::sync::Mutex;

use super::{
    Client, Entry, Error, Kind,
    http::{Call, Request},
    response::Response,
};
use crate::{protocol::range::ContentRange, secret::SecretUrl};

/// Where an entry's bytes are: a signed URL, which is replaced when it has expired or stalls.
/// Clones share it.
#[derive(Clone)]
pub struct Location(Arc<Mutex<Place>>);

#[derive(Clone)]
struct Place {
    url: SecretUrl,
    trust: Trust,
}

/// What the last read with a URL told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trust {
    Good,
    /// Nothing moved: another URL may lead elsewhere.
    Stalled,
    Expired,
}

impl Location {
    /// A location that was just learnt.
    pub fn new(url: SecretUrl) -> Self {
        let trust = Trust::Good;
        Self(Arc::new(Mutex::new(Place { url, trust })))
    }

    /// Notes that a read with `url` failed, unless it has been replaced since.
    async fn failed(&self, url: &SecretUrl, kind: &Kind) {
        let trust = match kind {
            Kind::UrlExpired => Trust::Expired,
            Kind::Timeout => Trust::Stalled,
            _ => return,
        };
        let mut place = self.0.lock().await;
        if place.url == *url {
            place.trust = trust;
        }
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// What the first bytes of an entry tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// The size of the whole entry.
    pub total: u64,
    /// Its first bytes: as many as were asked for, or all if there are fewer.
    pub head: Bytes,
}

impl Client {
    /// Reads the first `head` bytes in one request, which also proves that the entry can be read
    /// and how large it is.
    pub async fn probe(&self, entry: &Entry, head: u64) -> Result<Probe, Error> {
        // No range is empty, so at least one byte is asked for.
        let asked = 0..head.max(1);
        self.with_url(entry, Call::Probe, |client, url| {
            let asked = asked.clone();
            async move {
                let answer = client.get(Call::Probe, url, Some(asked.clone())).await?;
                let total = total(&answer, asked.end)?;
                let length = asked.end.min(total).min(head);
                Ok(Probe {
                    total,
                    head: first(answer, length).await?,
                })
            }
        })
        .await
    }

    /// Reads a range in one request. The stream ends after the last byte of the range; if the
    /// connection ends earlier, its last item is the error.
    pub async fn read(
        &self,
        entry: &Entry,
        range: Range<u64>,
    ) -> Result<BoxStream<'static, Result<Bytes, Error>>, Error> {
        if range.is_empty() {
            return Ok(stream::empty().boxed());
        }
        let asked = &range;
        let open = |client: Self, url: SecretUrl| async move {
            let ranged = Some(asked.clone());
            let answer = client.get(Call::Download, url.clone(), ranged).await?;
            check_range(&answer, asked)?;
            Ok((answer, url))
        };
        let (answer, url) = self.with_url(entry, Call::Download, open).await?;
        let body = Body {
            client: self.clone(),
            location: entry.location.clone(),
            url,
            answer,
            left: range.end - range.start,
        };
        let stream = stream::try_unfold(body, |mut body| async move {
            let next = body.next().await?;
            Ok(next.map(|bytes| (bytes, body)))
        });
        Ok(stream.boxed())
    }

    /// Reads all of an entry, which may have `limit` bytes.
    pub async fn read_all(&self, entry: &Entry, limit: u64) -> Result<Bytes, Error> {
        self.with_url(entry, Call::Probe, |client, url| async move {
            let answer = client.get(Call::Probe, url, None).await?;
            let total = total(&answer, u64::MAX)?;
            if total > limit {
                return Err(answer.protocol(&format!(
                    "the entry has {total} bytes, more than the {limit} that are read"
                )));
            }
            first(answer, total).await
        })
        .await
    }

    /// Makes attempts with the entry's URL, and with a renewed one once it has expired or stalled.
    async fn with_url<T, F, Fut>(&self, entry: &Entry, call: Call, attempt: F) -> Result<T, Error>
    where
        F: Fn(Client, SecretUrl) -> Fut,
        Fut: Future<Output = Result<T, Error>>,
    {
        let attempt = &attempt;
        let attempt = |client: Self| async move {
            let url = client.url(entry).await?;
            let outcome = attempt(client, url.clone()).await;
            if let Err(error) = &outcome {
                entry.location.failed(&url, &error.kind).await;
            }
            outcome
        };
        match self.retrying(call, attempt).await {
            Err(error) if error.kind == Kind::UrlExpired => self.retrying(call, attempt).await,
            outcome => outcome,
        }
    }

    /// The entry's URL, or a new one where that is in doubt. The lock is held meanwhile: many
    /// readers of one entry make one lookup.
    async fn url(&self, entry: &Entry) -> Result<SecretUrl, Error> {
        let mut place = entry.location.0.lock().await;
        let found = match place.trust {
            Trust::Good => return Ok(place.url.clone()),
            Trust::Stalled | Trust::Expired => self.lookup(&entry.key, &entry.version).await,
        };
        match found {
            Ok(Some(found)) if found.key == entry.key => {
                *place = found.location.0.lock().await.clone();
            }
            Ok(_) => {
                let message =
                    "the entry is gone: its URL is no longer good and it is not found again";
                return Err(self.error(Call::Lookup, Kind::NotFound, message));
            }
            Err(error) if place.trust == Trust::Expired => return Err(error),
            // The old URL is as good as any.
            Err(_) => place.trust = Trust::Good,
        }
        Ok(place.url.clone())
    }

    async fn get(
        &self,
        call: Call,
        url: SecretUrl,
        range: Option<Range<u64>>,
    ) -> Result<Response, Error> {
        let mut request = Request::blob(call, Method::GET, url);
        if let Some(range) = range {
            let text = format!("bytes={}-{}", range.start, range.end - 1);
            request = request.header_text(header::RANGE, &text);
        }
        self.call(request).await
    }
}

/// The rest of a ranged answer.
struct Body {
    client: Client,
    location: Location,
    url: SecretUrl,
    answer: Response,
    left: u64,
}

impl Body {
    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        if self.left == 0 {
            return Ok(None);
        }
        let chunk = self.client.in_time(self.answer.chunk()).await;
        let chunk = chunk.ok_or_else(|| self.client.out_of_time(Call::Download, None))?;
        if let Err(error) = &chunk {
            self.location.failed(&self.url, &error.kind).await;
        }
        let Some(mut chunk) = chunk? else {
            return Err(cut_off(&self.answer, self.left));
        };
        // More than was asked for: a service that does not know ranges sends everything.
        chunk.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.left -= chunk.len() as u64;
        Ok(Some(chunk))
    }
}

/// Exactly the first `length` bytes of a body.
async fn first(mut answer: Response, length: u64) -> Result<Bytes, Error> {
    let mut bytes = BytesMut::new();
    loop {
        let left = length - bytes.len() as u64;
        if left == 0 {
            return Ok(bytes.freeze());
        }
        let Some(mut chunk) = answer.chunk().await? else {
            return Err(cut_off(&answer, left));
        };
        chunk.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        bytes.extend_from_slice(&chunk);
    }
}

fn cut_off(answer: &Response, missing: u64) -> Error {
    let message = format!("the body ended {missing} bytes too early");
    answer.context().error(Kind::Incomplete, &message)
}

/// The `Content-Range` of a partial answer.
fn content_range(answer: &Response) -> Option<ContentRange> {
    let text = answer.headers().get(header::CONTENT_RANGE)?.to_str().ok()?;
    ContentRange::parse(text).ok()
}

/// The size of the whole entry, of which the bytes up to `end` were asked for.
fn total(answer: &Response, end: u64) -> Result<u64, Error> {
    let total = match answer.status() {
        StatusCode::PARTIAL_CONTENT => content_range(answer).and_then(|got| {
            let total = got.total?;
            (got.range == (0..end.min(total))).then_some(total)
        }),
        // The first byte was asked for and there is none.
        StatusCode::RANGE_NOT_SATISFIABLE => Some(0),
        _ => answer.content_length(),
    };
    total.ok_or_else(|| answer.protocol("the answer does not say how large the entry is"))
}

/// Whether an answer holds what was asked for.
fn check_range(answer: &Response, asked: &Range<u64>) -> Result<(), Error> {
    let fits = match answer.status() {
        StatusCode::PARTIAL_CONTENT => content_range(answer).is_some_and(|got| got.range == *asked),
        StatusCode::RANGE_NOT_SATISFIABLE => false,
        // A service that does not know ranges: all that is asked for is at the front.
        _ => asked.start == 0 && answer.content_length().is_none_or(|all| all >= asked.end),
    };
    if fits {
        return Ok(());
    }
    Err(answer.protocol(&format!(
        "bytes {} to {} were asked for and not given ({})",
        asked.start,
        asked.end,
        answer.status(),
    )))
}
