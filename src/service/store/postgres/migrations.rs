//! The tables, and how those of an older version become these. There is no way back.

use deadpool_postgres::Client;
use tokio_postgres::{Error, Transaction};

use super::version_5::VERSION_5;
use crate::secret::Secret;

/// What makes each version of the one before it. A version that was released is never changed.
pub(super) const MIGRATIONS: [&str; 6] = [
    VERSION_1, VERSION_2, VERSION_3, VERSION_4, VERSION_5, VERSION_6,
];

/// Held while the tables are made: many processes may start at once. A number that nobody else is likely to use.
const LOCK: i64 = 0x6275_696c_646b_6974;

/// `seq` is the order of commits, and so decides which entry is newest. `namespace` stands for repository, scope
/// and version (see `rows`). Times are milliseconds since 1970. Keys are compared by their bytes, so that those with a
/// prefix are one range of an index.
pub(super) const VERSION_1: &str = r#"
CREATE TABLE entries (
    seq         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id          bigint NOT NULL UNIQUE,
    namespace   bytea NOT NULL,
    repository  text COLLATE "C" NOT NULL,
    scope       text COLLATE "C" NOT NULL,
    version     text COLLATE "C" NOT NULL,
    key         text COLLATE "C" NOT NULL,
    size        bigint NOT NULL,
    stored      bigint NOT NULL,
    created_at  bigint NOT NULL,
    accessed_at bigint NOT NULL
);
CREATE UNIQUE INDEX entries_name ON entries (namespace, key) INCLUDE (seq);
CREATE INDEX entries_repository_key ON entries (repository, key);

CREATE TABLE contents (
    id      bigint PRIMARY KEY REFERENCES entries (id) ON DELETE CASCADE,
    extents bytea NOT NULL
);

CREATE TABLE instances (
    id         bigint PRIMARY KEY,
    expires_at timestamptz NOT NULL
);

CREATE TABLE reservations (
    namespace bytea NOT NULL,
    key       text COLLATE "C" NOT NULL,
    id        bigint NOT NULL UNIQUE,
    owner     bigint NOT NULL,
    PRIMARY KEY (namespace, key)
);
CREATE INDEX reservations_owner ON reservations (owner);

CREATE TABLE content_store (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    name     text NOT NULL
);
"#;

/// The secret, which all replicas share, and where other replicas reach each.
const VERSION_2: &str = r"
CREATE TABLE secret (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    value    text NOT NULL
);
ALTER TABLE instances ADD COLUMN address text;
";

/// What the eviction needs. `index_base` is what an index shares with those that it replaces, and `newest_index` marks
/// the one that builds read; triggers keep the marks, and what entries take by repository, in the transaction that adds
/// or removes an entry. Whoever adds or removes one of a repository has its turn before it locks any row (`lock_repository!` of
/// `rows`), so that no two wait for each other.
const VERSION_3: &str = r#"
ALTER TABLE entries
    ADD COLUMN index_base   text COLLATE "C",
    ADD COLUMN newest_index boolean NOT NULL DEFAULT false;
UPDATE entries
    SET index_base = substring(key FROM '^(index-.*-1-[0-9A-Fa-f]{8}(?:-sig)?)#[0-9]+$')
    WHERE key >= 'index-' AND key < 'index.';
UPDATE entries SET newest_index = true WHERE seq IN (
    SELECT max(seq) FROM entries WHERE index_base IS NOT NULL GROUP BY namespace, index_base);
CREATE INDEX entries_idle ON entries (newest_index, accessed_at, seq);
CREATE INDEX entries_idle_of_repository ON entries (repository, newest_index, accessed_at, seq);
CREATE INDEX entries_index ON entries (namespace, index_base, seq) WHERE index_base IS NOT NULL;

CREATE TABLE repository_usage (
    repository text COLLATE "C" PRIMARY KEY,
    bytes      bigint NOT NULL,
    entries    bigint NOT NULL
);
INSERT INTO repository_usage
    SELECT repository, sum(size)::bigint, count(*) FROM entries GROUP BY repository;

CREATE FUNCTION lock_repository() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended(NEW.repository, 0));
    RETURN NEW;
END $$;
CREATE TRIGGER lock_repository BEFORE INSERT ON entries
    FOR EACH ROW EXECUTE FUNCTION lock_repository();

CREATE FUNCTION entry_added() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF NEW.newest_index THEN
        UPDATE entries SET newest_index = false
            WHERE namespace = NEW.namespace AND index_base = NEW.index_base
            AND newest_index AND seq < NEW.seq;
    END IF;
    INSERT INTO repository_usage VALUES (NEW.repository, NEW.size, 1)
        ON CONFLICT (repository) DO UPDATE
        SET bytes = repository_usage.bytes + excluded.bytes,
            entries = repository_usage.entries + 1;
    RETURN NULL;
END $$;
CREATE TRIGGER entry_added AFTER INSERT ON entries
    FOR EACH ROW EXECUTE FUNCTION entry_added();

