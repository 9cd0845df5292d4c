//! Lookups and listings.

use deadpool_postgres::Client;
use tokio_postgres::Error;

use super::rows::{columns, entry, namespace};
use crate::{
    protocol::rest::{Direction, SortBy},
    service::store::entry_store::{Entry, Filter, Page, Search, end_of},
};

/// A whole lookup. For each scope and key the exact entry comes before the newest with the prefix, which is looked
/// for in the index of names and nowhere else: `+ 0` keeps the database from walking through all entries by age
/// until one fits.
///
/// `(SELECT $1)` hides from the planner how many scopes and keys there are. Where it sees that, it makes a plan for
/// each lookup (0.45 ms on PostgreSQL 15, of which the plan runs 0.07 ms), and otherwise one for all after the fifth.
const FIND: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM unnest((SELECT $1::bytea[])) WITH ORDINALITY AS s(namespace, rank) \
     CROSS JOIN unnest((SELECT $2::text[]), (SELECT $3::text[])) WITH ORDINALITY AS k(key, after, rank) \
     CROSS JOIN LATERAL ( \
         SELECT coalesce( \
             (SELECT x.seq FROM entries x \
              WHERE x.namespace = s.namespace AND x.key = k.key COLLATE \"C\"), \
             (SELECT max(n.seq + 0) FROM entries n \
              WHERE n.namespace = s.namespace AND n.key >= k.key COLLATE \"C\" \
              AND n.key < k.after COLLATE \"C\") \
         ) AS seq) AS found \
     JOIN entries e ON e.seq = found.seq \
     ORDER BY s.rank, k.rank LIMIT 1"
);

/// The condition of a filter.
const MATCHES: &str = "($1::text IS NULL OR e.repository = $1) \
     AND e.key >= $2 COLLATE \"C\" AND e.key < $3 COLLATE \"C\" \
     AND ($4::text[] IS NULL OR e.scope = ANY ($4)) \
     AND ($5 = '' OR strpos(lower(e.key), lower($5)) > 0)";

/// PostgreSQL's texts hold all characters but this one, and so no entry has it in its key.
const NUL: char = '\0';

pub(super) async fn find(client: &mut Client, search: Search) -> Result<Option<Entry>, Error> {
    let of_scope = |scope: &String| namespace(&search.repository, scope, &search.version);
    let namespaces: Vec<Vec<u8>> = search.scopes.iter().map(of_scope).collect();
    let mut keys = search.keys.clone();
    keys.retain(|key| !key.contains(NUL));
    let ends: Vec<String> = keys.iter().map(|key| end_of(key)).collect();
    let find = client.prepare_cached(FIND).await?;
    let found = client
        .query_opt(&find, &[&namespaces, &keys, &ends])
        .await?;
    found.as_ref().map(entry).transpose()
}

pub(super) async fn count(client: &mut Client, filter: Filter) -> Result<u64, Error> {
    if matches_nothing(&filter) {
        return Ok(0);
    }
    let sql = format!("SELECT count(*) FROM entries e WHERE {MATCHES}");
    let count = client.prepare_cached(&sql).await?;
    let end = end_of(&filter.key_prefix);
    let (repository, prefix, scopes) = (&filter.repository, &filter.key_prefix, &filter.scopes);
    let row = client
        .query_one(
            &count,
            &[repository, prefix, &end, scopes, &filter.key_text],
        )
        .await?;
    Ok(row.try_get::<_, i64>(0)?.cast_unsigned())
}

pub(super) async fn list(
    client: &mut Client,
    filter: Filter,
    page: Page,
) -> Result<Vec<Entry>, Error> {
    if matches_nothing(&filter) {
        return Ok(Vec::new());
    }
    let column = match page.sort {
        SortBy::CreatedAt => "e.created_at",
        SortBy::LastAccessedAt => "e.accessed_at",
        SortBy::SizeInBytes => "e.size",
    };
    let direction = match page.direction {
        Direction::Asc => "ASC",
        Direction::Desc => "DESC",
    };
    let sql = format!(
        "SELECT {} FROM entries e WHERE {MATCHES} \
         ORDER BY {column} {direction}, e.seq {direction} LIMIT $6 OFFSET $7",
        columns!(),
    );
    let list = client.prepare_cached(&sql).await?;
    let end = end_of(&filter.key_prefix);
    let (repository, prefix, scopes) = (&filter.repository, &filter.key_prefix, &filter.scopes);
    let take = i64::from(page.take);
    let skip = i64::try_from(page.skip).unwrap_or(i64::MAX);
    let rows = client
        .query(
            &list,
            &[
                repository,
                prefix,
                &end,
                scopes,
                &filter.key_text,
                &take,
                &skip,
            ],
        )
        .await?;
    rows.iter().map(entry).collect()
}

/// Whether a filter has what no entry has, and PostgreSQL refuses.
fn matches_nothing(filter: &Filter) -> bool {
    let texts = [&filter.key_prefix, &filter.key_text].into_iter();
    let mut texts = texts
        .chain(&filter.repository)
        .chain(filter.scopes.iter().flatten());
    texts.any(|text| text.contains(NUL))
}
