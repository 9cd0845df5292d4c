//! Builds to look at, each with stock buildkitd and with the gateway.

use std::{sync::Arc, time::Duration};

use crate::{
    harness::{Api, BUILD, Build, Builder, Context, Daemon, Screens, Site, Terminal, run},
    proxy::{Fault, Link, Operation, Proxy, Rule, Subject, When},
};

/// A link as a runner on the other side of a continent has it.
const LINK: Link = Link {
    api: Duration::from_millis(80),
    blob: Duration::from_millis(25),
    per_connection: Some(20_000_000),
    in_all: Some(40_000_000),
};

/// What the throttled service asks for.
const SECONDS: u32 = 12;

/// Some small layers and a large one, and a step that depends on a file.
fn dockerfile() -> String {
    use std::fmt::Write as _;

    let mut steps = String::new();
    for layer in 1..=8 {
        let _ = writeln!(steps, "RUN head -c 3000000 /dev/urandom > /small{layer}");
    }
    steps += "RUN head -c 90000000 /dev/urandom > /large\n";
    steps += "COPY message /message\nRUN cat /message > /out && sleep 1\n";
    steps
}

/// What is built.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Scene {
    /// Nothing is in the cache.
    ColdExport,
    /// All is, on a new builder.
    Warm,
    /// A file has changed, and a layer was evicted.
    Misses,
    /// The service refuses reservations for a while.
    Throttled,
}

impl Scene {
    /// All of them, in the order in which they are made.
    pub const ALL: [Self; 4] = [Self::ColdExport, Self::Warm, Self::Misses, Self::Throttled];

    /// Its heading.
    pub fn title(self) -> &'static str {
        match self {
            Self::ColdExport => "A cold export",
            Self::Warm => "A warm build",
            Self::Misses => "An import with misses",
            Self::Throttled => "A throttled export",
        }
    }

    /// What happens in it.
    pub fn words(self) -> String {
        match self {
            Self::ColdExport => {
                "Nothing is in the cache. Eight layers of 3 MB and one of 90 MB leave over \
                 a link with 80 ms for each API call, 20 MB/s for each connection and 40 MB/s in all."
                    .to_owned()
            }
            Self::Warm => "The same build on a new builder, from that cache.".to_owned(),
            Self::Misses => "On a new builder again: a file of the context has changed, and the largest \
                             layer was evicted from the cache."
                .to_owned(),
            Self::Throttled => format!(
                "The service answers the first reservation of a layer with 429 and asks to wait {SECONDS} s."
            ),
        }
    }

    /// What shows that the part to look at is going on, the best first.
    pub fn markers(self) -> &'static [&'static str] {
        match self {
            Self::ColdExport => &["Actions Cache (", "writing layer", "exporting to"],
            Self::Throttled => &["(waiting ", "writing layer", "exporting to"],
            Self::Warm => &["preparing build cache", "importing cache manifest"],
            Self::Misses => &["fetching layers", "extracting", "importing cache manifest"],
        }
    }
}

/// One side: stock or ours, with a cache of its own.
pub struct Stage {
    site: Site,
    context: Context,
    builder: Builder,
    _daemon: Daemon,
}

impl Stage {
    /// A builder and a cache that nobody has used.
    pub fn new(ours: bool) -> Self {
        let site = Site::new();
        let daemon = if ours {
            Daemon::gateway(&site.lab, "daemon")
        } else {
            Daemon::stock(&site.lab, "daemon")
        };
        let context = Context::with_shell(&site.lab, "app", &dockerfile());
        context.write("message", "hello\n");
        Self {
            builder: Builder::remote(&daemon, "builder"),
            context,
            site,
            _daemon: daemon,
        }
    }

    /// Makes a scene in a terminal.
    pub fn in_terminal(&self, scene: Scene) -> Screens {
        let proxy = self.prepare(scene, "tty");
        let build = self.build(scene, &proxy, "tty");
        let client = self.builder.command(&build.progress("tty"));
        let name = format!("{}-tty", scene as u8);
        Terminal::watch(&self.site.lab, &name, &client, BUILD)
    }

    /// Makes a scene in plain or raw progress.
    pub fn printed(&self, scene: Scene, progress: &'static str) -> String {
        let proxy = self.prepare(scene, progress);
        let build = self.build(scene, &proxy, progress);
        let client = self.builder.command(&build.progress(progress));
        run(&self.site.lab, "client", client, BUILD).stderr
    }

    fn prepare(&self, scene: Scene, scope: &str) -> Proxy {
        let proxy = Proxy::with_link(&self.site.service, LINK);
        match scene {
            Scene::ColdExport => self.empty(),
            Scene::Warm => self.builder.prune(),
            Scene::Misses => {
                self.builder.prune();
                self.context.write("message", format!("hello, {scope}\n"));
                self.evict();
            }
            Scene::Throttled => {
                let throttled = Rule::new(Fault::Throttled(Some(SECONDS)), When::First(1));
                proxy.rule(throttled.on(Operation::Create).about(Subject::Layer));
                self.empty();
            }
        }
        proxy
    }

    /// Evicts the largest layer.
    fn evict(&self) {
        let (service, token) = (&self.site.service, &self.site.token);
        let blobs = service.entries(token, "buildkit-blob");
        let largest = blobs.iter().max_by_key(|blob| blob.size_in_bytes);
        service.delete(token, largest.expect("there are layers"));
    }

    /// Evicts everything: the next export sends all.
    fn empty(&self) {
        let (service, token) = (&self.site.service, &self.site.token);
        for entry in service.entries(token, "") {
            service.delete(token, &entry);
        }
    }

    fn build(&self, scene: Scene, proxy: &Proxy, scope: &str) -> Build {
        let (url, token) = (Api::V2.attributes(&proxy.url()), &self.site.token);
        let cache = format!("type=gha,{url},token={token},scope={scope}");
        let build = Build::new(&self.context).to(format!("{cache},mode=max"));
        match scene {
            Scene::ColdExport | Scene::Throttled => build,
            Scene::Warm | Scene::Misses => build.from(cache),
        }
    }

    /// What differs from run to run, and is nobody's business.
    pub fn scrub(&self, text: &str) -> String {
        let lab = Arc::clone(&self.site.lab);
        let dir = lab.path("").display().to_string();
        text.replace(&dir, "/tmp/")
            .replace(&self.site.token, "TOKEN")
    }
}