CREATE FUNCTION entry_removed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF OLD.newest_index THEN
        UPDATE entries SET newest_index = true WHERE seq = (
            SELECT max(seq) FROM entries
            WHERE namespace = OLD.namespace AND index_base = OLD.index_base);
    END IF;
    UPDATE repository_usage SET bytes = bytes - OLD.size, entries = entries - 1
        WHERE repository = OLD.repository;
    DELETE FROM repository_usage WHERE repository = OLD.repository AND entries = 0;
    RETURN NULL;
END $$;
CREATE TRIGGER entry_removed AFTER DELETE ON entries
    FOR EACH ROW EXECUTE FUNCTION entry_removed();
"#;

/// Tokens that were made; see [`crate::service::store::TokenRecord`].
const VERSION_4: &str = r#"
CREATE TABLE tokens (
    id         text COLLATE "C" PRIMARY KEY,
    name       text COLLATE "C" NOT NULL,
    repository text,
    role       text,
    scopes     text NOT NULL,
    created_at bigint NOT NULL,
    expires_at bigint NOT NULL,
    revoked_at bigint
);
"#;

/// What has happened in each repository on each day; see [`crate::service::store::Activity`].
const VERSION_6: &str = r#"
CREATE TABLE repository_days (
    repository      text COLLATE "C" NOT NULL,
    day             bigint NOT NULL,
    hits            bigint NOT NULL,
    misses          bigint NOT NULL,
    added_bytes     bigint NOT NULL,
    added_entries   bigint NOT NULL,
    evicted_bytes   bigint NOT NULL,
    evicted_entries bigint NOT NULL,
    PRIMARY KEY (repository, day)
);
"#;

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum MigrationError {
    #[error(transparent)]
    Query(#[from] Error),
    #[error("its tables have version {0}, which a newer buildkit-gha has made")]
    Newer(i32),
    #[error("its encoding is {0}; it must be UTF8")]
    Encoding(String),
}

/// Brings the tables of a database to this version, one process after the other.
pub(super) async fn bring_up(client: &mut Client) -> Result<(), MigrationError> {
    let all = client.build_transaction().start().await?;
    check_encoding(&all).await?;
    // Others may be at it, and a large table takes its time.
    all.batch_execute("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0")
        .await?;
    all.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK])
        .await?;
    let found = version(&all).await?;
    let known = usize::try_from(found).ok();
    let missing = known.and_then(|found| MIGRATIONS.get(found..));
    let missing = missing.ok_or(MigrationError::Newer(found))?;
    // A database that nobody may change is used as it is, if it is up to date.
    if missing.is_empty() {
        return Ok(all.rollback().await?);
    }
    for migration in missing {
        all.batch_execute(migration).await?;
    }
    let version = i32::try_from(MIGRATIONS.len()).unwrap_or(i32::MAX);
    all.execute("UPDATE schema_version SET version = $1", &[&version])
        .await?;
    Ok(all.commit().await?)
}

async fn check_encoding(all: &Transaction<'_>) -> Result<(), MigrationError> {
    let row = all.query_one("SHOW server_encoding", &[]).await?;
    match row.try_get(0)? {
        "UTF8" => Ok(()),
        other => Err(MigrationError::Encoding(other.to_owned())),
    }
}

async fn version(all: &Transaction<'_>) -> Result<i32, Error> {
    let sql = "SELECT to_regclass('schema_version') IS NOT NULL";
    if all.query_one(sql, &[]).await?.try_get(0)? {
        let row = all.query_one("SELECT version FROM schema_version", &[]);
        return row.await?.try_get(0);
    }
    all.batch_execute(
        "CREATE TABLE schema_version (version integer NOT NULL); \
         INSERT INTO schema_version VALUES (0)",
    )
    .await?;
    Ok(0)
}

/// Notes that the entries are about the content `name`: false if they are about another.
pub(super) async fn bind(client: &mut Client, name: String) -> Result<bool, Error> {
    let sql = "INSERT INTO content_store (name) VALUES ($1) ON CONFLICT DO NOTHING";
    client.execute(sql, &[&name]).await?;
    let sql = "SELECT name = $1 FROM content_store";
    client.query_one(sql, &[&name]).await?.try_get(0)
}

/// The secret, which is `proposed` if there was none.
pub(super) async fn secret(client: &mut Client, proposed: Secret) -> Result<Secret, Error> {
    let sql = "INSERT INTO secret (value) VALUES ($1) ON CONFLICT DO NOTHING";
    client.execute(sql, &[&proposed.expose()]).await?;
    let row = client.query_one("SELECT value FROM secret", &[]).await?;
    row.try_get(0).map(|value: String| Secret::new(value))
}

/// The secret, if there is one.
pub(super) async fn existing_secret(client: &mut Client) -> Result<Option<Secret>, Error> {
    let sql = "SELECT to_regclass('secret') IS NOT NULL";
    if !client.query_one(sql, &[]).await?.try_get::<_, bool>(0)? {
        return Ok(None);
    }
    let row = client.query_opt("SELECT value FROM secret", &[]).await?;
    row.map(|row| row.try_get(0).map(|value: String| Secret::new(value)))
        .transpose()
}
