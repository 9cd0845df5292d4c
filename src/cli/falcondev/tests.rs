use super::*;

fn translated(variables: &[(&str, &str)]) -> Translation {
    let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let env: Env = variables.iter().map(pair).collect();
    Translation::of(&env)
}

fn flags(variables: &[(&str, &str)]) -> Vec<(&'static str, String)> {
    let values = translated(variables).values.into_iter();
    values.map(|value| (value.flag, value.text)).collect()
}

const UPSTREAM: &str = "https://results-receiver.actions.githubusercontent.com";

#[test]
fn files_and_sqlite_have_their_counterparts() {
    let found = flags(&[
        ("API_BASE_URL", "http://cache.example:3000"),
        ("STORAGE_DRIVER", "filesystem"),
        ("STORAGE_FILESYSTEM_PATH", "/data/cache"),
        ("DB_DRIVER", "sqlite"),
        ("CACHE_CLEANUP_OLDER_THAN_DAYS", "30"),
    ]);
    let expected = [
        ("base_url", "http://cache.example:3000"),
        ("listen", ":3000"),
        ("upstream_results_url", UPSTREAM),
        ("data_dir", "/data/cache"),
        ("max_age", "30d"),
    ];
    assert_eq!(
        found,
        expected.map(|(flag, value)| (flag, value.to_owned()))
    );
}

#[test]
fn a_bucket_and_a_database_have_theirs() {
    let found = flags(&[
        ("API_BASE_URL", "https://cache.example"),
        ("PORT", "8080"),
        ("NITRO_HOST", "::1"),
        ("DEFAULT_ACTIONS_RESULTS_URL", "https://results.example"),
        ("STORAGE_DRIVER", "s3"),
        ("STORAGE_S3_BUCKET", "our-cache"),
        ("STORAGE_GCS_BUCKET", "unused"),
        ("DB_DRIVER", "postgres"),
        ("DB_POSTGRES_HOST", "db.example"),
        ("DB_POSTGRES_PORT", "5433"),
        ("DB_POSTGRES_USER", "cache"),
        ("DB_POSTGRES_PASSWORD", "p@ss/w:rd"),
        ("DB_POSTGRES_DATABASE", "cache"),
        ("CACHE_CLEANUP_OLDER_THAN_DAYS", "0"),
    ]);
    let expected = [
        ("base_url", "https://cache.example"),
        ("listen", "[::1]:8080"),
        ("upstream_results_url", "https://results.example"),
        ("store", "s3://our-cache/buildkit-gha"),
        (
            "database",
            "postgres://cache:p%40ss%2Fw%3Ard@db.example:5433/cache",
        ),
    ];
    assert_eq!(
        found,
        expected.map(|(flag, value)| (flag, value.to_owned()))
    );
    let url = "postgres://u:p@h/n";
    let found = flags(&[
        ("API_BASE_URL", "https://cache.example"),
        ("DB_DRIVER", "postgres"),
        ("DB_POSTGRES_URL", url),
        ("CACHE_CLEANUP_OLDER_THAN_DAYS", "30"),
        ("DISABLE_CLEANUP_JOBS", "true"),
    ]);
    assert_eq!(found.last().unwrap(), &("database", url.to_owned()));
}

#[test]
fn what_has_none_is_named_with_its_cure() {
    let warnings = translated(&[
        ("API_BASE_URL", "http://x"),
        ("DB_DRIVER", "mysql"),
        ("ENABLE_DIRECT_DOWNLOADS", "false"),
        ("MANAGEMENT_API_KEY", "hunter2"),
    ])
    .warnings;
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(
        warnings[0].contains("BUILDKIT_GHA_DATABASE"),
        "{warnings:?}"
    );
    assert!(!warnings.concat().contains("hunter2"), "{warnings:?}");
}

#[test]
fn other_programs_have_such_variables_too() {
    for variables in [
        &[("API_BASE_URL", "http://x"), ("PORT", "80")][..],
        &[("STORAGE_DRIVER", "overlay2"), ("DEBUG", "1")],
    ] {
        assert_eq!(translated(variables), Translation::default());
    }
}

#[test]
fn every_flag_is_one_of_serve() {
    let serve = crate::cli::documented();
    let serve = serve.find_subcommand(SERVE).unwrap();
    for row in MAPPINGS {
        let known = serve.get_arguments().any(|arg| arg.get_id() == row.flag);
        assert!(known, "{}", row.flag);
    }
}
