use std::slice::from_ref;

use super::*;

fn entry(kind: &str, attrs: &[(&str, &str)]) -> CacheEntry {
    CacheEntry {
        kind: kind.to_owned(),
        attrs: attrs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect(),
    }
}

fn field(number: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    wire::append(&mut out, number, payload);
    out
}

fn replacement() -> CacheEntry {
    entry(
        "gha",
        &[("url", "http://127.0.0.1:1/h/"), ("token", "ours")],
    )
}

fn ours(old: &CacheEntry) -> EntryEdit {
    match old.kind.as_str() {
        "gha" => EntryEdit::Replace(vec![replacement()]),
        "gone" => EntryEdit::REMOVE,
        _ => EntryEdit::Keep,
    }
}

const JSON: &str = r#"[ {"Type":"registry","Attrs":{"ref":"b","n":"a"},"More":1.10}, {"Type":"gha","Attrs":{"token":"t"}},7]"#;

fn cache_message() -> Vec<u8> {
    let mut cache = field(1, b"deprecated ref");
    cache.extend(field(4, &write_entry(&entry("local", &[("dest", "d")]))));
    cache.extend(field(4, &write_entry(&entry("gha", &[("scope", "a")]))));
    cache.extend(field(5, &write_entry(&entry("registry", &[("ref", "r")]))));
    cache.extend(field(5, &write_entry(&entry("gha", &[("scope", "a")]))));
    cache.extend(field(4, &write_entry(&entry("gone", &[]))));
    cache
}

fn solve_message(cache: &[u8], json: &str) -> Vec<u8> {
    let mut message = field(8, cache);
    message.extend(field(1, b"the-ref"));
    // An unknown field with an overlong varint.
    message.extend([0xa0, 0x06, 0x81, 0x80, 0x00]);
    message.extend(field(5, b"the-session"));
    message.extend(field(7, &wire::map_entry("cache-imports", json)));
    message.extend(field(7, &wire::map_entry("filename", "cache-imports")));
    message
}

#[test]
fn a_solve_is_read() {
    let read = read_solve(&solve_message(&cache_message(), JSON)).unwrap();
    assert_eq!(read.build_ref, "the-ref");
    assert_eq!(read.session, "the-session");
    assert!(!read.has_frontend);
    let kinds: Vec<_> = read.exports.iter().map(|e| e.kind.as_str()).collect();
    assert_eq!(kinds, ["local", "gha", "gone"]);
    assert_eq!(read.imports[1], entry("gha", &[("scope", "a")]));
}

#[test]
fn a_solve_that_holds_nothing_of_ours_keeps_its_bytes() {
    // The Cache field has an overlong length, which must survive too.
    let mut message = vec![0x42, 0x82, 0x80, 0x00, 0x2a, 0x00];
    message.extend(field(7, &wire::map_entry("cache-imports", "not json")));
    let keep = |_: &CacheEntry| EntryEdit::Keep;
    assert_eq!(rewrite_solve(&message, keep, keep), Ok(message.clone()));
    let full = solve_message(&cache_message(), JSON);
    assert_eq!(rewrite_solve(&full, keep, keep), Ok(full));
}

#[test]
fn ours_stand_first_and_all_else_stays() {
    let rewritten = rewrite_solve(
        &solve_message(&cache_message(), JSON),
        |old| match ours(old) {
            EntryEdit::Replace(new) if !new.is_empty() => {
                EntryEdit::Replace(vec![entry("local", &[("dest", "ours")])])
            }
            other => other,
        },
        ours,
    )
    .unwrap();
    let mut cache = field(4, &write_entry(&entry("local", &[("dest", "ours")])));
    cache.extend(field(1, b"deprecated ref"));
    cache.extend(field(4, &write_entry(&entry("local", &[("dest", "d")]))));
    cache.extend(field(5, &write_entry(&entry("registry", &[("ref", "r")]))));
    cache.extend(field(5, &write_entry(&replacement())));
    let json = r#"[{"Type":"registry","Attrs":{"ref":"b","n":"a"},"More":1.10},{"Type":"gha","Attrs":{"token":"ours","url":"http://127.0.0.1:1/h/"}},7]"#;
    assert_eq!(rewritten, solve_message(&cache, json));
}

#[test]
fn exports_of_a_second_cache_field_come_first_too() {
    let mut message = field(8, &field(4, &write_entry(&entry("local", &[]))));
    message.extend(field(8, &field(4, &write_entry(&entry("gha", &[])))));
    let rewritten = rewrite_solve(&message, ours, ours).unwrap();
    let exports = read_solve(&rewritten).unwrap().exports;
    assert_eq!(exports, [replacement(), entry("local", &[])]);
}

