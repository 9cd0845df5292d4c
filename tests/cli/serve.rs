//! `buildkit-gha serve`: where it listens.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::Stdio,
};

use crate::program::{program, run, run_with};

#[test]
fn it_listens_on_names_and_on_all_interfaces() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("cache");
    for (listen, reached_by) in [
        ("localhost:0", "localhost"),
        ("localhost:0", "127.0.0.1"),
        (":0", "127.0.0.1"),
    ] {
        let mut serve = program(&["serve", "--listen", listen, "--data-dir"]);
        let mut child = serve.arg(&dir).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let port = line.trim().rsplit_once(':').unwrap().1.parse().unwrap();
        let reached = TcpStream::connect((reached_by, port));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(reached.is_ok(), "{listen} said {line:?}, {reached:?}");
    }
}

/// A static program on a machine, or in an image, that has nothing else.
#[test]
fn it_needs_no_certificates_to_start() {
    let dir = tempfile::tempdir().unwrap();
    let mut serve = program(&["serve", "--listen", "127.0.0.1:0", "--data-dir"]);
    serve.env("SSL_CERT_FILE", "/dev/null");
    serve.env("SSL_CERT_DIR", dir.path());
    let data_dir = dir.path().join("data");
    let mut child = serve.arg(data_dir).stdout(Stdio::piped()).spawn().unwrap();
    let (mut line, mut served) = (String::new(), String::new());
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("listening on http://").unwrap();
    // It says where it listens before it serves.
    let mut probe = TcpStream::connect(address).unwrap();
    write!(
        probe,
        "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let read = probe.read_to_string(&mut served);
    child.kill().unwrap();
    child.wait().unwrap();
    read.unwrap();
    assert!(served.starts_with("HTTP/1.1 200"), "{served}");
}

/// CI systems and compose files set them so.
#[test]
fn an_empty_variable_is_as_good_as_none() {
    let mut serve = program(&["serve", "--data-dir", "/dev/null"]);
    for name in [
        "MAX_SIZE",
        "MAX_ENTRIES",
        "LOW_WATER",
        "URL_TTL",
        "BASE_URL",
    ] {
        serve.env(format!("BUILDKIT_GHA_{name}"), "");
    }
    let output = serve.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("data directory /dev/null"), "{said}");
}

#[test]
fn migrate_needs_two_sides_and_serve_its_data_directory() {
    for (args, hint) in [
        (&["serve"][..], "--data-dir"),
        (&["serve", "migrate"], "--to-data-dir"),
        (
            &["serve", "migrate", "--to-data-dir", "/nowhere"],
            "--from-data-dir",
        ),
        (
            &[
                "serve",
                "--data-dir",
                "/nowhere",
                "migrate",
                "--to-data-dir",
                "/nowhere",
            ],
            "cannot be used with",
        ),
        (
            &[
                "serve",
                "migrate",
                "--from-data-dir=/a",
                "--to-data-dir=/b",
                "--to-store=/c",
            ],
            "file:///DIRECTORY",
        ),
        (
            &[
                "serve",
                "migrate",
                "--from-data-dir=/a",
                "--to-data-dir=/b",
                "--to-database=mysql://x",
            ],
            "--to-database: ",
        ),
    ] {
        let said = run(args);
        assert_eq!(said.code, Some(2), "{said:?}");
        assert!(said.stderr.contains(hint), "{said:?}");
    }
    let said = run(&[
        "serve",
        "migrate",
        "--from-data-dir=/nowhere",
        "--to-data-dir=/b",
    ]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.stderr.contains("/nowhere is no directory"), "{said:?}");
}

/// The variables of `serve` may be set where it runs.
#[test]
fn migrate_moves_what_variables_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (source, target) = (path("source"), path("target"));
    let said = run(&[
        "serve",
        "migrate",
        "--from-data-dir",
        &source,
        "--to-data-dir",
        &target,
    ]);
    assert_eq!(said.code, Some(1), "{said:?}");
    let mut serve = program(&["serve", "--listen", "127.0.0.1:0", "--data-dir", &source]);
    let mut child = serve.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let variables = [
        ("BUILDKIT_GHA_DATA_DIR", "/nowhere"),
        ("BUILDKIT_GHA_FROM_DATA_DIR", &source),
        ("BUILDKIT_GHA_TO_DATA_DIR", &target),
        ("BUILDKIT_GHA_TO_DATABASE", ""),
    ];
    let said = run_with(&["serve", "migrate"], &variables);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.stdout.contains("Target:        0 entries"), "{said:?}");
    let said = run_with(&["serve", "migrate", "-o", "json"], &variables);
    let answer: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(answer["copied"]["entries"], 0, "{said:?}");
    let secret = |dir: &str| std::fs::read(format!("{dir}/secret")).unwrap();
    assert_eq!(secret(&source), secret(&target));
}

