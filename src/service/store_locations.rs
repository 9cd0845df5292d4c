//! Where the stores of a service are.

use std::path::Path;

use super::{
    config::Config,
    store::{DatabaseUrl, StoreUrl},
};

/// Where both are.
#[derive(Debug, Clone, Copy)]
pub(super) struct StoreLocations<'a> {
    /// The directory for all that is not elsewhere.
    pub(super) data_dir: &'a Path,
    /// The database; `None` for one in the data directory.
    pub(super) database: Option<&'a DatabaseUrl>,
    /// Where the content is; `None` for files in the data directory.
    pub(super) store: Option<&'a StoreUrl>,
    /// Whether clients are given URLs of the bucket.
    pub(super) direct: bool,
}

impl<'a> From<&'a Config> for StoreLocations<'a> {
    fn from(config: &'a Config) -> Self {
        Self {
            data_dir: &config.data_dir,
            database: config.database.as_ref(),
            store: config.store.as_ref(),
            direct: config.direct,
        }
    }
}
