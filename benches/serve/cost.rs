//! What the service asks of its database and its bucket for each thing that clients do.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;
use tokio::runtime::Runtime;

use crate::{
    client::Client,
    failure::Failure,
    harness::Http,
    server::Server,
    servers::{Database, Engines},
    work::Work,
};

/// How often each is done.
const TIMES: u32 = 50;

/// PostgreSQL's processes report what they have done 10 s after they have become idle, and the service is busy with an
/// entry for a moment after its last answer.
const SETTLED: Duration = Duration::from_secs(12);

/// What was counted so far.
#[derive(Clone, Debug, Default)]
struct Counters {
    transactions: f64,
    /// Rows inserted, changed and deleted.
    rows: f64,
    /// Bytes of the write-ahead log.
    wal: f64,
    /// Requests to the bucket, by name.
    requests: BTreeMap<String, f64>,
}

/// What one of a thing costs.
#[derive(Debug, Serialize)]
pub struct Cost {
    pub work: Work,
    pub transactions: f64,
    pub rows: f64,
    pub wal: f64,
    pub requests: BTreeMap<String, f64>,
}

/// What entries take in the database.
#[derive(Debug, Serialize)]
pub struct Rows {
    pub entries: f64,
    /// Bytes of all tables with their indexes, vacuumed.
    pub bytes: f64,
}

/// Has one client do each thing.
pub fn measure(
    runtime: &Runtime,
    server: &Server,
    engines: &Engines,
    database: &Database<'_>,
) -> (Vec<Cost>, Rows) {
    let mut before = counters(runtime, engines, database);
    let costs = Work::ALL.map(|work| {
        let done = runtime.block_on(repeat(server, work));
        done.unwrap_or_else(|failure| panic!("{}: {}", work.name(), failure.0));
        let after = counters(runtime, engines, database);
        let each = |of: fn(&Counters) -> f64| (of(&after) - of(&before)) / f64::from(TIMES);
        let requests = after.requests.iter().map(|(name, count)| {
            let before = before.requests.get(name).copied().unwrap_or_default();
            (name.clone(), (count - before) / f64::from(TIMES))
        });
        let cost = Cost {
            work,
            transactions: each(|counters| counters.transactions),
            rows: each(|counters| counters.rows),
            wal: each(|counters| counters.wal),
            requests: requests.filter(|(_, each)| *each > 0.0).collect(),
        };
        before = after;
        cost
    });
    (costs.into(), rows(database))
}

async fn repeat(server: &Server, work: Work) -> Result<(), Failure> {
    let mut client = Client::connect(&server.address).await?;
    for _ in 0..TIMES {
        work.once(&mut client).await?;
    }
    Ok(())
}

fn counters(runtime: &Runtime, engines: &Engines, database: &Database<'_>) -> Counters {
    runtime.block_on(async { tokio::time::sleep(SETTLED).await });
    let row = database.query(
        "SELECT xact_commit + xact_rollback, tup_inserted + tup_updated + tup_deleted,
             pg_current_wal_lsn() - '0/0' FROM pg_stat_database WHERE datname = current_database()",
    );
    let numbers: Vec<f64> = row.split('|').map(number).collect();
    Counters {
        transactions: numbers[0],
        rows: numbers[1],
        wal: numbers[2],
        requests: requests(engines),
    }
}

fn requests(engines: &Engines) -> BTreeMap<String, f64> {
    let address = engines.bucket.url().strip_prefix("http://");
    let address = address.and_then(|address| address.parse().ok());
    let address = address.expect("an address");
    let metrics = Http::new(address).text("/minio/metrics/v3/api/requests");
    let metrics = metrics.expect("MinIO tells what it was asked");
    let samples = metrics.lines().filter_map(|line| {
        let (labels, value) = line
            .strip_prefix("minio_api_requests_total{")?
            .split_once("} ")?;
        let (_, name) = labels.split_once("name=\"")?;
        Some((name.split('"').next()?.to_owned(), number(value)))
    });
    samples.collect()
}

fn rows(database: &Database<'_>) -> Rows {
    database.query("VACUUM FULL");
    let bytes = "SELECT sum(pg_total_relation_size(relid)) FROM pg_stat_user_tables";
    Rows {
        entries: number(&database.query("SELECT count(*) FROM entries")),
        bytes: number(&database.query(bytes)),
    }
}

fn number(text: &str) -> f64 {
    text.parse().unwrap_or_else(|_| panic!("no number: {text}"))
}
