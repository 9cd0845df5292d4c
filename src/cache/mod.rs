//! The layer cache: what an export and an import are, on top of the Actions client.
//!
//! [`Cache`] is what the process shares: two spools, proofs of existence, transfers in flight.
//! [`ExportJob`] and [`ImportJob`] are one entry of `--cache-to` and `--cache-from` of one build;
//! [`Relay`] passes on the writes of an export that BuildKit makes itself. Each ends, with all
//! that it holds, when it is dropped.
//!
//! | file | what |
//! |---|---|
//! | `attributes`, `index_format`, `manifest`, `graph` | formats, without I/O: attributes, the index, its graph |
//! | `export` | a layer on its way out: `layer`, `upload`, `ledger`; `finish` writes the index |
//! | `import` | load the indexes, confirm layers; download and verify them into a `blob`, or a `fetch_error` |
//! | `content_import`, `relay` | the fallbacks: an import as a content store, stock's own export |
//! | `proof`, `quarantine`, `repair` | what is known to be there, what is not to be believed, and its repair |
//! | `report`, `wait_rows`, `unreachable` | what people are told |
//! | `lookup`, `listing`, `spool`, `tail`, `single_flight` | what both directions stand on |

use std::{io, sync::Arc};

use jiff::Timestamp;

pub mod attributes;
mod blob;
mod content_import;
mod export;
mod fetch_error;
pub mod go_duration;
pub mod graph;
mod import;
mod index;
pub mod index_format;
mod listing;
mod lookup;
pub mod manifest;
mod proof;
mod quarantine;
mod relay;
mod repair;
mod report;
mod settings;
mod single_flight;
mod spool;
mod tail;
mod unpack;
mod unreachable;
mod wait_rows;

pub use crate::actions::{Budgets, PerMinute};
pub use blob::Blob;
pub use content_import::ContentImport;
pub use export::{ExportJob, Failure, Outcome};
pub use fetch_error::{FetchError, Repair};
pub use import::{ConfirmedLayer, ImportJob};
pub use index::LoadedIndex;
pub use relay::{Relay, RelayError};
pub use report::{Event, Refused, Reporter, ScopeNames, Transfer, TransferState};
pub use settings::Settings;
pub use spool::SpoolError;

use crate::{
    actions::{AdaptiveConcurrency, Client, Http, Identity, Target, Token},
    digest::Digest,
    lifecycle::Tasks,
    protocol::{
        key::{self, IndexKey},
        scope::Scope,
    },
};
use attributes::Attributes;
use export::ExportContext;
use import::ImportResources;
use spool::{Floor, Spool};
use wait_rows::WaitRows;

/// The cache of one process. A clone is the same cache.
#[derive(Clone)]
pub struct Cache(Arc<Shared>);

/// Bytes on disk between two sides, in whole pages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Waiting to be uploaded.
    pub exports: u64,
    /// Fetched, and not yet read by all who asked.
    pub imports: u64,
}

/// What all jobs share.
struct Shared {
    settings: Settings,
    http: Http,
    tasks: Tasks,
    exports: Spool,
    imports: Spool,
    proofs: Arc<proof::Proofs>,
    abandoned: Arc<proof::Abandoned>,
    delivered: Arc<proof::Delivered>,
    listings: Arc<listing::Listings>,
    quarantine: Arc<quarantine::Quarantine>,
    uploads: Arc<export::Uploads>,
    lookups: Arc<single_flight::SingleFlight<(Identity, Digest), export::Looked>>,
    fetches: Arc<single_flight::SingleFlight<(Identity, Digest), blob::Fetched>>,
    /// Ranged reads in flight.
    ranges: AdaptiveConcurrency,
}

impl Shared {
    /// A blob was looked for in vain, or cannot be used: nothing that was known before proves it.
    fn disprove(&self, identity: &Identity, digest: Digest) {
        self.proofs.revoke(identity, digest);
        self.listings.forget(identity, digest);
    }
}

