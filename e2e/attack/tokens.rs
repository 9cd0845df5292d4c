//! Tokens where they do not belong: the operator's at a URL of a client's, and a pull request's at the
//! default branch's entries.

use super::Row;
use crate::harness::{Build, Builder, Daemon, Http, Repeater, Service, Site};

/// Scopes of a pull request's token: it may write and delete its own, and read the default branch's.
const PULL_REQUEST: [&str; 2] = ["refs/pull/7/merge=rwd", "refs/heads/main=r"];

/// What no build may learn, at the end of the operator's token.
pub fn signature(token: &str) -> &str {
    token.rsplit('.').next().expect("a JWT has three parts")
}

/// The operator gives a token, a client the URL.
pub fn operators_token() -> Row {
    let site = Site::new();
    let own = (site.service).token_of("some/body", &["refs/heads/x=rw"]);
    let sent = |daemon: &Daemon| {
        let elsewhere = Repeater::start();
        let url = elsewhere.url();
        let cache = format!("type=gha,url_v2={url},version=2,token={own},mode=max");
        let build = Build::new(&site.context).from(cache.clone()).to(cache);
        // An export to such a service fails, which stock makes an error of the build.
        Builder::buildctl(daemon).build(&build);
        let heard = elsewhere.heard();
        assert!(!heard.is_empty(), "the client's own token may go there");
        heard.contains(signature(&site.token))
    };
    let stock = sent(&Daemon::stock_with(&site.lab, "stock", |stock| {
        stock.env("BUILDKIT_GHA_TOKEN", &site.token);
    }));
    let ours = sent(&Daemon::gateway_with(&site.lab, "gateway", |gateway| {
        gateway.env("BUILDKIT_GHA_TOKEN", &site.token);
    }));
    let say = |sent| if sent { "sent there" } else { "not sent" };
    Row {
        attack: "a client names a URL of its own for the operator's token",
        result: say(ours).into(),
        stock: format!("{}: it knows no such token", say(stock)),
        held: !ours,
    }
}

/// Its token reads the default branch's entries, and no more.
pub fn pull_request() -> Row {
    let site = Site::new();
    let service = &site.service;
    service.save(&site.token, "of-main", b"content");
    let other = service.token(&["refs/pull/8/merge=rwd"]);
    service.save(&other, "of-another", b"content");
    let pull = service.token(&PULL_REQUEST);
    let seen = service.keys(&pull, "of-");
    let http = Http::new(service.address()).token(&pull);
    let delete = |path: &str| {
        let path = format!("/repos/{}/actions/caches{path}", Service::REPOSITORY);
        http.send("DELETE", &path, b"").expect("an answer").status
    };
    let by_key = delete("?key=of-main");
    let id = service.entries(&pull, "of-main")[0].id();
    let by_id = delete(&format!("/{id}"));
    let left = service.keys(&site.token, "of-").len() + service.keys(&other, "of-").len();
    Row::on_the_service(
        "a pull request's token deletes main's entries and lists another pull request's",
        format!("deletions: {by_key}, {by_id}; listed: {seen:?}; {left} of 2 entries left"),
        seen == ["of-main"] && left == 2,
    )
}
