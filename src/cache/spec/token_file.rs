//! `BUILDKIT_GHA_TOKEN_FILE`: a token that is read again for each build, so that it can be renewed
//! while the gateway runs.

use std::{io, path::PathBuf};

use tokio::io::AsyncReadExt as _;

use super::Overrides;
use crate::secret::Secret;

/// Tokens of the Actions cache have one or two KiB; what is much longer is another file.
const MAX_TOKEN_BYTES: u64 = 64 << 10;

/// Why the file gives no token. Nothing of what it holds is shown.
#[derive(Debug, thiserror::Error)]
#[error("BUILDKIT_GHA_TOKEN_FILE: {path}: {why}; it is read again for the next build")]
pub struct TokenFileError {
    path: PathBuf,
    why: TokenFileReason,
}

#[derive(Debug, thiserror::Error)]
enum TokenFileReason {
    #[error("{0}")]
    Read(io::Error),
    #[error("the file is empty")]
    Empty,
    #[error("the file is longer than a token can be")]
    TooLong,
}

impl Overrides {
    /// These, with the token that the file holds now.
    pub async fn of_this_build(&self) -> Result<Self, TokenFileError> {
        let mut overrides = self.clone();
        if let Some(path) = &self.token_file {
            let token = read(path).await.map_err(|why| TokenFileError {
                path: path.clone(),
                why,
            })?;
            overrides.token = Some(token);
        }
        Ok(overrides)
    }
}

async fn read(path: &PathBuf) -> Result<Secret, TokenFileReason> {
    let mut text = String::new();
    let file = tokio::fs::File::open(path)
        .await
        .map_err(TokenFileReason::Read)?;
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
        let overrides = Overrides {
            token_file: Some(path.clone()),
            ..Overrides::default()
        };
        let read = async || overrides.of_this_build().await;
        let missing = read().await.unwrap_err().to_string();
        assert!(missing.contains(path.to_str().unwrap()), "{missing}");
        for (content, token) in [("one\n", "one"), ("  two", "two")] {
            std::fs::write(&path, content).unwrap();
            let now = read().await.unwrap().token.unwrap();
            assert_eq!(now.expose(), token);
        }
        std::fs::write(&path, " \n").unwrap();
        assert!(read().await.unwrap_err().to_string().contains("empty"));
        std::fs::write(&path, "x".repeat(70_000)).unwrap();
        assert!(read().await.unwrap_err().to_string().contains("longer"));
    }
}
