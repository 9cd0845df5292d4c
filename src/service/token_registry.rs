//! Makes, lists and revokes the tokens of a service, whether it is running or not.

use std::{path::Path, sync::Arc};

use jiff::Timestamp;

use super::{
    audit::{AuditEvent, EventKind},
    blocking::run_blocking,
    config::DatabaseUrl,
    data_dir::DataDir,
    key::MasterKey,
    pairing::check_entries,
    store::{JOB_ID_PREFIX, PostgresTokens, SqliteTokens, StoreError, TokenRecord, TokenStore},
    token::{MintError, Minted, NewToken, Tokens},
};

/// The tokens of a service.
pub struct TokenRegistry {
    tokens: Tokens,
    store: Arc<dyn TokenStore>,
}

/// Why tokens cannot be made, listed or revoked.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// What stands in the data directory cannot be read or made.
    #[error("the data directory {0} cannot be used: {1}")]
    DataDir(String, String),
    /// The database cannot be used.
    #[error("the database cannot be used: {0}")]
    Database(String),
    /// The database has no secret, or no table for tokens.
    #[error("the database was not used by a service of this version yet: start the service first")]
    NoDatabaseSecret,
    /// Such a token cannot be.
    #[error(transparent)]
    Mint(#[from] MintError),
    /// There is nothing to revoke.
    #[error(
        "no token that is not revoked has the name or the id {0:?}: `buildkit-gha token list` shows all"
    )]
    NotFound(String),
}

impl TokenRegistry {
    /// The tokens of the service of a data directory, which may be running in another process, but not in this one.
    pub async fn of_data_dir(path: &Path) -> Result<Self, RegistryError> {
        let own = path.to_owned();
        let opened = run_blocking(move || {
            let data_dir = DataDir::open_existing(&own)?;
            let master = MasterKey::load_or_create(&data_dir)?;
            check_entries(&data_dir)?;
            Ok::<_, StoreError>((master, SqliteTokens::open(&data_dir)?))
        });
        let (master, store) = opened
            .await
            .map_err(|error| RegistryError::DataDir(path.display().to_string(), error.message()))?;
        Ok(Self {
            tokens: Tokens::new(&master),
            store: Arc::new(store),
        })
    }

    /// The tokens of the services of a database.
    pub async fn of_database(url: &DatabaseUrl) -> Result<Self, RegistryError> {
        let store = PostgresTokens::new(url)?;
        let secret = store.secret().await?;
        let master = secret.as_ref().and_then(MasterKey::from_hex);
        let master = master.ok_or(RegistryError::NoDatabaseSecret)?;
        Ok(Self {
            tokens: Tokens::new(&master),
            store: Arc::new(store),
        })
    }

    /// Makes a token, which is good from now on.
    pub async fn mint(&self, new: NewToken) -> Result<Minted, RegistryError> {
        let minted = self.tokens.mint(new, Timestamp::now())?;
        // What nobody can revoke is not given out.
        self.store.record(&minted.record).await?;
        AuditEvent::of_token(EventKind::TokenMinted, &minted.record).log();
        Ok(minted)
    }

    /// All tokens that were made here, except those that ended long ago; the first that was made first.
    pub async fn list(&self) -> Result<Vec<TokenRecord>, RegistryError> {
        let mut tokens = self.store.tokens().await?;
        // There are as many of these as there are jobs, and their runner ends them.
        tokens.retain(|token| !token.id.starts_with(JOB_ID_PREFIX));
        AuditEvent::new(EventKind::TokensListed).log();
        Ok(tokens)
    }

    /// Revokes the token with this id, and all with this name. Answers which.
    pub async fn revoke(&self, name_or_id: &str) -> Result<Vec<TokenRecord>, RegistryError> {
        let revoked = self.store.revoke(name_or_id, Timestamp::now()).await?;
        if revoked.is_empty() {
            return Err(RegistryError::NotFound(name_or_id.to_owned()));
        }
        for token in &revoked {
            AuditEvent::of_token(EventKind::TokenRevoked, token).log();
        }
        Ok(revoked)
    }
}

impl From<StoreError> for RegistryError {
    fn from(error: StoreError) -> Self {
        Self::Database(error.message())
    }
}
