//! The queries of the REST API, as `serve` reads them: a page is bounded and can be counted.

use axum::{extract::Query, http::Uri};
use buildkit_gha::protocol::rest::{DeleteQuery, ListQuery, MAX_PER_PAGE};
use url::form_urlencoded::{Serializer, parse};

/// What stands behind the question mark.
pub fn body(data: &[u8]) {
    let Ok(query) = std::str::from_utf8(data) else {
        return;
    };
    // What no head of a request can hold does not come so far.
    let Ok(uri) = format!("/repos/o/r/actions/caches?{query}").parse::<Uri>() else {
        return;
    };
    // A fragment is not part of it.
    let query = uri.query().unwrap_or_default();
    if let Ok(Query(list)) = Query::<ListQuery>::try_from_uri(&uri) {
        assert!((1..=MAX_PER_PAGE).contains(&list.take()));
        // SQLite counts with a sign.
        assert!(i64::try_from(list.skip()).is_ok());
        assert_eq!(list.skip() % u64::from(list.take()), 0);
        let named =
            |name: &str, value: &str| parse(query.as_bytes()).any(|(n, v)| n == name && v == value);
        assert!(list.key.is_empty() || named("key", &list.key));
        assert!(
            list.git_ref
                .as_ref()
                .is_none_or(|scope| named("ref", scope))
        );
    }
    if let Ok(Query(delete)) = Query::<DeleteQuery>::try_from_uri(&uri) {
        let mut again = Serializer::new(String::new());
        again.append_pair("key", &delete.key);
        again.extend_pairs(delete.git_ref.iter().map(|scope| ("ref", scope)));
        let uri = format!("/?{}", again.finish());
        let uri = uri.parse().expect("what is escaped is a URI");
        let again = Query::<DeleteQuery>::try_from_uri(&uri);
        assert_eq!(again.map(|query| query.0).ok(), Some(delete));
    }
}
