//! What `gateway` says of itself, and of settings that are none.

use std::{
    io::{BufRead as _, BufReader},
    os::unix::net::UnixListener,
    process::{Command, Stdio},
};

use crate::program::{program, run, run_with};

#[test]
fn help_is_the_gateways_own() {
    for flag in ["--help", "-h", "-help"] {
        let said = run(&["gateway", flag]);
        assert_eq!(said.code, Some(0), "{said:?}");
        for words in ["--upstream", "--spool-dir", "--addr", "buildkitd --help"] {
            assert!(said.stdout.contains(words), "{flag}: {}", said.stdout);
        }
    }
    let help = run(&["help", "gateway"]);
    assert!(help.stdout.contains("--upstream"), "{}", help.stdout);
}

#[test]
fn version_is_the_gateways_own() {
    let version = run(&["--version"]).stdout;
    assert!(version.starts_with("buildkit-gha 0."), "{version}");
    for flag in ["--version", "-v", "-V"] {
        let said = run(&["gateway", "--debug", flag]);
        assert_eq!((said.code, &said.stdout), (Some(0), &version), "{flag}");
    }
}

/// No buildkitd is there to be started: that ends the command once the settings have been read.
fn start(args: &[&str], env: &[(&str, &str)]) -> String {
    let none = ("BUILDKIT_GHA_BUILDKITD", "/nonexistent/buildkitd");
    let args = [&["gateway", "--root=/nonexistent/root"], args].concat();
    let said = run_with(&args, &[env, &[none]].concat());
    assert_ne!(said.code, Some(0));
    said.stderr
}

#[test]
fn an_unknown_variable_is_one_line_with_the_nearest_name() {
    let said = start(&[], &[("BUILDKIT_GHA_TOKN", "hunter2")]);
    assert_eq!(
        said.matches("did you mean BUILDKIT_GHA_TOKEN?").count(),
        1,
        "{said}"
    );
    assert!(!said.contains("hunter2"), "{said}");
}

#[test]
fn mistakes_name_the_flag_or_the_variable_that_made_them() {
    let flag = start(&["--drain=soon"], &[("BUILDKIT_GHA_DRAIN", "1m")]);
    assert!(flag.contains("--drain") && flag.contains("soon"), "{flag}");
    let variable = start(&[], &[("BUILDKIT_GHA_DRAIN", "later")]);
    assert!(variable.contains("BUILDKIT_GHA_DRAIN"), "{variable}");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "[grpc]\naddress = [\"nonsense\"]").unwrap();
    let path = file.path().to_str().unwrap();
    let buildkitd = start(&[], &[("BUILDKITD_CONFIG", path)]);
    assert!(buildkitd.contains("nonsense"), "{buildkitd}");
}

/// What is said from the start up to the first line with one of these words.
fn until(gateway: &mut Command, words: &[&str]) -> Vec<String> {
    let mut child = gateway.stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut said = Vec::new();
    for line in lines.map(Result::unwrap) {
        let last = words.iter().any(|words| line.contains(words));
        said.push(line);
        if last {
            break;
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    said
}

/// Before any build: else its first client would find out.
#[test]
fn an_upstream_that_nobody_answers_is_told_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| format!("unix://{}", folder.path().join(name).display());
    // It takes connections, and nobody reads what comes.
    let _silent = UnixListener::bind(folder.path().join("silent")).unwrap();
    for (name, cause) in [
        ("silent", "no answer from"),
        ("nowhere", "No such file or directory"),
    ] {
        let upstream = path(name);
        let mut gateway = program(&["gateway", "--upstream", &upstream]);
        gateway.args(["--addr", &path("gateway"), "--spool-dir"]);
        gateway.arg(folder.path().join("spool"));
        let said = until(&mut gateway, &["listening"]);
        let (listening, before) = said.split_last().unwrap();
        assert!(listening.contains("listening"), "{said:?}");
        let told = |line: &&String| line.contains("no buildkitd answers there");
        let told: Vec<_> = before.iter().filter(told).collect();
        assert_eq!(told.len(), 1, "{said:?}");
        for words in ["WARN", &upstream, cause] {
            assert!(told[0].contains(words), "{words}: {told:?}");
        }
    }
}

#[test]
fn logging_may_be_set_behind_the_subcommand() {
    let said = run(&[
        "token",
        "--log",
        "no[filter",
        "--data-dir=/nonexistent",
        "--scope=a=r",
    ]);
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.stderr.contains("--log"), "{}", said.stderr);
}

#[test]
fn completions_and_manual_pages_are_made_by_the_program() {
    let bash = run(&["completion", "bash"]);
    assert!(bash.stdout.contains("--trusted-proxy"), "{}", bash.stderr);
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(run(&["man", dir.path().to_str().unwrap()]).code, Some(0));
    let page = std::fs::read_to_string(dir.path().join("buildkit-gha-gateway.1")).unwrap();
    assert!(page.contains("upstream"), "{page}");
}
