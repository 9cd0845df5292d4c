//! What rows of the same content share: the service, a proxy for each link, and a builder whose
//! steps are done. All of it is in memory, so that no disk is measured.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use crate::{
    content::Content,
    daemons::daemon,
    harness::{Api, Build, Builder, Context, Daemon, Lab, Service},
    links::Wire,
    proxy::Proxy,
    side::Side,
};

/// The most that one group of rows has at a time: both sides' layers, as files and compressed, and
/// what the service stores of them.
const MEMORY: &str = "14g";

/// The scope that all tokens may write.
const MAIN: &str = "refs/heads/main=rw";

/// What outlives a row.
pub struct Fixture {
    pub lab: Arc<Lab>,
    pub service: Service,
    /// The builder of the exports: it has run all steps before anything is measured.
    pub builder: Daemon,
    proxies: HashMap<Wire, Proxy>,
    contexts: HashMap<String, Context>,
    warm: HashSet<String>,
    repositories: usize,
}

/// A cache of its own: no other repository sees what is in it.
#[derive(Clone)]
pub struct Repository {
    pub name: String,
    pub token: String,
}

impl Fixture {
    /// For rows with this content. What is too large for memory is on disk.
    pub fn new(content: Content) -> Self {
        let lab = if content == Content::Huge {
            Lab::new()
        } else {
            Lab::in_memory(MEMORY)
        };
        let service = Service::start(&lab);
        let proxies = [Wire::None, Wire::Gh, Wire::Slow];
        let proxies = proxies.map(|wire| (wire, Proxy::with_link(&service, wire.link())));
        Self {
            builder: daemon(&lab, "builder"),
            proxies: proxies.into(),
            service,
            contexts: HashMap::new(),
            warm: HashSet::new(),
            repositories: 0,
            lab,
        }
    }

    /// The proxy at the end of a link.
    pub fn proxy(&self, wire: Wire) -> &Proxy {
        &self.proxies[&wire]
    }

    /// An empty cache.
    pub fn repository(&mut self) -> Repository {
        self.repositories += 1;
        let name = format!("bench/{}", self.repositories);
        let token = self.service.token_of(&name, &[MAIN]);
        Repository { name, token }
    }

    /// What a side builds, up to a stage, with the builder's steps done. Sides have random bytes
    /// of their own, so that each compresses them itself the first time.
    pub fn context(&mut self, what: Content, api: Api, side: Side) -> &Context {
        let name = format!("{what:?}-{api:?}-{side:?}").to_lowercase();
        let lab = &self.lab;
        let make = || what.context(lab, &name);
        let context = self.contexts.entry(name.clone()).or_insert_with(make);
        if self.warm.insert(name) {
            let build = Build::new(context).arg(target(what.exported()));
            Builder::buildctl(&self.builder).build(&build).ok();
        }
        context
    }
}

/// `buildctl`'s words for a stage.
pub fn target(stage: &str) -> String {
    format!("--opt=target={stage}")
}
