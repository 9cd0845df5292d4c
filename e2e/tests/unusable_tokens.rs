//! Tokens that cannot be used: one line says why, and the build goes on unless the user wrote
//! `ignore-error=false` for an export. An import is never an error.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{
    harness::{Build, Builder, Daemon, Site},
    proxy::{Fault, Operation, Proxy, Rule, When},
};

/// What GitHub's documentation calls it, and how to change it.
const CACHE_MODE: &str = "GitHub gives such tokens to jobs with cache-mode: read or none and to \
                          low-trust events such as pull_request_target, and cache-mode: write in \
                          the job or the workflow lets it save";

const NO_JWT: &str = "the token is not a runtime token of the Actions cache \
                      (ACTIONS_RUNTIME_TOKEN): a JWT has three parts with dots between them";

const EXPIRED: &str = "the token expired at 1970-01-01T00:00:01Z; a runtime token lives for about \
                       as long as its job";

/// A token that nobody signed, for what is read before anything is sent.
fn unsigned(claims: &str) -> String {
    format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims))
}

fn entry(url: &str, token: &str, more: &str) -> String {
    format!("type=gha,url_v2={url},version=2,token={token}{more}")
}

#[test]
fn each_is_one_line_and_fatal_only_to_an_export_that_may_not_fail() {
    let site = Site::new();
    let daemon = Daemon::gateway(&site.lab, "gateway");
    let read_only = site.service.token(&["refs/heads/main=r"]);
    let write_only = site.service.token(&["refs/heads/main=w"]);
    let main = r#"[{\"Scope\":\"refs/heads/main\",\"Permission\":3}]"#;
    let expired = unsigned(&format!(r#"{{"ac":"{main}","nbf":0,"exp":1}}"#));
    let nothing = unsigned(r#"{"ac":"[]","nbf":0,"exp":4000000000}"#);
    let read_only_line =
        format!("the token may not write to the cache (refs/heads/main: read); {CACHE_MODE}");
    let nothing_line =
        format!("the token may not write to the cache (it has no scope); {CACHE_MODE}");
    let url = site.service.url();
    let builders = [
        Builder::buildctl(&daemon),
        Builder::remote(&daemon, "remote"),
    ];
    for (token, export, import) in [
        (&read_only, Some(&*read_only_line), None),
        (&write_only, None, None),
        (&nothing, Some(&*nothing_line), None),
        (&expired, Some(EXPIRED), Some(EXPIRED)),
        (&"hunter2".to_owned(), Some(NO_JWT), Some(NO_JWT)),
    ] {
        let from = entry(&url, token, ",ignore-error=false");
        let build = Build::new(&site.context).from(from);
        let lenient = build.clone().to(entry(&url, token, ",mode=max"));
        let strict = build.to(entry(&url, token, ",ignore-error=false"));
        let mut expected: Vec<_> = [("export", export), ("import", import)]
            .into_iter()
            .filter_map(|(what, why)| Some(format!("cache {what} skipped: {}", why?)))
            .collect();
        expected.sort();
        for builder in &builders {
            let mut warnings = builder.build(&lenient).ok().warnings;
            warnings.sort();
            warnings.dedup();
            assert_eq!(warnings, expected);
        }
        let outcome = Builder::buildctl(&daemon).build(&strict);
        assert_eq!(outcome.success, export.is_none(), "{}", outcome.output);
        if let Some(why) = export {
            assert!(
                outcome.output.contains(&format!("cache export: {why}")),
                "{}",
                outcome.output
            );
        }
    }
}

#[test]
fn a_write_that_the_service_denies_is_shown_in_its_own_words() {
    let site = Site::new();
    let daemon = Daemon::gateway(&site.lab, "gateway");
    let proxy = Proxy::start(&site.service);
    proxy.rule(Rule::new(Fault::WriteDenied, When::Always).on(Operation::Create));
    let export = entry(&proxy.url(), &site.token, ",mode=max");
    let outcome = Builder::remote(&daemon, "remote").build(&Build::new(&site.context).to(export));
    let warnings = outcome.ok().warnings;
    let shown = |warning: &String| warning.contains("cache write denied: injected by the test");
    assert!(warnings.iter().any(shown), "{warnings:?}");
}
