//! The attributes of a `gha` entry: any text is read or refused, and what is sent on is bounded.

use std::collections::BTreeMap;

use buildkit_gha::{
    cache::attributes::{self, ManifestForm, Overrides, name},
    protocol::key::{IndexKey, MAX_KEY_CHARS},
    secret::Secret,
    units::duration,
};
use url::Url;

/// Lines of `name=value`.
pub fn body(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(read) = duration::parse(text) {
        assert_eq!(duration::parse(&duration::format(read)), Ok(read));
        assert_eq!(duration::parse(&duration::display(read)), Ok(read));
    }
    let attrs: BTreeMap<String, String> = text
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let parsed = attributes::parse(&attrs, &Overrides::default());
    match parsed.attributes {
        Ok(attributes) => {
            // A failure after the build's end could not fail it.
            assert!(!attributes.asynchronous || attributes.ignores_errors());
            is_safe_to_send_on(&attributes);
        }
        Err(error) => assert!(!error.mistakes.is_empty() && !error.to_string().is_empty()),
    }
}

fn is_safe_to_send_on(entry: &attributes::Attributes) {
    let index = IndexKey::new(&entry.scope, "refs/heads/main", true);
    let longest = index.entry(u64::MAX);
    assert!(longest.chars().count() <= MAX_KEY_CHARS, "{longest}");
    assert!(!longest.contains(','), "v1 sends keys as a list");

    let url = Url::parse("http://127.0.0.1:1/handle/").expect("a URL");
    let token = Secret::new("the gateway's own");
    let sent = attributes::loopback_import_attrs(entry, &url, &token);
    assert_eq!(
        sent.get(name::TOKEN).map(String::as_str),
        Some(token.expose())
    );
    for form in [ManifestForm::Image, ManifestForm::DockerList] {
        assert!(!attributes::local_export_attrs(entry, "dest", form).contains_key(name::TOKEN));
    }
}
