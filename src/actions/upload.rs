//! Filling a reserved key: parts in parallel, then the confirmation.

use std::{
    io,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{
    Api, Call, Client, Error, Kind, Progress, Reservation, Source, azure,
    entry::UploadTarget,
    plan::{Part, Plan},
    policy::Attempt,
    request::Request,
    response::Response,
    source::InMemory,
    v1, v2,
};

impl Client {
    /// Fills a reserved key with the `size` bytes of `source` and makes the entry visible. `Ok`
    /// means that the service has confirmed it.
    ///
    /// An expired upload URL ([`Kind::UrlExpired`]) ends the upload: the service gives another one
    /// only with another reservation, and refuses that while the first is open.
    pub async fn upload(
        &self,
        reservation: &Reservation,
        size: u64,
        source: Arc<dyn Source>,
        progress: Progress,
    ) -> Result<(), Error> {
        let plan = Plan::new(size, self.policy.config().part_bytes).ok_or_else(|| {
            let message = format!("{size} bytes are more than one entry can have");
            self.error(Call::UploadPart, Kind::Rejected(413), &message)
        })?;
        let upload = Upload {
            client: self,
            target: &reservation.upload,
            source: &*source,
            progress: &progress,
            confirmed: AtomicU64::new(0),
        };
        upload.run(plan).await?;
        self.finish(reservation, size).await
    }

    /// Fills a reserved key with bytes in memory.
    pub async fn upload_bytes(
        &self,
        reservation: &Reservation,
        content: Bytes,
    ) -> Result<(), Error> {
        let size = content.len() as u64;
        let source = Arc::new(InMemory(content));
        self.upload(reservation, size, source, Arc::new(|_| {}))
            .await
    }

    /// Makes the entry visible. After an answer that was lost the entry is looked for before the
    /// call is repeated: a second finish of a finished entry is an error that says nothing.
    async fn finish(&self, reservation: &Reservation, size: u64) -> Result<(), Error> {
        self.policy
            .retrying(Call::Finish, |attempt| async move {
                if attempt.after_doubt && self.is_there(reservation, size).await? {
                    return Ok(());
                }
                let Err(error) = self.finish_once(&attempt, reservation, size).await else {
                    return Ok(());
                };
                let refused = !error.kind.outcome_unknown();
                if refused && attempt.after_doubt && self.is_there(reservation, size).await? {
                    return Ok(());
                }
                Err(error)
            })
            .await
    }

    async fn finish_once(
        &self,
        attempt: &Attempt,
        reservation: &Reservation,
        size: u64,
    ) -> Result<(), Error> {
        let token = self.token();
        match (self.api(), &reservation.upload) {
            (Api::V1(base), UploadTarget::V1 { cache_id }) => {
                let request = v1::commit(base, token, *cache_id, size);
                attempt.exchange(request, Response::success).await
            }
            (Api::V2(base), UploadTarget::V2 { .. }) => {
                let request = v2::finalize(base, token, reservation, size);
                attempt.exchange(request, v2::read_finalize).await
            }
            _ => Err(self.foreign()),
        }
    }

    /// Whether the entry can be found under its exact key with its size. An equal entry of another
    /// scope would do as well: it holds what was to be saved.
    async fn is_there(&self, reservation: &Reservation, size: u64) -> Result<bool, Error> {
        let found = self.lookup(&reservation.key, &reservation.version).await?;
        match found.filter(|entry| entry.key == reservation.key) {
            Some(entry) => Ok(self.probe(&entry, 1).await?.total == size),
            None => Ok(false),
        }
    }

    fn foreign(&self) -> Error {
        let message = "the reservation was made with a client of the other API version";
        self.error(Call::UploadPart, Kind::Protocol, message)
    }
}

/// One upload under way.
struct Upload<'a> {
    client: &'a Client,
    target: &'a UploadTarget,
    source: &'a dyn Source,
    progress: &'a Progress,
    confirmed: AtomicU64,
}

impl Upload<'_> {
    async fn run(&self, plan: Plan) -> Result<(), Error> {
        match (self.client.api(), self.target) {
            (Api::V1(base), &UploadTarget::V1 { cache_id }) => {
                let token = self.client.token();
                self.parts(plan, |part, bytes| {
                    v1::upload_part(base, token, cache_id, part.range.clone(), bytes)
                })
                .await
            }
            (Api::V2(_), UploadTarget::V2 { url }) if plan.is_single() => {
                self.part(plan.whole(), |_, bytes| azure::put_blob(url, bytes))
                    .await
            }
            (Api::V2(_), UploadTarget::V2 { url }) => {
                self.parts(plan, |part, bytes| azure::put_block(url, part.index, bytes))
                    .await?;
                let join = azure::put_block_list(url, plan.count());
                self.client.policy.call(join, Response::success).await
            }
            _ => Err(self.client.foreign()),
        }
    }

    /// Sends all parts, some at a time. The first that fails for good ends the others.
    async fn parts<E>(&self, plan: Plan, encode: E) -> Result<(), Error>
    where
        E: Fn(&Part, Bytes) -> Request + Copy,
    {
        // How many of these really run is for the limit of all uploads to say.
        let in_flight = self.client.policy.http().uploads().max();
        stream::iter(plan.parts())
            .map(|part| self.part(part, encode))
            .buffer_unordered(in_flight)
            .try_collect()
            .await
    }

    /// Sends one part. Each attempt takes a permit and memory and reads the bytes anew, so that a
    /// part that waits for its next attempt holds nothing.
    async fn part<E>(&self, part: Part, encode: E) -> Result<(), Error>
    where
        E: Fn(&Part, Bytes) -> Request,
    {
        let length = part.range.end - part.range.start;
        let (part, encode) = (&part, &encode);
        let policy = &self.client.policy;
        policy
            .retrying(Call::UploadPart, |attempt| async move {
                let lost = |error| Error::source_lost(Call::UploadPart, error);
                self.source.available(part.range.end).await.map_err(lost)?;
                let http = policy.http();
                let mut permit = http.uploads().acquire().await;
                let _memory = http.memory(length).await;
                let bytes = self.read(part.range.clone()).await.map_err(lost)?;
                let request = encode(part, bytes);
                let outcome = attempt.exchange(request, Response::success).await;
                permit.record(length, outcome.as_ref().err());
                outcome
            })
            .await?;
        policy.limiter().last_activity.touch();
        self.source.confirmed(part.range.clone());
        let confirmed = self.confirmed.fetch_add(length, Ordering::Relaxed) + length;
        (self.progress)(confirmed);
        Ok(())
    }

    async fn read(&self, range: Range<u64>) -> io::Result<Bytes> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let length = range.end - range.start;
        let bytes = self.source.read(range).await?;
        if bytes.len() as u64 != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(bytes)
    }
}
