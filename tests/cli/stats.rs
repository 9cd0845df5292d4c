//! `stats` and `drain` where no gateway runs; `e2e/tests/pending.rs` and `admin.rs` run them on one.

use crate::program::{run, run_with};

const VARIABLE: &str = "BUILDKIT_GHA_ADMIN_SOCKET";

#[test]
fn a_gateway_that_is_not_there_is_a_failure_that_says_what_to_do() {
    for command in ["stats", "drain"] {
        let said = run(&[command, "--admin-socket", "/does/not/exist.sock"]);
        assert_eq!(said.code, Some(1), "{said:?}");
        assert!(
            said.stderr
                .contains("no gateway listens on /does/not/exist.sock")
        );
        assert!(said.stderr.contains("docker exec"), "{said:?}");
        let said = run_with(&[command], &[(VARIABLE, "unix:///does/not/exist.sock")]);
        assert!(
            said.stderr
                .contains("no gateway listens on /does/not/exist.sock")
        );
    }
}

#[test]
fn wrong_usage_is_2() {
    let cases: [&[&str]; 5] = [
        &["stats", "--format", "yaml"],
        &["stats", "--last", "many"],
        &["drain", "--timeout", "soon"],
        &["drain", "-o", "markdown"],
        &["stats", "--admin-socket", "off"],
    ];
    for case in cases {
        let said = run(case);
        assert_eq!(said.code, Some(2), "{said:?}");
        assert!(said.stdout.is_empty(), "{said:?}");
    }
}
