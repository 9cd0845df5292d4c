use super::*;

const TOKEN: &str = "header.claims.hunter2";

fn attrs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect()
}

fn read(pairs: &[(&str, &str)]) -> Parsed {
    let mut attrs = attrs(pairs);
    attrs.entry("token".to_owned()).or_insert(TOKEN.to_owned());
    parse(&attrs, &Overrides::default())
}

fn url(text: &str) -> Url {
    Url::parse(text).unwrap()
}

#[test]
fn the_defaults_are_buildkits() {
    let parsed = read(&[("url", "http://cache.example/x/")]);
    let attributes = parsed.attributes.unwrap();
    assert_eq!(attributes.scope, "buildkit");
    assert_eq!(attributes.mode, Mode::Min);
    assert_eq!(attributes.timeout, Duration::from_mins(10));
    assert_eq!(attributes.api, Api::V1(url("http://cache.example/x/")));
    assert_eq!(attributes.ignore_error, None);
    assert!(attributes.ignores_errors() && parsed.ignore_error);
    assert!(attributes.rest().is_none());
    assert_eq!(attributes.github_api_url.as_str(), DEFAULT_GITHUB_API_URL);
    assert!(parsed.unknown.is_empty());
}

#[test]
fn the_api_is_chosen_as_buildkit_chooses_it() {
    let one = "http://one.example/";
    let two = "http://two.example/";
    let hosted = "https://results-receiver.actions.githubusercontent.com/";
    let (v1, v2) = (|u| Api::V1(url(u)), |u| Api::V2(url(u)));
    for (pairs, api) in [
        (vec![("url", one)], v1(one)),
        (vec![("url", one), ("url_v2", two)], v2(two)),
        (
            vec![("url", one), ("url_v2", two), ("version", "1")],
            v1(one),
        ),
        (
            vec![("url", one), ("url_v2", two), ("version", "2")],
            v2(two),
        ),
        (vec![("url", one), ("version", "2")], v2(one)),
        (vec![("url", one), ("version", "0")], v1(one)),
        (vec![("url", hosted)], v2(hosted)),
        (vec![("url", hosted), ("version", "1")], v1(hosted)),
        (vec![("url", one), ("url_v2", "")], v2(one)),
    ] {
        assert_eq!(read(&pairs).attributes.unwrap().api, api, "{pairs:?}");
    }
}

#[test]
fn the_operators_service_wins() {
    let overrides = Overrides {
        service: OperatorService::new(
            Some(url("http://ours.example/")),
            Some(OperatorToken::Given(Secret::new("ours"))),
        ),
        github_api_url: Some(url("https://ghes.example/api/v3/")),
    };
    let written = attrs(&[
        ("url", "http://theirs.example/"),
        ("token", TOKEN),
        ("repository", "o/r"),
        ("ghtoken", "g"),
    ]);
    let attributes = parse(&written, &overrides).attributes.unwrap();
    assert_eq!(attributes.api, Api::V2(url("http://ours.example/")));
    assert_eq!(attributes.token.expose(), "ours");
    let rest = attributes.rest().unwrap();
    assert_eq!(rest.base.as_str(), "https://ghes.example/api/v3/");
    assert_eq!(rest.repository, "o/r");

    let v1 = parse(&attrs(&[("version", "1")]), &overrides)
        .attributes
        .unwrap();
    assert_eq!(v1.api, Api::V1(url("http://ours.example/")));
}

#[test]
fn one_half_of_the_operators_service_goes_with_no_half_of_an_entrys() {
    let written = attrs(&[("url_v2", "http://theirs.example/"), ("token", TOKEN)]);
    let ours = Some(url("http://ours.example/"));
    let token = Some(OperatorToken::Given(Secret::new("ours")));
    for half in [
        OperatorService::new(ours, None),
        OperatorService::new(None, token),
    ] {
        let overrides = Overrides {
            service: half,
            ..Overrides::default()
        };
        let attributes = parse(&written, &overrides).attributes.unwrap();
        assert_eq!(attributes.api, Api::V2(url("http://theirs.example/")));
        assert_eq!(attributes.token.expose(), TOKEN);
        for missing in ["url_v2", "token"] {
            let mut half = written.clone();
            half.remove(missing);
            let error = parse(&half, &overrides).attributes.unwrap_err();
            assert_eq!(error.mistakes.len(), 1, "{error}");
        }
    }
}

#[test]
fn all_mistakes_are_in_one_report_and_no_secret_is() {
    let parsed = read(&[
        ("url", "hunter2"),
        ("timeout", "10"),
        ("version", "two"),
        ("scope", "a,b"),
        ("ghtoken", "hunter2"),
    ]);
    let error = parsed.attributes.unwrap_err();
    let text = error.to_string();
    assert_eq!(error.mistakes.len(), 3, "{text}");
    for part in ["timeout=\"10\"", "version=\"two\"", "scope=\"a,b\""] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(!text.contains("hunter2"), "{text}");
    assert!(parsed.ignore_error);

    let missing = parse(&BTreeMap::new(), &Overrides::default());
    assert_eq!(missing.attributes.unwrap_err().mistakes.len(), 2);
    assert!(
        read(&[("url", "http://a/"), ("version", "two")])
            .attributes
            .is_err()
    );
}

