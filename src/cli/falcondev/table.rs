//! The variables of the other server, each with the flag that does the same, or what to do where none does.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::config::Env;

/// Where it keeps its objects is `gh-actions-cache`: ours lie beside.
const PREFIX: &str = "buildkit-gha";

/// A variable that stands for a flag.
pub(super) struct Mapping {
    pub(super) variable: &'static str,
    pub(super) flag: &'static str,
    /// What the other server takes where it is not set.
    pub(super) default: Option<&'static str>,
    /// The flag's value, unless the other settings say that this one does not count.
    pub(super) convert: fn(&Env, &str) -> Option<String>,
}

const fn mapping(
    variable: &'static str,
    flag: &'static str,
    convert: fn(&Env, &str) -> Option<String>,
) -> Mapping {
    Mapping {
        variable,
        flag,
        default: None,
        convert,
    }
}

#[rustfmt::skip] // A table is read by its columns.
pub(super) const MAPPINGS: [Mapping; 10] = [
    mapping("API_BASE_URL", "base_url", |_, url| Some(url.to_owned())),
    mapping("NITRO_PORT", "listen", |env, port| Some(listen(env, port))),
    Mapping { default: Some("3000"), ..mapping("PORT", "listen", |env, port| {
        env.get("NITRO_PORT").is_none().then(|| listen(env, port))
    }) },
    Mapping {
        default: Some("https://results-receiver.actions.githubusercontent.com"),
        ..mapping("DEFAULT_ACTIONS_RESULTS_URL", "upstream_results_url", |_, url| Some(url.to_owned()))
    },
    mapping("STORAGE_FILESYSTEM_PATH", "data_dir", |_, path| Some(path.to_owned())),
    mapping("STORAGE_S3_BUCKET", "store", |env, name| store(env, "s3", "s3", name)),
    mapping("STORAGE_GCS_BUCKET", "store", |env, name| store(env, "gcs", "gs", name)),
    mapping("DB_POSTGRES_URL", "database", |env, url| is_postgres(env).then(|| url.to_owned())),
    mapping("DB_POSTGRES_HOST", "database", database),
    mapping("CACHE_CLEANUP_OLDER_THAN_DAYS", "max_age", max_age),
];

/// A variable without a counterpart.
pub(super) struct Unknown {
    pub(super) variable: &'static str,
    /// Whether this value asks for something.
    pub(super) matters: fn(&str) -> bool,
    pub(super) cure: &'static str,
}

const fn unknown(variable: &'static str, matters: fn(&str) -> bool, cure: &'static str) -> Unknown {
    Unknown {
        variable,
        matters,
        cure,
    }
}

const fn always(_: &str) -> bool {
    true
}

#[rustfmt::skip] // A table is read by its columns.
pub(super) const UNKNOWN: [Unknown; 12] = [
    unknown("DB_DRIVER", |driver| driver == "mysql",
        "entries are in SQLite in the data directory, or in PostgreSQL: set BUILDKIT_GHA_DATABASE"),
    unknown("DB_SQLITE_PATH", always,
        "the database is a file in the data directory (BUILDKIT_GHA_DATA_DIR); nothing of the other server's is read"),
    unknown("ENABLE_DIRECT_DOWNLOADS", is_true, "set BUILDKIT_GHA_DIRECT=on; uploads to Azure are direct then, too"),
    unknown("SKIP_TOKEN_VALIDATION", is_true,
        "every token is verified: set BUILDKIT_GHA_TRUST_ISSUER, or mint tokens with `buildkit-gha token`"),
    unknown("MANAGEMENT_API_KEY", always,
        "entries are listed and deleted with tokens: see `buildkit-gha token --scope REF=rwd`, `ls` and `prune`"),
    unknown("STORAGE_GCS_SERVICE_ACCOUNT_KEY", always, "set GOOGLE_SERVICE_ACCOUNT to the same path"),
    unknown("STORAGE_GCS_ENDPOINT", always, "set GOOGLE_BASE_URL to it"),
    unknown("CACHE_CLEANUP_CRON", always, "entries are evicted as limits are crossed: it needs no time of day"),
    unknown("UPLOAD_CLEANUP_CRON", always, "set BUILDKIT_GHA_RESERVATION_AGE"),
    unknown("TEMP_DIR", always, "uploads wait in the data directory (BUILDKIT_GHA_DATA_DIR)"),
    unknown("DEBUG", is_true, "set BUILDKIT_GHA_LOG=debug"),
    unknown("BENCHMARK", is_true, "read /metrics"),
];

fn is_true(value: &str) -> bool {
    !["false", "0"].contains(&value)
}

fn is_postgres(env: &Env) -> bool {
    env.get("DB_DRIVER") == Some("postgres")
}

/// All interfaces where none is named.
fn listen(env: &Env, port: &str) -> String {
    let host = env.get("NITRO_HOST").or(env.get("HOST")).unwrap_or("");
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

fn store(env: &Env, driver: &str, scheme: &str, bucket: &str) -> Option<String> {
    let is_driver = env.get("STORAGE_DRIVER") == Some(driver);
    is_driver.then(|| format!("{scheme}://{bucket}/{PREFIX}"))
}

/// A URL of its parts.
fn database(env: &Env, host: &str) -> Option<String> {
    if !is_postgres(env) || env.get("DB_POSTGRES_URL").is_some() {
        return None;
    }
    let encoded = |name| {
        let text = env.get(name).unwrap_or_default();
        utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
    };
    let (user, password) = (encoded("DB_POSTGRES_USER"), encoded("DB_POSTGRES_PASSWORD"));
    let name = encoded("DB_POSTGRES_DATABASE");
    let port = env.get("DB_POSTGRES_PORT").unwrap_or("5432");
    Some(format!("postgres://{user}:{password}@{host}:{port}/{name}"))
}

/// Days since the last download; 0 keeps entries for ever, as no job that cleans up does.
fn max_age(env: &Env, days: &str) -> Option<String> {
    let is_off = env.get("DISABLE_CLEANUP_JOBS").is_some_and(is_true);
    (!is_off && days != "0").then(|| format!("{days}d"))
}
