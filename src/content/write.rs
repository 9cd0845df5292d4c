//! The conversation of a Write: one message in, one step out, as plain data.
//!
//! A client opens an ingest with its first message, then sends STAT, WRITE and COMMIT in any
//! order and waits for the answer to each. Total and expected digest may come with any message;
//! the last one counts. Offset 0 on an ingest that has bytes already starts it again, which is how
//! containerd's clients truncate.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{
    convert,
    host::{Commit, Error, IngestSpec},
};
use crate::{
    digest::Digest,
    proto::content::{WriteAction, WriteContentRequest},
};

/// One message of the client, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    pub action: WriteAction,
    pub offset: u64,
    pub total: Option<u64>,
    pub expected: Option<Digest>,
    pub data: Bytes,
    pub labels: BTreeMap<String, String>,
}

/// What to do with the ingest, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    /// Forget what was written.
    pub restart: bool,
    /// Append this, unless it is empty.
    pub data: Bytes,
    /// Commit, which ends the conversation.
    pub commit: Option<Commit>,
}

/// What the client has said of the whole so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Conversation {
    total: Option<u64>,
    expected: Option<Digest>,
}

impl Message {
    /// Checks a message; its ref is handled by [`opening`].
    pub fn parse(request: WriteContentRequest) -> Result<Self, Error> {
        let action = WriteAction::try_from(request.action).map_err(|_| {
            Error::InvalidArgument(format!("there is no write action {}", request.action))
        })?;
        let total = convert::count("total", request.total)?;
        Ok(Self {
            action,
            offset: convert::count("offset", request.offset)?,
            total: (total > 0).then_some(total),
            expected: convert::optional_digest(&request.expected)?,
            data: request.data,
            labels: convert::sorted(request.labels),
        })
    }
}

/// The first message: what to open, and what to do then.
pub(super) fn opening(mut request: WriteContentRequest) -> Result<(IngestSpec, Message), Error> {
    let reference = convert::reference(std::mem::take(&mut request.r#ref))?;
    let message = Message::parse(request)?;
    let spec = IngestSpec {
        reference,
        total: message.total,
        expected: message.expected,
    };
    Ok((spec, message))
}

impl Conversation {
    /// Begins with what the host knows of the ingest, which may have been opened before.
    pub fn new(spec: &IngestSpec) -> Self {
        Self {
            total: spec.total,
            expected: spec.expected,
        }
    }

    /// The size of the whole, if the client said so.
    pub fn total(&self) -> Option<u64> {
        self.total
    }

    /// What `message` asks for when `offset` bytes have been written.
    pub fn step(&mut self, message: Message, offset: u64) -> Result<Step, Error> {
        self.total = message.total.or(self.total);
        self.expected = message.expected.or(self.expected);
        if message.action == WriteAction::Stat {
            return Ok(Step {
                restart: false,
                data: Bytes::new(),
                commit: None,
            });
        }
        if message.offset != 0 && message.offset != offset {
            return Err(Error::OutOfRange(format!(
                "a write at {} does not follow the {offset} bytes that were written",
                message.offset
            )));
        }
        let commit = (message.action == WriteAction::Commit).then_some(Commit {
            total: self.total,
            expected: self.expected,
            labels: message.labels,
        });
        Ok(Step {
            restart: message.offset == 0 && offset > 0,
            data: message.data,
            commit,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(action: WriteAction, offset: i64, data: &'static [u8]) -> WriteContentRequest {
        WriteContentRequest {
            action: action.into(),
            offset,
            data: Bytes::from_static(data),
            ..Default::default()
        }
    }

    fn step(request: WriteContentRequest, written: u64) -> Result<Step, Error> {
        Conversation::default().step(Message::parse(request)?, written)
    }

    #[test]
    fn a_stat_touches_nothing() {
        let stat = step(request(WriteAction::Stat, 0, b"ignored"), 7).expect("a good message");
        assert_eq!(
            stat,
            Step {
                restart: false,
                data: Bytes::new(),
                commit: None
            }
        );
    }

    #[test]
    fn a_write_appends_at_the_offset_only() {
        let write = step(request(WriteAction::Write, 7, b"more"), 7).expect("a good message");
        assert!(!write.restart);
        assert_eq!(write.data, "more");
        assert_eq!(write.commit, None);
        for wrong in [6, 8] {
            let refused = step(request(WriteAction::Write, wrong, b"more"), 7);
            assert!(matches!(refused, Err(Error::OutOfRange(_))), "{wrong}");
        }
    }

    #[test]
    fn offset_zero_starts_again() {
        let again = step(request(WriteAction::Write, 0, b"all"), 7).expect("a good message");
        assert!(again.restart);
        let first = step(request(WriteAction::Write, 0, b"all"), 0).expect("a good message");
        assert!(!first.restart);
    }

    #[test]
    fn a_commit_holds_what_was_said_before() {
        let digest = Digest::sha256("whole");
        let open = WriteContentRequest {
            r#ref: "a ref".into(),
            total: 9,
            expected: digest.to_string(),
            ..Default::default()
        };
        let (spec, _) = opening(open).expect("a good message");
        assert_eq!(spec.total, Some(9));
        let mut conversation = Conversation::new(&spec);

        let mut last = request(WriteAction::Commit, 4, b"rest");
        last.total = 5;
        last.labels.insert("key".into(), "value".into());
        let step = conversation
            .step(Message::parse(last).expect("a good message"), 4)
            .expect("a good offset");
        assert_eq!(step.data, "rest");
        let commit = step.commit.expect("a commit");
        assert_eq!(commit.total, Some(5), "the last total counts");
        assert_eq!(commit.expected, Some(digest), "the first digest stays");
        assert_eq!(commit.labels["key"], "value");
    }

    #[test]
    fn nonsense_is_an_invalid_argument() {
        let mut digest = request(WriteAction::Stat, 0, b"");
        digest.expected = "sha512:00".into();
        let mut total = request(WriteAction::Stat, 0, b"");
        total.total = -1;
        let mut action = request(WriteAction::Stat, 0, b"");
        action.action = 3;
        let offset = request(WriteAction::Write, -1, b"");
        for bad in [digest, total, action, offset] {
            let refused = Message::parse(bad.clone());
            assert!(matches!(refused, Err(Error::InvalidArgument(_))), "{bad:?}");
        }
        let nameless = opening(request(WriteAction::Stat, 0, b""));
        assert!(matches!(nameless, Err(Error::InvalidArgument(_))));
    }
}
