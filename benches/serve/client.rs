//! A client of a server as a job is one: a connection that is kept, and a token.

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::{Request, header};

use crate::{
    connection::Connection,
    failure::Failure,
    protocol::{Part, Protocol, get},
    server::Address,
};

/// One of them.
pub struct Client {
    connection: Connection,
    protocol: Protocol,
    authorization: header::HeaderValue,
}

impl Client {
    pub async fn connect(to: &Address) -> Result<Self, Failure> {
        Ok(Self {
            connection: Connection::open(to.socket).await?,
            protocol: to.protocol.clone(),
            authorization: format!("Bearer {}", to.token).parse()?,
        })
    }

    /// Stores an entry in one request for its bytes.
    pub async fn store(&mut self, key: &str, content: Bytes) -> Result<(), Failure> {
        let path = self.reserve(key).await?;
        let size = content.len();
        let put = self.protocol.put(&path, content);
        self.call(put).await?;
        self.commit(&path, key, size).await
    }

    /// The path of an entry's content, if there is one.
    pub async fn look_up(&mut self, key: &str) -> Result<Option<String>, Failure> {
        let answer = self.call(self.protocol.look_up(key)).await?;
        self.protocol.found(&answer)
    }

    /// Reads what is behind a path to its end: how many bytes came.
    pub async fn read(
        &mut self,
        path: &str,
        mut take: impl FnMut(&Bytes),
    ) -> Result<usize, Failure> {
        let mut body = self.connection.send(get(path)).await?.into_body();
        let mut read = 0;
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame?.into_data() {
                read += data.len();
                take(&data);
            }
        }
        Ok(read)
    }

    /// Reserves an entry: the path that its bytes go to.
    pub async fn reserve(&mut self, key: &str) -> Result<String, Failure> {
        let answer = self.call(self.protocol.reserve(key)).await?;
        self.protocol.reserved(&answer)
    }

    /// Sends a part of an entry.
    pub async fn put_part(&mut self, path: &str, part: Part) -> Result<(), Failure> {
        let put = self.protocol.put_part(path, part);
        self.call(put).await.map(drop)
    }

    /// Makes an entry of its first `count` parts.
    pub async fn commit_parts(
        &mut self,
        path: &str,
        key: &str,
        count: usize,
        size: usize,
    ) -> Result<(), Failure> {
        if let Some(join) = self.protocol.join(path, count) {
            self.call(join).await?;
        }
        self.commit(path, key, size).await
    }

    async fn commit(&mut self, path: &str, key: &str, size: usize) -> Result<(), Failure> {
        let answer = self.call(self.protocol.commit(path, key, size)).await?;
        self.protocol.committed(&answer)
    }

    /// Only the service is told who calls: a token for a store's own URL is refused there.
    async fn call(&mut self, mut request: Request<Bytes>) -> Result<Bytes, Failure> {
        let authorization = self.authorization.clone();
        request
            .headers_mut()
            .insert(header::AUTHORIZATION, authorization);
        self.connection.fetch(request).await
    }
}
