//! What is left after the process or the machine has died.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use buildkit_gha::service::{Config, OpenError, Service, system_clock};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

use crate::harness::{MAIN, Server};

#[tokio::test]
async fn an_unfinished_upload_dies_with_its_process_and_frees_its_key() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let client = server.main();
    client.save("committed", b"content").await;
    let id = client.reserved("half").await;
    client.patch(id, "bytes 0-4/*", "hello").await;
    client.reserved("nothing-uploaded").await;
    let (_, url) = client.found("committed").await.unwrap();
    server.stop().await;

    // What a crash between the rename and the row leaves behind, and a file that is not ours.
    fs::write(dir.path().join("blobs/12345"), "stray").unwrap();
    fs::write(dir.path().join("blobs/README"), "kept").unwrap();
    fs::write(dir.path().join("uploads/6789"), "stray").unwrap();
    let server = Server::start(dir.path()).await;
    let client = server.main();
    assert!(!dir.path().join("blobs/12345").exists());
    assert!(dir.path().join("blobs/README").exists());
    assert_eq!(fs::read_dir(dir.path().join("uploads")).unwrap().count(), 0);
    assert_eq!(client.commit(id, 5).await, StatusCode::NOT_FOUND);
    assert_eq!(client.found_key("half").await, None);
    client.save("half", b"whole").await;
    client.save("nothing-uploaded", b"now").await;
    // Signed URLs outlive the process; only the port has changed.
    let path = url.split_once("/blobs/").unwrap().1;
    let content = server.get(&format!("{}/blobs/{path}", server.url)).await;
    assert_eq!(content.text().await.unwrap(), "content");
}

#[tokio::test]
async fn a_data_directory_serves_one_process() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let second = Service::open(Config::new(dir.path()), system_clock());
    assert!(matches!(second, Err(OpenError::InUse(_))));
    server.stop().await;
    assert!(Service::open(Config::new(dir.path()), system_clock()).is_ok());
}

/// The real program, killed when dropped.
struct Program {
    child: Child,
    url: String,
}

impl Program {
    fn start(data_dir: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_buildkit-gha"))
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(data_dir)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let url = line
            .trim()
            .strip_prefix("listening on ")
            .unwrap()
            .to_owned();
        Self { child, url }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // SIGKILL: nothing gets a chance to tidy up.
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[tokio::test]
async fn a_killed_program_keeps_what_it_committed() {
    let dir = tempfile::tempdir().unwrap();
    let token = Command::new(env!("CARGO_BIN_EXE_buildkit-gha"))
        .args(["token", "--scope", &format!("{MAIN}=rw"), "--data-dir"])
        .arg(dir.path())
        .output()
        .unwrap();
    let token = String::from_utf8(token.stdout).unwrap();
    let http = Client::builder().no_proxy().timeout(Duration::from_mins(1));
    let http = http.build().unwrap();
    let call = async |program: &Program, method: &str, message: Value| -> Value {
        let service = "twirp/github.actions.results.api.v1.CacheService";
        let url = format!("{}/{service}/{method}", program.url);
        let request = http.post(url).bearer_auth(token.trim()).json(&message);
        request.send().await.unwrap().json().await.unwrap()
    };
    let create = async |program: &Program, key: &str, content: &'static str| {
        let created = call(
            program,
            "CreateCacheEntry",
            json!({"key": key, "version": "v"}),
        )
        .await;
        let url = created["signed_upload_url"].as_str().unwrap().to_owned();
        let put = http.put(url).body(content).send().await.unwrap();
        assert_eq!(put.status(), StatusCode::CREATED);
    };
    let program = Program::start(dir.path());
    create(&program, "whole", "content").await;
    let finalize = json!({"key": "whole", "version": "v", "size_bytes": "7"});
    assert_eq!(
        call(&program, "FinalizeCacheEntryUpload", finalize).await["ok"],
        true
    );
    create(&program, "half", "content").await;
    drop(program);

    let program = Program::start(dir.path());
    let lookup = |key: &str| json!({"key": key, "version": "v"});
    let half = call(&program, "GetCacheEntryDownloadURL", lookup("half")).await;
    assert_eq!(half["ok"], false);
    let whole = call(&program, "GetCacheEntryDownloadURL", lookup("whole")).await;
    let url = whole["signed_download_url"].as_str().unwrap();
    assert_eq!(
        http.get(url).send().await.unwrap().text().await.unwrap(),
        "content"
    );
    create(&program, "half", "again").await;
}
