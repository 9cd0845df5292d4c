//! Reading the bytes of an entry: whole or a range, through a signed URL that may expire.

use std::ops::Range;

use bytes::Bytes;
use futures_util::{
    StreamExt as _,
    stream::{self, BoxStream},
};

use super::{
    Call, Client, Entry, Error, Kind, Location,
    location::UrlState,
    policy::{Attempt, CallPolicy},
    ranges,
    response::Response,
};
use crate::secret::SecretUrl;

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
        let asked = &asked;
        let decode = |response: Response| async move {
            let total = ranges::total(&response, Some(asked.end))?;
            let length = asked.end.min(total).min(head);
            Ok(Probe {
                total,
                head: ranges::first(response, length).await?,
            })
        };
        self.with_url(entry, Call::Probe, |attempt, url| async move {
            let request = ranges::get(Call::Probe, &url, Some(asked));
            attempt.exchange(request, decode).await
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
        let check = |response: Response| async move {
            ranges::check_range(&response, asked)?;
            Ok(response)
        };
        let open = |attempt: Attempt, url: SecretUrl| async move {
            let request = ranges::get(Call::Download, &url, Some(asked));
            Ok((attempt.exchange(request, check).await?, url))
        };
        let (response, url) = self.with_url(entry, Call::Download, open).await?;
        let body = Body {
            policy: self.policy.clone(),
            location: entry.location.clone(),
            url,
            response,
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
        let decode = |response: Response| async move {
            let total = ranges::total(&response, None)?;
            if total > limit {
                return Err(response.protocol(&format!(
                    "the entry has {total} bytes, more than the {limit} that are read"
                )));
            }
            ranges::first(response, total).await
        };
        self.with_url(entry, Call::Probe, |attempt, url| async move {
            let request = ranges::get(Call::Probe, &url, None);
            attempt.exchange(request, decode).await
        })
        .await
    }

    /// Makes attempts with the entry's URL, and with a renewed one once it has expired or stalled.
    async fn with_url<T, F, Fut>(&self, entry: &Entry, call: Call, attempt: F) -> Result<T, Error>
    where
        F: Fn(Attempt, SecretUrl) -> Fut,
        Fut: Future<Output = Result<T, Error>>,
    {
        let run = &attempt;
        let attempt = |attempt: Attempt| async move {
            let url = self.url(entry).await?;
            let outcome = run(attempt, url.clone()).await;
            if let Err(error) = &outcome {
                entry.location.read_failed(&url, &error.kind).await;
            }
            outcome
        };
        match self.policy.retrying(call, attempt).await {
            Err(error) if error.kind == Kind::UrlExpired => {
                self.policy.retrying(call, attempt).await
            }
            outcome => outcome,
        }
    }

    /// The entry's URL, or a new one where that is in doubt. The lock is held meanwhile: many
    /// readers of one entry make one lookup.
    async fn url(&self, entry: &Entry) -> Result<SecretUrl, Error> {
        let mut signed = entry.location.lock().await;
        let found = match signed.state {
            UrlState::Good => return Ok(signed.url.clone()),
            UrlState::Stalled | UrlState::Expired => self.lookup(&entry.key, &entry.version).await,
        };
        match found {
            Ok(Some(found)) if found.key == entry.key => {
                *signed = found.location.lock().await.clone();
            }
            Ok(_) => {
                let message =
                    "the entry is gone: its URL is no longer good and it is not found again";
                return Err(self.error(Call::Lookup, Kind::NotFound, message));
            }
            Err(error) if signed.state == UrlState::Expired => return Err(error),
            // The old URL is as good as any.
            Err(_) => signed.state = UrlState::Good,
        }
        Ok(signed.url.clone())
    }
}

/// The rest of a ranged response.
struct Body {
    policy: CallPolicy,
    location: Location,
    url: SecretUrl,
    response: Response,
    left: u64,
}

impl Body {
    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        if self.left == 0 {
            return Ok(None);
        }
        let chunk = self.policy.in_time(self.response.chunk()).await;
        let chunk = chunk.ok_or_else(|| self.policy.out_of_time(Call::Download, None))?;
        if let Err(error) = &chunk {
            self.location.read_failed(&self.url, &error.kind).await;
        }
        let Some(mut chunk) = chunk? else {
            return Err(ranges::cut_off(&self.response, self.left));
        };
        // More than was asked for: a service that does not know ranges sends everything.
        chunk.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.left -= chunk.len() as u64;
        Ok(Some(chunk))
    }
}
