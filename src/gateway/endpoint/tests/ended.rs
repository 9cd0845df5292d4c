//! What a handle still does when its build has ended.

use super::*;

/// As [`Fixed`], for one build alone.
struct Unshared;

#[async_trait]
impl Backend for Unshared {
    async fn lookup(&self, keys: &[&str], version: &str) -> Result<Option<Found>, BackendError> {
        Fixed.lookup(keys, version).await
    }

    fn is_shared(&self) -> bool {
        false
    }
}

#[tokio::test]
async fn a_retired_handle_stays_while_a_build_is_in_flight_and_ends_its_downloads_after() {
    let fixture = Fixture::new().await;
    let url = fixture.object("endless").await;
    let mut download = fixture.http.get(url).send().await.unwrap();
    assert_eq!(download.chunk().await.unwrap().unwrap(), "first");

    fixture.endpoint.retire(&fixture.access);
    fixture.endpoint.set_idle(false);
    assert_eq!(
        fixture.lookup("key").await.status(),
        StatusCode::OK,
        "shared"
    );
    fixture.endpoint.set_idle(true);
    assert!(download.chunk().await.is_err(), "the download is cut");
    let gone = fixture.lookup("key").await;
    assert_eq!(gone.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn the_handle_of_an_export_closes_with_its_build() {
    let fixture = Fixture::new().await;
    let hour = SignedDuration::from_hours(1);
    let export = open_before(&fixture.endpoint, Arc::new(Unshared), hour);
    let lookup = || fixture.lookup_at(&export, "key", export.token.expose());
    assert_eq!(lookup().await.status(), StatusCode::OK);
    fixture.endpoint.retire(&export);
    fixture.endpoint.set_idle(false);
    assert_eq!(lookup().await.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_handle_tells_nothing_new_when_its_build_is_over() {
    let fixture = Fixture::new().await;
    let (pulled, promised) = (fixture.object("key").await, fixture.object("endless").await);
    let name = |url: &Url| url.path_segments().unwrap().next_back().unwrap().to_owned();
    let part = fixture
        .http
        .get(pulled.clone())
        .header(header::RANGE, "bytes=0-3");
    part.send().await.unwrap().bytes().await.unwrap();
    let handle = fixture
        .endpoint
        .handles
        .get(fixture.access.name.expose())
        .unwrap();
    let read = |url: &Url| handle.object(&name(url)).is_some();
    fixture.endpoint.retire(&fixture.access);
    fixture.endpoint.set_idle(false);

    tokio::time::pause();
    tokio::time::advance(handle::RETIRE_GRACE).await;
    assert!(read(&pulled), "a part of it has been read");
    tokio::time::resume();
    let whole = fixture.http.get(pulled.clone()).send().await.unwrap();
    assert_eq!(whole.bytes().await.unwrap(), CONTENT);
    assert_eq!(fixture.lookup("key").await.status(), StatusCode::NO_CONTENT);

    tokio::time::pause();
    tokio::time::advance(handle::RETIRE_GRACE).await;
    assert!(!read(&pulled) && read(&promised));
}

#[tokio::test]
async fn a_retired_handle_whose_token_has_expired_is_closed_on_a_busy_daemon() {
    let fixture = Fixture::new().await;
    let expired = open(&fixture.endpoint, SignedDuration::from_secs(-1));
    fixture.endpoint.retire(&expired);
    fixture.endpoint.set_idle(false);
    let answer = fixture.lookup_at(&expired, "key", expired.token.expose());
    assert_eq!(answer.await.status(), StatusCode::UNAUTHORIZED);
}