impl Cache {
    /// Makes the spool directory if it is not there, and tries it.
    pub fn new(settings: Settings, http: Http, tasks: Tasks) -> io::Result<Self> {
        let dir = &settings.spool_dir;
        spool::prepare(dir)?;
        Ok(Self(Arc::new(Shared {
            exports: Spool::new(dir.clone(), settings.export_spool_bytes)
                .with_floor(Floor::from_setting(settings.spool_free)),
            imports: Spool::new(dir.clone(), settings.import_spool_bytes),
            proofs: Arc::new(proof::Proofs::new(settings.proof_age)),
            abandoned: Arc::default(),
            delivered: Arc::default(),
            listings: Arc::new(listing::Listings::new(settings.proof_age)),
            quarantine: Arc::default(),
            uploads: Arc::default(),
            lookups: Arc::default(),
            fetches: Arc::default(),
            ranges: AdaptiveConcurrency::new("down", settings.ranges_in_flight),
            settings,
            http,
            tasks,
        })))
    }

    /// An export, whose time begins when BuildKit begins to write.
    pub fn export(
        &self,
        spec: &Attributes,
        reporter: Arc<dyn Reporter>,
    ) -> Result<Arc<ExportJob>, Refused> {
        Ok(ExportJob::new(self.lane(spec, reporter)?, spec))
    }

    /// An import, which begins at once to load the indexes of all scopes of the token.
    pub fn import(
        &self,
        spec: &Attributes,
        reporter: Arc<dyn Reporter>,
    ) -> Result<Arc<ImportJob>, Refused> {
        let client = self.client(spec, &reporter)?;
        if client.token().readable().next().is_none() {
            return Err(Refused::Unreadable {
                scopes: ScopeNames::from_token(client.token()),
            });
        }
        let resources = ImportResources {
            tasks: self.0.tasks.clone(),
            spool: self.0.imports.clone(),
            proofs: Arc::clone(&self.0.proofs),
            delivered: Arc::clone(&self.0.delivered),
            listings: Arc::clone(&self.0.listings),
            quarantine: Arc::clone(&self.0.quarantine),
            downloads: Arc::clone(&self.0.fetches),
            ranges: self.0.ranges.clone(),
        };
        let settings = &self.0.settings;
        Ok(ImportJob::new(resources, settings, client, spec, reporter))
    }

    /// A relay for an export that BuildKit makes itself, whose time begins with its first call.
    pub fn relay(
        &self,
        spec: &Attributes,
        reporter: Arc<dyn Reporter>,
    ) -> Result<Arc<Relay>, Refused> {
        Ok(Relay::new(self.lane(spec, reporter)?, spec.timeout))
    }

    fn lane(
        &self,
        spec: &Attributes,
        reporter: Arc<dyn Reporter>,
    ) -> Result<ExportContext, Refused> {
        let client = self.client(spec, &reporter)?;
        // The service writes to the first writable scope; stock BuildKit names the index after
        // the last, and its importers look for that name.
        let Some(scope) = client.token().last_writable() else {
            return Err(Refused::ReadOnly {
                scopes: ScopeNames::from_token(client.token()),
            });
        };
        let key = |scope: &Scope| IndexKey::new(&spec.scope, &scope.name, self.0.settings.signed);
        let index = key(scope);
        let other_indexes = client.token().readable().map(key);
        let other_indexes = other_indexes.filter(|other| *other != index).collect();
        let cache = Arc::clone(&self.0);
        let version = key::version();
        Ok(ExportContext::new(
            cache,
            client,
            version,
            index,
            other_indexes,
            reporter,
        ))
    }

    /// How much of the two spools is in use.
    pub fn usage(&self) -> Usage {
        Usage {
            exports: self.0.exports.used(),
            imports: self.0.imports.used(),
        }
    }

    fn client(&self, spec: &Attributes, reporter: &Arc<dyn Reporter>) -> Result<Client, Refused> {
        let token = Token::parse(spec.token.clone())?;
        token.check(Timestamp::now())?;
        let target = Target {
            api: spec.api.clone(),
            token,
            rest: spec.rest(),
        };
        let mut config = self.0.settings.client.clone();
        config.observer = Arc::new(WaitRows::new(reporter));
        Ok(Client::new(self.0.http.clone(), target, config))
    }
}
