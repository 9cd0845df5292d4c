//! A data directory in which somebody has planted something.

use std::{
    fs::{self, File, Permissions},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use tokio::process::Command;

use crate::program::{Program, names};

/// Distinguishes a refusal from a start, or from one that hangs at a pipe.
const SOON: Duration = Duration::from_secs(20);

const SECRET: &str = "0101010101010101010101010101010101010101010101010101010101010101";

fn pipe(path: &Path) {
    let mode = Mode::from_raw_mode(0o600);
    mknodat(CWD, path, FileType::Fifo, mode, 0).unwrap();
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn private(path: &Path, content: &str) {
    fs::write(path, content).unwrap();
    chmod(path, 0o600);
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o777
}

/// What a command says that must not succeed.
async fn refusal(arguments: &[&str], data_dir: &Path) -> String {
    let mut program = Command::new(env!("CARGO_BIN_EXE_buildkit-gha"));
    let program = program.args(arguments).arg("--data-dir").arg(data_dir);
    let program = program.stdout(Stdio::null()).stderr(Stdio::piped());
    let child = program.kill_on_drop(true).spawn().unwrap();
    let ended = tokio::time::timeout(SOON, child.wait_with_output()).await;
    let ended = ended.expect("it starts, or hangs").unwrap();
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    String::from_utf8(ended.stderr).unwrap()
}

const SERVE: [&str; 3] = ["serve", "--listen", "127.0.0.1:0"];
const TOKEN: [&str; 3] = ["token", "--scope", "main=rw"];

/// A way to plant something, and what must be said of it.
type Plant = (fn(&Path, &Path), &'static [&'static str]);

#[tokio::test]
async fn what_was_planted_is_refused() {
    let plants: [Plant; 11] = [
        (
            |data, _| {
                private(&data.join("planted"), "");
                chmod(data, 0o777);
            },
            &["has mode 0777"],
        ),
        (
            |data, _| {
                fs::write(data.join("secret"), SECRET).unwrap();
                chmod(&data.join("secret"), 0o666);
            },
            &["secret", "has mode 0666"],
        ),
        (
            |data, victim| {
                private(victim, SECRET);
                symlink(victim, data.join("secret")).unwrap();
            },
            &["secret", "is a link"],
        ),
        (
            |data, _| pipe(&data.join("secret")),
            &["secret", "is a pipe"],
        ),
        (|data, _| pipe(&data.join("lock")), &["lock", "is a pipe"]),
        (
            |data, victim| symlink(victim, data.join("lock")).unwrap(),
            &["lock", "is a link"],
        ),
        (
            |data, _| pipe(&data.join("entries.db")),
            &["entries.db", "is a pipe"],
        ),
        (
            |data, victim| symlink(victim, data.join("entries.db")).unwrap(),
            &["entries.db", "is a link"],
        ),
        (
            |data, victim| symlink(victim, data.join("entries.db-wal")).unwrap(),
            &["entries.db-wal", "is a link"],
        ),
        (
            |data, victim| {
                fs::remove_file(victim).unwrap();
                fs::create_dir(victim).unwrap();
                symlink(victim, data.join("blobs")).unwrap();
            },
            &["blobs", "is a link"],
        ),
        (
            |data, _| fs::write(data.join("uploads"), "").unwrap(),
            &["uploads"],
        ),
    ];
    for (plant, words) in plants {
        let dir = tempfile::tempdir().unwrap();
        let (data, victim) = (dir.path().join("data"), dir.path().join("victim"));
        fs::create_dir(&data).unwrap();
        private(&victim, "precious");
        plant(&data, &victim);
        let before = fs::read(&victim).ok();
        let said = refusal(&SERVE, &data).await;
        for word in words {
            assert!(said.contains(word), "{word}: {said}");
        }
        assert_eq!(fs::read(&victim).ok(), before, "{said}");
    }
}

#[tokio::test]
async fn no_token_is_signed_with_a_secret_that_others_know() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("secret"), SECRET).unwrap();
    chmod(&dir.path().join("secret"), 0o644);
    let said = refusal(&TOKEN, dir.path()).await;
    assert!(said.contains("has mode 0644"), "{said}");
}

fn all_files(dir: &Path) -> Vec<PathBuf> {
    let paths = names(dir).into_iter().map(|name| dir.join(name));
    paths
        .flat_map(|path| {
            let below = if path.is_dir() {
                all_files(&path)
            } else {
                Vec::new()
            };
            [vec![path], below].concat()
        })
        .collect()
}

/// A service of an older version has made some of its files for all to read.
#[tokio::test]
async fn nobody_else_reads_the_files() {
    let dir = tempfile::tempdir().unwrap();
    let (data, log) = (dir.path().join("data"), dir.path().join("log"));
    fs::create_dir(&data).unwrap();
    for name in ["lock", "entries.db"] {
        File::create(data.join(name)).unwrap();
        chmod(&data.join(name), 0o644);
    }
    let program = Program::start(&data, &log);
    let remote = program.client(&data);
    let url = remote.create("open").await.unwrap().json();
    let url = url["signed_upload_url"].as_str().unwrap();
    remote
        .put(url, "&comp=block&blockid=AAAA", vec![1])
        .await
        .unwrap();
    let mut kept = remote.create("kept").await.unwrap().json();
    let url = kept["signed_upload_url"].take();
    remote
        .put(url.as_str().unwrap(), "", vec![1])
        .await
        .unwrap();
    remote.finalize("kept", 1).await.unwrap();
    let files = all_files(&data);
    assert!(files.len() >= 9, "{files:?}");
    for file in files {
        let expected = if file.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode(&file), expected, "{}", file.display());
    }
}

/// A file system that was just made for the service.
#[test]
fn an_empty_directory_that_is_open_to_all_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let (data, log) = (dir.path().join("data"), dir.path().join("log"));
    fs::create_dir(&data).unwrap();
    chmod(&data, 0o1777);
    let program = Program::start(&data, &log);
    assert_eq!(mode(&data), 0o700);
    program.end();
}

#[cfg(feature = "e2e")] // It gives files away: root.
#[tokio::test]
async fn what_belongs_to_somebody_else_is_refused() {
    use std::os::unix::fs::{chown, lchown};

    const NOBODY: Option<u32> = Some(65_534);
    let plants: [fn(&Path); 4] = [
        |data| chown(data, NOBODY, None).unwrap(),
        |data| {
            private(&data.join("secret"), SECRET);
            chown(data.join("secret"), NOBODY, None).unwrap();
        },
        |data| {
            private(&data.join("lock"), "");
            chown(data.join("lock"), NOBODY, None).unwrap();
        },
        |data| {
            fs::create_dir(data.join("blobs")).unwrap();
            chown(data.join("blobs"), NOBODY, None).unwrap();
        },
    ];
    for plant in plants {
        let dir = tempfile::tempdir().unwrap();
        plant(dir.path());
        let said = refusal(&SERVE, dir.path()).await;
        assert!(said.contains("belongs to user 65534"), "{said}");
    }
    let dir = tempfile::tempdir().unwrap();
    let (data, link) = (dir.path().join("data"), dir.path().join("link"));
    fs::create_dir(&data).unwrap();
    chmod(&data, 0o700);
    symlink(&data, &link).unwrap();
    lchown(&link, NOBODY, None).unwrap();
    let said = refusal(&SERVE, &link).await;
    assert!(said.contains("is a link that user 65534"), "{said}");
    assert_eq!(names(&data), Vec::<String>::new());
}
