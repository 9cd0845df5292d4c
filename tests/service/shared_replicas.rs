//! The same bytes in several scopes, in a bucket that replicas share: they are one object, for both replicas.

use reqwest::Method;

use crate::{
    migrate_replicas::{Move, report},
    program::{Program, Remote, audit, names},
    replicas::{Deployment, MIB, assert_status, assert_there, block, buckets::Buckets, save_v1},
};

const SCOPES: [&str; 5] = ["main", "one", "two", "three", "four"];

/// A content that is one request, and one that is a multipart upload.
fn contents() -> [(&'static str, Vec<Vec<u8>>); 2] {
    let large = (0..4).map(|number| block(number, 5 * MIB)).collect();
    [("small", vec![block(9, 5000)]), ("large", large)]
}

/// Whoever may write only in a scope of its own, where others have the keys of [`contents`].
async fn save_other_bytes(evil: &Remote) {
    for (key, blocks) in contents() {
        let mut blocks = blocks;
        blocks[0][100] ^= 1;
        save_v1(std::slice::from_ref(evil), key, &blocks).await;
    }
}

async fn assert_everywhere(clients: &[Remote]) {
    for (key, blocks) in contents() {
        assert_there(clients, key, &blocks.concat()).await;
    }
}

/// A client for each scope.
fn clients(program: &Program, place: [&str; 2]) -> Vec<Remote> {
    let clients = SCOPES.map(|scope| program.client_in(place, scope));
    clients.to_vec()
}

impl Deployment {
    /// Waits for the pass that a replica begins with, and makes what it has released old.
    async fn wait_until_shared(&self, contents: usize) {
        let count = "SELECT count(DISTINCT content_id) FROM entries";
        while self.database.query(count) != contents.to_string() {
            tokio::task::yield_now().await;
        }
        self.database
            .query("UPDATE released_contents SET keep_until = 0");
    }
}

#[tokio::test]
async fn five_scopes_are_one_object_for_both_replicas() {
    let team = Deployment::new(Buckets::s3());
    let url = team.database.url();
    let (one, other) = (team.start("one"), team.start("other"));
    let clients_of_one = clients(&one, ["--database", &url]);
    let evil = one.client_in(["--database", &url], "evil");
    save_other_bytes(&evil).await;
    for client in &clients_of_one {
        let both = [client.clone(), client.at(&other)];
        for (key, blocks) in contents() {
            save_v1(&both, key, &blocks).await;
        }
    }
    assert_eq!(team.objects("blobs").await.len(), 12);
    one.end();
    other.end();

    // Both begin with a pass, and one of them makes it.
    let (one, other) = (team.start("one"), team.start("other"));
    team.wait_until_shared(4).await;
    let on_both = |clients: &[Remote]| {
        let all = clients.iter();
        let all = all.flat_map(|client| [client.at(&one), client.at(&other)]);
        all.collect::<Vec<_>>()
    };
    assert_everywhere(&on_both(&clients_of_one)).await;
    let third = team.start("third");
    let objects = team.objects("blobs").await;
    assert_eq!(objects.len(), 4, "a start collects");
    assert!(team.objects("multiparts").await.is_empty());
    assert_everywhere(&on_both(&clients_of_one)).await;

    // They go one after the other, on any replica; the last takes the bytes with it.
    for turn in 0..SCOPES.len() {
        let remote = clients_of_one[turn].at(if turn % 2 == 0 { &third } else { &one });
        for (key, _) in contents() {
            let path = format!("/repos/local/cache/actions/caches?key={key}");
            let deleted = Remote::send(remote.request(Method::DELETE, &path)).await;
            assert_status(deleted, 200);
            assert_eq!(remote.find(key).await.unwrap(), None);
        }
        assert_everywhere(&on_both(&clients_of_one[turn + 1..])).await;
    }
    assert_eq!(team.objects("blobs").await.len(), 2, "those of nobody else");
    for program in [one, other, third] {
        program.end();
    }
}

#[tokio::test]
async fn a_shared_content_moves_once_and_stays_shared() {
    let cache = Move::new();
    let first = cache.team.data_dir("first");
    let program = cache.start("first");
    let clients = clients(&program, ["--data-dir", first.to_str().unwrap()]);
    for client in &clients {
        for (key, blocks) in contents() {
            save_v1(std::slice::from_ref(client), key, &blocks).await;
        }
    }
    // Of one content nobody has the entry any more that has brought it.
    let program = {
        program.end();
        cache.start("first")
    };
    let contents_of = |place: &std::path::Path| {
        let db = rusqlite::Connection::open(place.join("entries.db")).unwrap();
        let sql = "SELECT count(DISTINCT content_id), (SELECT sum(shared_bytes) FROM repository_usage) \
                   FROM entries";
        db.query_row(sql, [], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
        })
        .unwrap()
    };
    while contents_of(&first).0 != 2 {
        tokio::task::yield_now().await;
    }
    let path = "/repos/local/cache/actions/caches?key=large";
    let remote = clients[0].at(&program);
    let deleted = Remote::send(remote.request(Method::DELETE, path)).await;
    assert_status(deleted, 200);
    program.end();

    let before = contents_of(&first);
    let moved = report(&cache.to_replicas("first"));
    assert_eq!(moved["copied"]["entries"], 9);
    assert_eq!(cache.team.objects("blobs").await.len(), 2);
    let replica = cache.team.start("replica");
    let on_replica: Vec<_> = clients.iter().map(|client| client.at(&replica)).collect();
    assert_everywhere(&on_replica[1..]).await;
    replica.end();
    let shared = "SELECT count(DISTINCT content_id) || '|' || \
                  (SELECT sum(shared_bytes) FROM repository_usage) FROM entries";
    let (contents, bytes) = before;
    let found = cache.team.database.query(shared);
    assert_eq!(found, format!("{contents}|{bytes}"));

    let moved = report(&cache.to_directory("second"));
    assert_eq!(moved["copied"]["entries"], 9);
    let second = cache.team.data_dir("second");
    assert_eq!(contents_of(&second), before);
    assert_eq!(names(&second.join("blobs")).len(), 2);
    audit(&second);
    let program = cache.start("second");
    let back: Vec<_> = clients.iter().map(|client| client.at(&program)).collect();
    assert_everywhere(&back[1..]).await;
    program.end();
}
