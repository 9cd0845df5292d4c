//! What the operator set for the whole gateway, and what wins over an entry's attributes.
//!
//! A service is a URL and the token for it. Both come from the operator or both from the entry (ADR
//! 35): a build that named the URL for the operator's token would have it sent wherever it likes.

use std::{io, path::PathBuf};

use rustix::fs::OFlags;
use tokio::io::AsyncReadExt as _;
use url::Url;
use zeroize::Zeroizing;

use crate::secret::Secret;

/// Tokens of the Actions cache have one or two KiB; what is much longer is another file.
const MAX_TOKEN_BYTES: u64 = 64 << 10;

/// What the operator set and what wins over an entry's attributes.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// The service that takes the place of every entry's.
    pub service: OperatorService,
    /// `GITHUB_API_URL`.
    pub github_api_url: Option<Url>,
}

/// What the operator said of the service of all builds.
#[derive(Debug, Clone, Default)]
pub enum OperatorService {
    /// Nothing: each entry names its own.
    #[default]
    Unset,
    /// One half of a service, which is ignored.
    Half {
        /// The variable that is set.
        set: &'static str,
        /// The one that is not.
        unset: &'static str,
    },
    /// All of it.
    Set {
        /// `BUILDKIT_GHA_URL`. The API there is v2 unless the entry says `version=1`.
        url: Url,
        /// The token for it.
        token: OperatorToken,
    },
}

/// Where the operator's token is.
#[derive(Debug, Clone)]
pub enum OperatorToken {
    /// `BUILDKIT_GHA_TOKEN`.
    Given(Secret),
    /// `BUILDKIT_GHA_TOKEN_FILE`, which [`Overrides::with_current_token`] reads.
    File(PathBuf),
}

/// The variables, for messages.
const URL: &str = "BUILDKIT_GHA_URL";
const TOKEN: &str = "BUILDKIT_GHA_TOKEN";
const TOKEN_FILE: &str = "BUILDKIT_GHA_TOKEN_FILE";

/// Why the file gives no token. Nothing of what it holds is shown.
#[derive(Debug, thiserror::Error)]
#[error("{TOKEN_FILE}: {path}: {why}; it is read again for the next build")]
pub(crate) struct TokenFileError {
    path: PathBuf,
    why: TokenFileReason,
}

#[derive(Debug, thiserror::Error)]
enum TokenFileReason {
    #[error("{0}")]
    Read(io::Error),
    #[error("it is not a regular file")]
    Kind,
    #[error("the file is empty")]
    Empty,
    #[error("the file is longer than a token can be")]
    TooLong,
}

impl OperatorToken {
    fn variable(&self) -> &'static str {
        match self {
            Self::Given(_) => TOKEN,
            Self::File(_) => TOKEN_FILE,
        }
    }
}

impl OperatorService {
    /// What was set: all of a service, one half of it, or nothing.
    pub fn new(url: Option<Url>, token: Option<OperatorToken>) -> Self {
        match (url, token) {
            (None, None) => Self::Unset,
            (Some(_), None) => Self::Half {
                set: URL,
                unset: TOKEN,
            },
            (None, Some(token)) => Self::Half {
                set: token.variable(),
                unset: URL,
            },
            (Some(url), Some(token)) => Self::Set { url, token },
        }
    }

    /// Its URL, if all of it was set.
    pub fn url(&self) -> Option<&Url> {
        match self {
            Self::Set { url, .. } => Some(url),
            Self::Unset | Self::Half { .. } => None,
        }
    }

    /// What people must know who have set one half.
    pub fn warning(&self) -> Option<String> {
        let Self::Half { set, unset } = self else {
            return None;
        };
        Some(format!(
            "{set} is set without {unset} and is ignored: URL and token of a cache service come \
             from one side, so builds use the service and the token that their own entries name; \
             set both on the gateway, or neither"
        ))
    }
}

impl Overrides {
    /// These, with the token that the file holds now.
    pub(crate) async fn with_current_token(&self) -> Result<Self, TokenFileError> {
        let mut overrides = self.clone();
        if let OperatorService::Set { token, .. } = &mut overrides.service
            && let OperatorToken::File(path) = token
        {
            let read = read(path).await.map_err(|why| TokenFileError {
                path: path.clone(),
                why,
            })?;
            *token = OperatorToken::Given(read);
        }
        Ok(overrides)
    }
}

async fn read(path: &PathBuf) -> Result<Secret, TokenFileReason> {
    let mut text = Zeroizing::new(String::new());
    // To open a pipe, or to read from it, is to wait for its writer: a build would hang.
    let file = tokio::fs::File::options()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(path)
        .await
        .map_err(TokenFileReason::Read)?;
    let metadata = file.metadata().await.map_err(TokenFileReason::Read)?;
    if !metadata.is_file() {
        return Err(TokenFileReason::Kind);
    }
    let mut file = file.take(MAX_TOKEN_BYTES + 1);
    let length = file
        .read_to_string(&mut text)
        .await
        .map_err(TokenFileReason::Read)?;
    match text.trim() {
        _ if length as u64 > MAX_TOKEN_BYTES => Err(TokenFileReason::TooLong),
        "" => Err(TokenFileReason::Empty),
        token => Ok(Secret::new(token)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_file_is_read_again_each_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let url = Url::parse("http://cache.example/").unwrap();
        let overrides = Overrides {
            service: OperatorService::new(Some(url), Some(OperatorToken::File(path.clone()))),
            ..Overrides::default()
        };
        let read = async || overrides.with_current_token().await;
        let missing = read().await.unwrap_err().to_string();
        assert!(missing.contains(path.to_str().unwrap()), "{missing}");
        for (content, expected) in [("one\n", "one"), ("  two", "two")] {
            std::fs::write(&path, content).unwrap();
            let now = read().await.unwrap().service;
            let OperatorService::Set {
                token: OperatorToken::Given(token),
                ..
            } = now
            else {
                panic!("{now:?}")
            };
            assert_eq!(token.expose(), expected);
        }
        std::fs::write(&path, " \n").unwrap();
        assert!(read().await.unwrap_err().to_string().contains("empty"));
        std::fs::write(&path, "x".repeat(70_000)).unwrap();
        assert!(read().await.unwrap_err().to_string().contains("longer"));
    }

    #[test]
    fn one_half_of_a_service_is_none_and_is_said() {
        let url = || Url::parse("http://cache.example/").ok();
        let given = || OperatorToken::Given(Secret::new("hunter2"));
        let file = || OperatorToken::File("/token".into());
        for (url, token, words) in [
            (
                url(),
                None,
                "BUILDKIT_GHA_URL is set without BUILDKIT_GHA_TOKEN",
            ),
            (
                None,
                Some(given()),
                "BUILDKIT_GHA_TOKEN is set without BUILDKIT_GHA_URL",
            ),
            (
                None,
                Some(file()),
                "BUILDKIT_GHA_TOKEN_FILE is set without BUILDKIT_GHA_URL",
            ),
        ] {
            let said = OperatorService::new(url, token).warning().unwrap();
            assert!(said.starts_with(words), "{said}");
            assert!(!said.contains("hunter2"), "{said}");
        }
        assert!(OperatorService::new(None, None).warning().is_none());
        assert!(
            OperatorService::new(url(), Some(given()))
                .warning()
                .is_none()
        );
    }
}
