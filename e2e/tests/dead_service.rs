//! A service that cannot be reached costs the first build a moment and the next one nothing, and is
//! one line of their logs.

use std::time::Instant;

use rustix::net::{AddressFamily, SocketAddrV4, SocketType, bind, getsockname, socket};

use crate::{
    harness::{Api, Build, Builder, Daemon, Outcome, Site},
    proxy::{Fault, Proxy, Rule, When},
};

/// Attempts of one call. An import and an export make theirs at the same time.
const ATTEMPTS: usize = 5;

/// Probes of a build at most, however slow the machine is. They were 1 or 2.
const PROBES: usize = 4;

/// Logs every call, so that attempts can be counted.
fn gateway(site: &Site, name: &str) -> Daemon {
    Daemon::gateway_with(&site.lab, name, |gateway| {
        gateway.env("BUILDKIT_GHA_LOG", "info,buildkit_gha::actions=debug");
    })
}

/// How often the gateway has tried in vain to make a call.
fn attempts(daemon: &Daemon) -> usize {
    let log = daemon.process.log();
    log.lines().filter(|l| l.contains("call failed")).count()
}

/// Fails unless the build says just once what is wrong, and never that it waits.
fn is_one_line(outcome: &Outcome, words: &str) {
    let [warning] = &outcome.warnings[..] else {
        panic!("{:?}", outcome.warnings)
    };
    let end = "builds go on without a cache, and it is tried again in 60 s";
    assert!(
        warning.contains(words) && warning.ends_with(end),
        "{warning}"
    );
    let waits = regex::Regex::new(r"waiting (to|\d)").expect("a regular expression");
    assert!(!waits.is_match(&outcome.output), "{}", outcome.output);
}

/// Two builds one after the other with a cache that is dead in one way.
fn two_builds(site: &Site, name: &str, url: &str, words: &str, attempts_of_call: usize) {
    let daemon = gateway(site, name);
    let builder = Builder::buildctl(&daemon);
    let cache = format!("type=gha,{},token={}", Api::V2.attributes(url), site.token);
    let build = Build::new(&site.context)
        .from(cache.clone())
        .to(format!("{cache},mode=max"));
    // Once that is over, the import and the export of a build may send a probe each, and another one
    // if the build takes long.
    for (number, most) in [("first", 2 * attempts_of_call + PROBES), ("second", PROBES)] {
        let before = attempts(&daemon);
        let begun = Instant::now();
        let outcome = builder.build(&build).ok().none_cached();
        let (took, made) = (begun.elapsed(), attempts(&daemon) - before);
        println!("{name}, the {number} build: {made} attempts, {took:?} in all");
        is_one_line(&outcome, words);
        assert!((1..=most).contains(&made), "{number}: {made} attempts");
        assert!(!outcome.output.contains(&site.token));
        builder.prune();
    }
}

#[test]
fn a_port_that_nobody_listens_on() {
    let site = Site::new();
    // Bound and never listening: nobody else can take the port.
    let port = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    let loopback: SocketAddrV4 = "127.0.0.1:0".parse().expect("an address");
    bind(&port, &loopback).expect("a free port");
    let address = getsockname(&port).expect("its address");
    let address = SocketAddrV4::try_from(address).expect("one of IPv4");
    let words = format!("http://{address} cannot be reached: Connection refused (os error 111);");
    two_builds(
        &site,
        "refused",
        &format!("http://{address}/"),
        &words,
        ATTEMPTS,
    );
}

#[test]
fn a_host_that_nobody_knows() {
    let site = Site::new();
    let words = "https://cache.invalid cannot be reached: failed to lookup address information";
    two_builds(&site, "unknown", "https://cache.invalid/", words, 1);
}

#[test]
fn a_server_that_speaks_no_tls() {
    let site = Site::new();
    let url = site.service.url().replace("http://", "https://");
    let words = "what listens there speaks no TLS; should the URL begin with http://?";
    two_builds(&site, "plain", &url, words, 1);
}

#[test]
fn a_service_that_comes_back_is_used_by_the_next_build() {
    let site = Site::new();
    let daemon = gateway(&site, "gateway");
    let builder = Builder::buildctl(&daemon);
    let proxy = Proxy::start(&site.service);
    let cache = format!(
        "type=gha,{},token={}",
        Api::V2.attributes(&proxy.url()),
        site.token
    );
    let export = Build::new(&site.context).to(format!("{cache},mode=max"));
    // The first connection is reset, and from then on all are refused.
    proxy.rule(Rule::new(Fault::Refuse, When::Always));
    is_one_line(&builder.build(&export).ok(), "Connection refused");
    builder.prune();
    proxy.clear();
    builder.build(&export).ok().no_warnings();
    builder.prune();
    builder
        .build(&Build::new(&site.context).from(cache))
        .ok()
        .no_warnings()
        .all_cached();
}
