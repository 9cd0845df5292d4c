//! Clients that reach the bucket themselves (`--direct`), on real servers.

use reqwest::{
    Method, StatusCode,
    header::{HeaderMap, RANGE},
    redirect::Policy,
};

use crate::{
    program::{Program, Remote},
    replicas::{
        Deployment, MIB, assert_status, assert_there, block, buckets::Buckets, save_v1, save_v2,
    },
};

const X_MS_RANGE: &str = "x-ms-range";

/// A service that sends its clients to the bucket.
fn start(team: &Deployment) -> (Program, Remote) {
    let program = team.start_with("one", &["--direct"]);
    let client = team.client(&program);
    (program, client)
}

/// What a client gets who follows redirects: from where, and what.
async fn read(method: Method, url: &str, header: Option<&str>) -> (String, StatusCode, Vec<u8>) {
    let request = reqwest::Client::new().request(method, url);
    let request = match header {
        Some(name) => request.header(name, "bytes=1000-1999"),
        None => request,
    };
    let answer = request.send().await.unwrap();
    let from = answer.url().origin().ascii_serialization();
    (
        from,
        answer.status(),
        answer.bytes().await.unwrap().to_vec(),
    )
}

/// Reads an entry whole and in ranges, at the URL of version 2: `from` is where bytes come from.
async fn assert_read(remote: &Remote, key: &str, content: &[u8], from: [&str; 3]) {
    let url = remote.find(key).await.unwrap().unwrap();
    let headers = [None, Some(RANGE.as_str()), Some(X_MS_RANGE)];
    for (header, from) in headers.into_iter().zip(from) {
        let (origin, status, bytes) = read(Method::GET, &url, header).await;
        assert_eq!(origin, from, "{key}, {header:?}");
        let (expected, wanted) = match header {
            Some(_) => (StatusCode::PARTIAL_CONTENT, &content[1000..2000]),
            None => (StatusCode::OK, content),
        };
        assert_eq!(status, expected, "{key}, {header:?}");
        assert!(bytes == wanted, "{key}, {header:?}");
    }
}

#[tokio::test]
async fn s3_is_read_by_those_who_ask_for_ranges_as_it_knows_them() {
    let team = Deployment::new(Buckets::s3());
    let (program, remote) = start(&team);
    let remotes = [remote.clone()];
    let (ours, bucket) = (&*program.url, Buckets::s3().url());
    for (key, blocks) in [
        ("small", vec![block(1, 5000)]),
        ("large", vec![block(2, 3 * MIB); 5]),
    ] {
        save_v1(&remotes, key, &blocks).await;
        assert_read(&remote, key, &blocks.concat(), [bucket, bucket, ours]).await;
        let url = remote.find(key).await.unwrap().unwrap();
        let (origin, status, _) = read(Method::HEAD, &url, None).await;
        assert_eq!((&*origin, status), (ours, StatusCode::OK), "{key}");
    }
    // An object whose bytes are in another order than the content is none that a client could read.
    let blocks: Vec<_> = (0..4).map(|number| block(number, 5 * MIB)).collect();
    save_v2(&remotes, &[&program], "reversed", &blocks, &[3, 2, 1, 0]).await;
    assert_read(&remote, "reversed", &blocks.concat(), [ours; 3]).await;
    program.end();
}

#[tokio::test]
async fn what_is_gone_from_the_bucket_is_no_entry_any_more() {
    let team = Deployment::new(Buckets::s3());
    let (program, remote) = start(&team);
    save_v1(std::slice::from_ref(&remote), "gone", &[block(1, 5000)]).await;
    let url = remote.find("gone").await.unwrap().unwrap();
    team.remove_objects("blobs").await;
    assert_status(remote.get(&url).await, 404);
    assert_eq!(remote.find("gone").await.unwrap(), None);
    program.end();
}

#[tokio::test]
async fn azure_is_read_and_written_by_everybody() {
    let team = Deployment::new(Buckets::azure());
    let (program, remote) = start(&team);
    let origin = Buckets::azure().url();
    let blocks: Vec<_> = (0..3).map(|number| block(number, MIB)).collect();
    let content = blocks.concat();
    let url = remote.upload_url("k").await;
    assert!(url.starts_with(origin), "{url}");
    remote.put_blocks(&url, &blocks).await;
    assert_status(remote.finalize("k", content.len() + 1).await, 400);
    let finalized = remote.finalize("k", content.len()).await.unwrap();
    assert_eq!(finalized.json()["ok"], true, "{}", finalized.text());
    assert_read(&remote, "k", &content, [origin; 3]).await;
    // Whoever still has the URL writes to nothing that is an entry, and what is sent late is no content.
    remote.put_blocks(&url, &[block(9, MIB)]).await;
    assert_there(std::slice::from_ref(&remote), "k", &content).await;
    // Version 1 knows no such URLs for what it sends.
    save_v1(std::slice::from_ref(&remote), "v1", &blocks).await;
    assert_read(&remote, "v1", &content, [origin; 3]).await;
    program.end();
}

#[tokio::test]
async fn an_upload_to_azure_of_which_nothing_came_is_no_entry() {
    let team = Deployment::new(Buckets::azure());
    let (program, remote) = start(&team);
    let url = remote.upload_url("k").await;
    let refused = remote.finalize("k", 0).await.unwrap();
    assert!(
        refused.text().contains("nothing was uploaded"),
        "{}",
        refused.text()
    );
    // It is still taken.
    remote.put_blocks(&url, &[block(1, 10)]).await;
    let finalized = remote.finalize("k", 10).await.unwrap();
    assert_eq!(finalized.json()["ok"], true, "{}", finalized.text());
    assert_there(&[remote], "k", &block(1, 10)).await;
    assert!(team.objects("direct").await.is_empty());
    program.end();
}

#[tokio::test]
async fn a_redirect_is_no_answer_to_keep() {
    let team = Deployment::new(Buckets::s3());
    let (program, remote) = start(&team);
    save_v1(std::slice::from_ref(&remote), "k", &[block(1, 5000)]).await;
    let url = remote.find("k").await.unwrap().unwrap();
    let http = reqwest::Client::builder()
        .redirect(Policy::none())
        .build()
        .unwrap();
    let answer = http.get(&url).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::TEMPORARY_REDIRECT);
    let text = |headers: &HeaderMap, name: &str| headers[name].to_str().unwrap().to_owned();
    assert_eq!(text(answer.headers(), "cache-control"), "no-store");
    let location = text(answer.headers(), "location");
    assert!(location.contains("X-Amz-Expires=300"), "{location}");
    program.end();
}

#[test]
fn only_a_bucket_is_reached_by_others() {
    let team = Deployment::new(Buckets::s3());
    let words = team.refusal(&["--direct"], None);
    assert!(words.contains("--direct needs a bucket"), "{words}");
}
