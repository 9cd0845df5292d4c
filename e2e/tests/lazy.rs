//! Layers that a build has imported and not pulled are not fetched only to be exported again.

use crate::{
    harness::{Build, Builder, Context, Daemon, Registry, Site},
    proxy::{Operation, Proxy},
};

/// Layers that no probe fetches whole.
const FILES: &str = "
FROM scratch
COPY one /one
COPY two /two
";
const LAYER: usize = 3_000_000;

struct Fixture {
    site: Site,
    context: Context,
    /// The same layers as in the Actions cache.
    registry: Registry,
}

/// What a build on a fresh builder counts.
#[derive(Debug, PartialEq, Eq)]
struct Counts {
    /// Layers that were asked for, and bytes of them from the registry.
    fetched: u64,
    registry: u64,
    /// Entries that were reserved.
    reserved: u64,
}

fn gha(proxy: &Proxy, site: &Site, scope: &str) -> String {
    let (url, token) = (proxy.url(), &site.token);
    format!("type=gha,url_v2={url},version=2,token={token},scope={scope}")
}

impl Fixture {
    /// The same cache in a registry and in the Actions cache.
    fn new() -> Self {
        let site = Site::new();
        let context = Context::new(&site.lab, "files", FILES);
        for name in ["one", "two"] {
            let mut bytes = vec![0; LAYER];
            rand::fill(&mut bytes[..]);
            context.write(name, bytes);
        }
        let layout = site.lab.path("layout");
        let first = Daemon::gateway(&site.lab, "first");
        let proxy = Proxy::start(&site.service);
        let build = Build::new(&context)
            .to(format!("{},mode=max", gha(&proxy, &site, "cache")))
            .to(format!("type=local,dest={},mode=max", layout.display()));
        Builder::buildctl(&first).build(&build).ok().no_warnings();
        Self {
            registry: Registry::from_layout(&layout),
            site,
            context,
        }
    }

    /// Imports and exports all layers, and needs the content of none.
    fn passes_on(&self, daemon: &Daemon, from: &dyn Fn(&Proxy) -> String, to: &str) -> Counts {
        let proxy = Proxy::start(&self.site.service);
        let before = self.registry.sent_bytes();
        let build = Build::new(&self.context)
            .from(from(&proxy))
            .to(format!("{},mode=max", gha(&proxy, &self.site, to)));
        let outcome = Builder::buildctl(daemon).build(&build);
        outcome.ok().no_warnings().all_cached();
        Counts {
            fetched: proxy.tally().down / LAYER as u64,
            registry: (self.registry.sent_bytes() - before) / LAYER as u64,
            reserved: proxy.requests(Operation::Create),
        }
    }
}

#[test]
fn what_is_there_is_not_fetched_to_be_exported() {
    let fixture = Fixture::new();
    let registry = format!("type=registry,ref={}", fixture.registry.image());
    let from_registry = |_: &Proxy| registry.clone();
    let from_gha = |proxy: &Proxy| gha(proxy, &fixture.site, "cache");
    for (name, from) in [
        ("registry", &from_registry as &dyn Fn(&Proxy) -> String),
        ("gha", &from_gha),
    ] {
        let gateway = Daemon::gateway(&fixture.site.lab, name);
        let stock = Daemon::stock(&fixture.site.lab, &format!("stock-{name}"));
        let ours = fixture.passes_on(&gateway, from, "cache");
        let stock = fixture.passes_on(&stock, from, "cache");
        println!("from {name}: {ours:?}, stock {stock:?}");
        // The index says the same, so that ours is not even written.
        let nothing = Counts {
            fetched: 0,
            registry: 0,
            reserved: 0,
        };
        assert_eq!(ours, nothing, "{name}");
        assert_eq!((stock.fetched, stock.registry), (0, 0), "{name}");
    }
}

/// Only what no index names must be had from where it is, once.
#[test]
fn what_the_cache_does_not_have_is_fetched_once() {
    let fixture = Fixture::new();
    let entries = fixture.site.service.entries(&fixture.site.token, "");
    for entry in &entries {
        fixture.site.service.delete(&fixture.site.token, entry);
    }
    let registry = format!("type=registry,ref={}", fixture.registry.image());
    let gateway = Daemon::gateway(&fixture.site.lab, "gateway");
    let counts = fixture.passes_on(&gateway, &|_| registry.clone(), "cache");
    let all = Counts {
        fetched: 0,
        registry: 2,
        reserved: 3,
    };
    assert_eq!(counts, all);
}
