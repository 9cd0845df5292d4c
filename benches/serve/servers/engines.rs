//! PostgreSQL and `MinIO`, of all servers that are measured on engines.

#[path = "../../../tests/buckets/mod.rs"]
#[allow(clippy::unwrap_used, reason = "shared with tests")]
mod buckets;
#[path = "../../../tests/postgres/mod.rs"]
#[allow(clippy::unwrap_used, reason = "shared with tests")]
mod postgres;

use std::sync::LazyLock;

pub use self::postgres::Database;
use self::{buckets::Buckets, postgres::Postgres};

/// Both.
pub struct Engines {
    postgres: &'static Postgres,
    pub bucket: &'static Buckets,
}

impl Engines {
    /// Those of all servers, started when they are first asked for.
    pub fn shared() -> &'static Self {
        static SHARED: LazyLock<Engines> = LazyLock::new(|| Engines {
            postgres: Postgres::shared(),
            bucket: Buckets::s3(),
        });
        &SHARED
    }

    /// A new database.
    pub fn database(&self) -> Database<'static> {
        self.postgres.database()
    }
}