#[test]
fn what_buildkit_overlooks_is_said_and_the_default_is_used() {
    let parsed = read(&[
        ("url", "http://a.example/"),
        ("mode", "most"),
        ("ignore-error", "maybe"),
        ("import-verify", "some"),
        ("compression", "lzma"),
        ("compression-level", "high"),
        ("force-compression", "perhaps"),
    ]);
    let said: Vec<_> = parsed.ignored.iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), 6, "{said:?}");
    let mode = "mode=\"most\": min or max was expected, so min is used";
    assert!(said.contains(&mode.to_owned()), "{said:?}");
    let attributes = parsed.attributes.unwrap();
    assert_eq!(
        (attributes.mode, attributes.ignore_error),
        (Mode::Min, None)
    );
    assert_eq!(attributes.import_verify, Verify::Probe);
    assert!(attributes.passthrough.is_empty() && parsed.ignore_error);
}

#[test]
fn an_export_outlives_its_build_only_where_its_failure_need_not_fail_it() {
    let asynchronous = |pairs: &[(&str, &str)]| {
        let mut all = vec![("url", "http://a.example/")];
        all.extend(pairs);
        let parsed = read(&all);
        let said: Vec<_> = parsed.ignored.iter().map(ToString::to_string).collect();
        assert!(parsed.unknown.is_empty());
        (parsed.attributes.unwrap().asynchronous, said)
    };
    let (yes, no) = ((true, vec![]), (false, vec![]));
    assert_eq!(asynchronous(&[]), no);
    assert_eq!(asynchronous(&[("async", "false")]), no);
    assert_eq!(asynchronous(&[("async", "true")]), yes);
    assert_eq!(
        asynchronous(&[("async", "1"), ("ignore-error", "true")]),
        yes
    );
    let (is, said) = asynchronous(&[("async", "true"), ("ignore-error", "false")]);
    let expected =
        "async=\"true\": with ignore-error=false the build waits for its export, so false is used";
    assert_eq!((is, said), (false, vec![expected.to_owned()]));
    let (is, said) = asynchronous(&[("async", "perhaps")]);
    let expected = "async=\"perhaps\": true or false was expected, so false is used";
    assert_eq!((is, said), (false, vec![expected.to_owned()]));
}

#[test]
fn an_explicit_false_survives_other_mistakes() {
    assert!(!read(&[("ignore-error", "false"), ("timeout", "x")]).ignore_error);
}

#[test]
fn unknown_attributes_are_listed() {
    let parsed = read(&[("url", "http://a.example/"), ("scoop", "x"), ("ref", "y")]);
    assert_eq!(parsed.unknown, ["ref", "scoop"]);
    assert!(parsed.attributes.is_ok());
}

#[test]
fn the_local_export_says_all_that_versions_disagree_on() {
    let attributes = read(&[
        ("url", "http://a.example/"),
        ("mode", "max"),
        ("compression", "zstd"),
        ("force-compression", ""),
        ("ignore-error", "false"),
    ])
    .attributes
    .unwrap();
    let expected = attrs(&[
        ("compression", "zstd"),
        ("dest", "store"),
        ("force-compression", ""),
        ("ignore-error", "false"),
        ("image-manifest", "true"),
        ("mode", "max"),
        ("oci-mediatypes", "true"),
    ]);
    let image = local_export_attrs(&attributes, "store", ManifestForm::Image);
    assert_eq!(image, expected);
    let list = local_export_attrs(&attributes, "store", ManifestForm::DockerList);
    for name in ["image-manifest", "oci-mediatypes"] {
        assert_eq!(list[name], "false");
    }
}

#[test]
fn the_loopback_entries_hold_nothing_of_the_real_service() {
    let attributes = read(&[("url_v2", "http://real.example/"), ("timeout", "1m30s")])
        .attributes
        .unwrap();
    let at = url("http://127.0.0.1:1/handle/");
    let import = loopback_import_attrs(&attributes, &at, &Secret::new("ours"));
    let expected = attrs(&[
        ("scope", "buildkit"),
        ("timeout", "90s"),
        ("token", "ours"),
        ("url", at.as_str()),
    ]);
    assert_eq!(import, expected);
    let export = loopback_export_attrs(&attributes, &at, &Secret::new("ours"));
    assert_eq!(export["mode"], "min");
    assert_eq!(export["ignore-error"], "true");
    assert!(!format!("{import:?}{export:?}").contains("real.example"));
}

#[test]
fn canonical_texts_are_equal_for_equal_attributes_only() {
    let a = canonical(&attrs(&[("a", "bc"), ("token", TOKEN)]));
    assert_eq!(a, canonical(&attrs(&[("token", TOKEN), ("a", "bc")])));
    assert_ne!(a, canonical(&attrs(&[("ab", "c"), ("token", TOKEN)])));
    assert!(!a.contains("hunter2"));
}