#[test]
fn no_address_and_no_duration_are_wrong_usage() {
    for (flag, value, hint) in [
        ("--listen", "localhost", ":3000"),
        ("--listen", "http://localhost:3000", ":3000"),
        ("--url-ttl", "1 hour", "as in 10m"),
        ("--reservation-age", "10", "no known unit"),
        ("--reservation-age", "0s", "no time at all"),
        ("--max-size", "100 apples", "such as 512MB"),
        ("--max-repository-size", "0GB", "no room at all"),
        ("--max-entries", "0", "zero"),
        ("--max-age", "7", "no known unit"),
        ("--low-water", "0.9", "such as 90%"),
    ] {
        let said = run(&["serve", "--data-dir", "/nowhere", flag, value]);
        assert_eq!(said.code, Some(2), "{said:?}");
        assert!(said.stderr.contains(hint), "{said:?}");
    }
}

/// What the program says on standard error until it listens, and is ended.
fn started_with(env: &[(&str, &str)]) -> (String, String) {
    let mut serve = program(&["serve"]);
    serve.envs(env.iter().copied());
    serve.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = serve.spawn().unwrap();
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    child.kill().unwrap();
    let output = child.wait_with_output().unwrap();
    (line, String::from_utf8(output.stderr).unwrap())
}

#[test]
fn variables_of_github_actions_cache_server_start_it() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("cache");
    let mut env = vec![
        ("API_BASE_URL", "http://cache.example:3000"),
        ("NITRO_HOST", "127.0.0.1"),
        ("NITRO_PORT", "0"),
        ("STORAGE_DRIVER", "filesystem"),
        ("STORAGE_FILESYSTEM_PATH", data_dir.to_str().unwrap()),
        ("DB_DRIVER", "mysql"),
        ("CACHE_CLEANUP_OLDER_THAN_DAYS", "30"),
    ];
    let (line, log) = started_with(&env);
    assert!(
        line.starts_with("listening on http://127.0.0.1:"),
        "{line}{log}"
    );
    assert!(data_dir.join("lock").exists(), "{log}");
    for taken in [
        "API_BASE_URL is taken as --base-url",
        "NITRO_PORT is taken as --listen",
        "STORAGE_FILESYSTEM_PATH is taken as --data-dir",
        "CACHE_CLEANUP_OLDER_THAN_DAYS is taken as --max-age",
        "DEFAULT_ACTIONS_RESULTS_URL (by default) is taken as --upstream-results-url",
        "DB_DRIVER: entries are in SQLite",
        "set BUILDKIT_GHA_TRUST_ISSUER",
    ] {
        assert!(log.contains(taken), "{taken}: {log}");
    }
    let own = dir.path().join("own");
    env.push(("BUILDKIT_GHA_DATA_DIR", own.to_str().unwrap()));
    let (_, log) = started_with(&env);
    assert!(own.join("lock").exists(), "our own variable wins: {log}");
    assert!(
        log.contains("STORAGE_FILESYSTEM_PATH is not taken"),
        "{log}"
    );
    env.push(("CACHE_CLEANUP_OLDER_THAN_DAYS", "many"));
    let output = program(&["serve"]).envs(env).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("--max-age is taken from CACHE_CLEANUP_OLDER_THAN_DAYS"),
        "{said}"
    );
}

#[test]
fn it_is_not_its_own_upstream() {
    let dir = tempfile::tempdir().unwrap();
    let mut serve = program(&["serve", "--listen", "127.0.0.1:0", "--data-dir"]);
    serve.arg(dir.path().join("data"));
    serve.args(["--base-url", "https://cache.example/"]);
    serve.args(["--upstream-results-url", "https://cache.example"]);
    let output = serve.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("is this service itself"), "{said}");
}
