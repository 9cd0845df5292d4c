use super::{
    check::{MAX_ELEMENTS, MAX_LAYERS, MAX_RECORDS},
    *,
};

const STOCK: &[u8] = include_bytes!("../../tests/fixtures/local-export/config.json");

fn digest(n: usize) -> Digest {
    Digest::sha256(n.to_string())
}

#[test]
fn what_buildkit_wrote_is_written_back_byte_for_byte() {
    let config = parse(STOCK).unwrap();
    assert_eq!((config.layers.len(), config.records.len()), (7, 10));
    assert_eq!(config.to_json(), STOCK);
}

#[test]
fn an_empty_index_is_an_empty_object() {
    assert_eq!(CacheConfig::default().to_json(), b"{}");
    assert_eq!(parse(b"{}").unwrap(), CacheConfig::default());
    assert_eq!(
        parse(br#"{"layers":null,"records":null}"#).unwrap(),
        CacheConfig::default()
    );
}

#[test]
fn fields_are_omitted_and_escaped_as_go_does() {
    let config = CacheConfig {
        layers: vec![
            Layer {
                blob: digest(0),
                parent: NO_PARENT,
                annotations: None,
            },
            Layer {
                blob: digest(1),
                parent: 0,
                annotations: Some(Annotations {
                    media_type: "m".to_owned(),
                    diff_id: Some(digest(2)),
                    size: 3,
                    created_at: Time::default(),
                }),
            },
        ],
        records: vec![
            Record {
                digest: "k".to_owned(),
                ..Record::default()
            },
            Record {
                chains: vec![ChainResult {
                    layers: vec![1],
                    created_at: Time::default(),
                }],
                digest: "l".to_owned(),
                inputs: vec![vec![Link {
                    selector: "<a&b>\u{2028}\"".to_owned(),
                    link: 0,
                }]],
                ..Record::default()
            },
        ],
        ..CacheConfig::default()
    };
    let expected = format!(
        r#"{{"layers":[{{"blob":"{}","parent":-1}},{{"blob":"{}","annotations":{{"mediaType":"m","diffID":"{}","size":3,"createdAt":"0001-01-01T00:00:00Z"}}}}],"records":[{{"digest":"k"}},{{"chains":[{{"layers":[1],"createdAt":"0001-01-01T00:00:00Z"}}],"digest":"l","inputs":[[{{"selector":"\u003ca\u0026b\u003e\u2028\"","link":0}}]]}}]}}"#,
        digest(0),
        digest(1),
        digest(2)
    );
    let json = config.to_json();
    assert_eq!(String::from_utf8(json.clone()).unwrap(), expected);
    assert_eq!(parse(&json).unwrap(), config);
}

#[test]
fn what_is_broken_is_refused_by_name() {
    let layer = |parent: i64| format!(r#"{{"blob":"{}","parent":{parent}}}"#, digest(0));
    let layers = |list: &[i64]| {
        let list: Vec<_> = list.iter().map(|p| layer(*p)).collect();
        format!(r#"{{"layers":[{}]}}"#, list.join(","))
    };
    for (json, words) in [
        ("[".to_owned(), "not what BuildKit writes"),
        (r#"{"layers":[{"blob":"x"}]}"#.to_owned(), "not a digest"),
        (
            format!("{}{}", "[".repeat(500), "]".repeat(500)),
            "not what BuildKit writes",
        ),
        (layers(&[0]), "layers of the cache index form a cycle"),
        (layers(&[1, 2, 0]), "layers of the cache index form a cycle"),
        (layers(&[-1, 7]), "layer 1 of the cache index names layer 7"),
        (layers(&[-2]), "names layer -2"),
        (
            r#"{"records":[{"inputs":[[{"link":0}]]}]}"#.to_owned(),
            "records of the cache",
        ),
        (
            r#"{"records":[{"inputs":[[{"link":3}]]}]}"#.to_owned(),
            "names record 3",
        ),
        (r#"{"records":[{"inputs":[[]]}]}"#.to_owned(), "record 0"),
        (
            r#"{"records":[{"layers":[{"layer":0}]}]}"#.to_owned(),
            "names layer 0",
        ),
        (
            r#"{"records":[{"chains":[{"layers":[9]}]}]}"#.to_owned(),
            "names layer 9",
        ),
        (
            r#"{"records":[{"layers":[{"createdAt":"x"}]}]}"#.to_owned(),
            "not a time",
        ),
        (" []".to_owned(), "no JSON object"),
        ("null".to_owned(), "no JSON object"),
    ] {
        let error = parse(json.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(words), "{words:?} in {error:?}");
    }
}

#[test]
fn too_much_is_refused() {
    let many = format!(r#"{{"records":[{}{{}}]}}"#, "{},".repeat(MAX_RECORDS));
    assert!(matches!(
        parse(many.as_bytes()),
        Err(IndexError::TooLarge {
            what: "records",
            ..
        })
    ));
    let marks = "[".repeat(MAX_ELEMENTS + 1);
    assert!(matches!(
        parse(marks.as_bytes()),
        Err(IndexError::TooLarge {
            what: "elements",
            ..
        })
    ));
}

#[test]
fn a_very_long_chain_costs_no_call_stack() {
    // Every parent comes after its child.
    let layer = |at: usize| Layer {
        blob: digest(0),
        parent: if at + 1 == MAX_LAYERS {
            NO_PARENT
        } else {
            i64::try_from(at).unwrap() + 1
        },
        annotations: None,
    };
    let config = CacheConfig {
        layers: (0..MAX_LAYERS).map(layer).collect(),
        ..CacheConfig::default()
    };
    let order = layer_order(&config).unwrap();
    assert_eq!(order, (0..MAX_LAYERS).rev().collect::<Vec<_>>());
}