#[test]
fn all_four_places_say_the_same() {
    let old = entry("gha", &[("scope", "a")]);
    let json = r#"[{"Type":"gha","Attrs":{"scope":"a"}}]"#;
    let solve = solve_message(&field(5, &write_entry(&old)), json);
    let solve = rewrite_solve(&solve, ours, ours).unwrap();
    let attr = wire::map_get(&solve, 7, "cache-imports").unwrap().unwrap();
    let mut llb = field(3, &wire::map_entry("cache-imports", json));
    llb.extend(field(12, &write_entry(&old)));
    llb.extend(field(2, b"dockerfile.v0"));
    assert_eq!(read_llb_imports(&llb), Ok(vec![old.clone(), old]));
    let llb = rewrite_llb_solve(&llb, ours).unwrap();

    let expected = vec![replacement()];
    assert_eq!(read_solve(&solve).unwrap().imports, expected);
    assert_eq!(imports_json::read(attr), expected);
    assert_eq!(
        read_llb_imports(&llb),
        Ok([expected.clone(), expected].concat())
    );
    assert_eq!(
        wire::last(&llb, 2).unwrap().unwrap().text(),
        Ok("dockerfile.v0")
    );
}

#[test]
fn only_our_manifest_leaves_the_response() {
    let (mine, theirs) = (Digest::sha256("mine"), Digest::sha256("theirs"));
    let answer = |digest: Digest| {
        let mut message = field(1, &wire::map_entry("image.name", "x"));
        let json = format!(r#"{{"mediaType":"m","digest":"{digest}","size":1}}"#);
        message.extend(field(1, &wire::map_entry("cache.manifest", &json)));
        message
    };
    let strip = |message: &[u8]| strip_cache_manifest(message, |digest| digest == mine);
    assert_eq!(
        strip(&answer(mine)),
        Ok(field(1, &wire::map_entry("image.name", "x")))
    );
    assert_eq!(strip(&answer(theirs)), Ok(answer(theirs)));
    let odd = field(1, &wire::map_entry("cache.manifest", "not json"));
    assert_eq!(strip(&odd), Ok(odd));
}

#[test]
fn a_spoilt_request_is_an_error() {
    let mut message = solve_message(&cache_message(), JSON);
    message.truncate(message.len() - 1);
    let keep = |_: &CacheEntry| EntryEdit::Keep;
    assert_eq!(
        rewrite_solve(&message, keep, keep),
        Err(WireError::Truncated)
    );
    assert_eq!(
        rewrite_llb_solve(&[0x60, 1], keep),
        Err(WireError::NotBytes(12))
    );
}

#[test]
fn a_cache_is_added_where_buildkit_and_a_frontend_look() {
    let added = replacement();
    // Without a frontend nobody reads its options.
    let driven_by_client = field(1, b"the-ref");
    let message = add_to_solve(&driven_by_client, &added).unwrap();
    let read = read_solve(&message).unwrap();
    assert_eq!(read.exports, from_ref(&added));
    assert_eq!(read.imports, from_ref(&added));
    assert!(
        wire::last(&message, solve::FRONTEND_ATTRS)
            .unwrap()
            .is_none()
    );

    // What is there stays and stands first.
    let mut message = solve_message(&cache_message(), JSON);
    message.extend(field(solve::FRONTEND, b"dockerfile.v0"));
    let with = add_to_solve(&message, &added).unwrap();
    let read = read_solve(&with).unwrap();
    assert_eq!(read.exports.len(), 4);
    assert_eq!(read.exports.last(), Some(&added));
    let option = Fields::new(&with)
        .map(Result::unwrap)
        .filter(|field| field.number == solve::FRONTEND_ATTRS)
        .map(|field| MapEntry::read(field.payload().unwrap()).unwrap())
        .find(|option| option.key == CACHE_IMPORTS);
    let imports = imports_json::read(option.unwrap().value);
    assert_eq!(imports.last(), Some(&added));
    assert_eq!(imports[0].kind, "registry");

    let mut message = field(llb::FRONTEND, b"dockerfile.v0");
    message = add_to_llb_solve(&message, &added).unwrap();
    assert_eq!(read_llb_imports(&message).unwrap(), [added.clone(), added]);
}

#[test]
fn a_truth_is_any_number_but_0() {
    let mut message = solve_message(&cache_message(), JSON);
    assert!(!read_solve(&message).unwrap().is_internal);
    message.extend([11 << 3, 0x80, 0x00]);
    assert!(!read_solve(&message).unwrap().is_internal);
    message.extend([11 << 3, 0x81, 0x00]);
    assert!(read_solve(&message).unwrap().is_internal);
}
