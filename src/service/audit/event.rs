//! What the audit log tells.

use std::net::IpAddr;

use serde::{Serialize, Serializer};

use crate::service::{
    grant::TokenIdentity,
    store::{Entry, TokenRecord, Usage},
};

/// Longest text of an event that somebody without rights has caused.
const MAX_TEXT_CHARS: usize = 512;

/// What has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::service) enum EventKind {
    /// Somebody has deleted an entry.
    EntryDeleted,
    /// The service has evicted entries.
    EntriesEvicted,
    /// A request had no token that is good here.
    TokenRefused,
    /// A request had a token that was revoked.
    RevokedTokenUsed,
    /// A token does not allow what was asked for.
    AccessDenied,
    /// A signed URL is not good, or not any more.
    SignedUrlRefused,
    /// So many of the four before were left out.
    DenialsLeftOut,
    /// A token was made.
    TokenMinted,
    /// Somebody has seen which tokens there are.
    TokensListed,
    /// A token was revoked.
    TokenRevoked,
}

impl EventKind {
    /// True for what anybody can cause who reaches the service.
    pub(super) fn is_denial(self) -> bool {
        let denials = [
            Self::TokenRefused,
            Self::RevokedTokenUsed,
            Self::AccessDenied,
            Self::SignedUrlRefused,
        ];
        denials.contains(&self)
    }

    fn name(self) -> &'static str {
        match self {
            Self::EntryDeleted => "entry_deleted",
            Self::EntriesEvicted => "entries_evicted",
            Self::TokenRefused => "token_refused",
            Self::RevokedTokenUsed => "revoked_token_used",
            Self::AccessDenied => "access_denied",
            Self::SignedUrlRefused => "signed_url_refused",
            Self::DenialsLeftOut => "denials_left_out",
            Self::TokenMinted => "token_minted",
            Self::TokensListed => "tokens_listed",
            Self::TokenRevoked => "token_revoked",
        }
    }

    fn message(self) -> &'static str {
        match self {
            Self::EntryDeleted => "an entry was deleted",
            Self::EntriesEvicted => "entries were evicted",
            Self::TokenRefused => "a token was refused",
            Self::RevokedTokenUsed => "a revoked token was used",
            Self::AccessDenied => "access was denied",
            Self::SignedUrlRefused => "a signed URL was refused",
            Self::DenialsLeftOut => "refusals were left out",
            Self::TokenMinted => "a token was made",
            Self::TokensListed => "tokens were listed",
            Self::TokenRevoked => "a token was revoked",
        }
    }
}

impl Serialize for EventKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// Who has caused something over the network.
#[derive(Debug, Clone, Default)]
pub(in crate::service) struct Actor {
    /// Where the request came from.
    pub(in crate::service) client: Option<IpAddr>,
    /// Its token, if that has an id.
    pub(in crate::service) token: Option<TokenIdentity>,
}

/// One event. What does not belong to its kind is absent.
#[derive(Debug, Clone, Serialize)]
pub(in crate::service) struct AuditEvent {
    pub(in crate::service) event: EventKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::service) client: Option<IpAddr>,
    /// The name of a token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::service) token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::service) token_id: Option<String>,
    /// What a token allows, in a few words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::service) grant: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::service) repository: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::service) scope: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::service) key: Option<String>,
    /// Bytes of one entry, or of all that are meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::service) size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::service) entries: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::service) reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::service) left_out: Option<u64>,
}

impl AuditEvent {
    /// An event of which nothing else is known.
    pub(in crate::service) fn new(event: EventKind) -> Self {
        Self {
            event,
            client: None,
            token: None,
            token_id: None,
            grant: None,
            repository: None,
            scope: None,
            key: None,
            size: None,
            entries: None,
            reason: None,
            left_out: None,
        }
    }

    /// An event that somebody has caused.
    pub(in crate::service) fn of_actor(event: EventKind, actor: Actor) -> Self {
        let (name, id) = actor.token.map(|token| (token.name, token.id)).unzip();
        Self {
            client: actor.client,
            token: name,
            token_id: id,
            ..Self::new(event)
        }
    }

    /// Somebody has deleted an entry.
    pub(in crate::service) fn deleted(entry: Entry, actor: Actor) -> Self {
        Self {
            repository: Some(entry.name.repository),
            scope: Some(entry.name.scope),
            key: Some(entry.name.key),
            size: Some(entry.size),
            ..Self::of_actor(EventKind::EntryDeleted, actor)
        }
    }

    /// The service has evicted entries.
    pub(in crate::service) fn evicted(usage: Usage) -> Self {
        Self {
            entries: Some(usage.entries),
            size: Some(usage.bytes),
            ..Self::new(EventKind::EntriesEvicted)
        }
    }

    /// Something has happened to a token.
    pub(in crate::service) fn of_token(event: EventKind, token: &TokenRecord) -> Self {
        Self {
            token: Some(token.name.clone()),
            token_id: Some(token.id.clone()),
            grant: Some(token.grant.to_string()),
            ..Self::new(event)
        }
    }

    /// Cuts texts that somebody else has chosen.
    pub(super) fn shorten(&mut self) {
        let texts = [
            &mut self.repository,
            &mut self.scope,
            &mut self.key,
            &mut self.reason,
        ];
        for text in texts.into_iter().flatten() {
            if let Some((end, _)) = text.char_indices().nth(MAX_TEXT_CHARS) {
                text.truncate(end);
            }
        }
    }

    /// Writes it to the log of the process.
    pub(in crate::service) fn log(&self) {
        tracing::info!(
            target: "buildkit_gha::audit",
            event = self.event.name(),
            token = self.token,
            token_id = self.token_id,
            grant = self.grant,
            repository = self.repository,
            scope = self.scope,
            key = self.key,
            size = self.size,
            entries = self.entries,
            client = self.client.map(tracing::field::display),
            reason = self.reason,
            left_out = self.left_out,
            "{}",
            self.event.message()
        );
    }
}
