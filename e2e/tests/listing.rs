//! A listing of the REST API is as old as its request: what is deleted later is a miss, and no
//! build fails and no index lies for it.

use crate::{
    harness::{Api, BUILD, Build, Builder, Context, Daemon, Entry, Gate, Outcome, Site, Step},
    proxy::{Operation, Proxy},
};

/// The first stage waits for the test, in each turn anew, and makes the same file. What follows is
/// known by its content, so that a cache is asked for it when the wait is over.
const STEPS: &str = "
ARG TURN
RUN wget -q -O /turn http://GATE/$TURN && mkdir /out && echo same > /out/same \
    && touch -d @1000000000 /out/same /out
FROM scratch
COPY --from=base /out /out
COPY large /large
";

/// A layer that no probe fetches whole. It has the same bytes whoever makes it.
const LARGE: usize = 3_000_000;

struct Fixture {
    site: Site,
    context: Context,
    gate: Gate,
    proxy: Proxy,
    /// Without the gateway.
    stock: bool,
}

impl Fixture {
    fn new(stock: bool) -> Self {
        let site = Site::new();
        let gate = Gate::new();
        let steps = STEPS.replace("GATE", &gate.address().to_string());
        let context = Context::with_shell(&site.lab, "waits", &steps);
        let mut large = vec![0; LARGE];
        rand::fill(&mut large[..]);
        context.write("large", large);
        let proxy = Proxy::start(&site.service);
        Self {
            site,
            context,
            gate,
            proxy,
            stock,
        }
    }

    fn daemon(&self, name: &str) -> Daemon {
        if self.stock {
            return Daemon::stock(&self.site.lab, name);
        }
        let api = self.proxy.url().trim_end_matches('/').to_owned();
        Daemon::gateway_with(&self.site.lab, name, |gateway| {
            gateway.env("GITHUB_API_URL", api);
        })
    }

    /// Runs a build on a fresh builder, and `meanwhile` while its first step waits.
    fn build(&self, turn: &str, meanwhile: impl FnOnce()) -> Outcome {
        let daemon = self.daemon(turn);
        let attributes = Api::V2.attributes(&self.proxy.url());
        let token = &self.site.token;
        let cache =
            format!("type=gha,{attributes},token={token},repository=local/cache,ghtoken={token}");
        let build = Build::new(&self.context)
            .arg(format!("--opt=build-arg:TURN={turn}"))
            .from(cache.clone())
            .to(format!("{cache},mode=max"))
            .tar(self.site.tar(turn));
        let mut client = Builder::buildctl(&daemon).start(&build);
        let step = client.until("its step waits", BUILD, |_| self.gate.arrived());
        meanwhile();
        step.pass();
        Outcome::from_client(client.finish(BUILD))
    }

    fn large(&self) -> Option<Entry> {
        let blobs = self
            .site
            .service
            .entries(&self.site.token, "buildkit-blob-");
        let large = |blob: &Entry| blob.size_in_bytes > LARGE as u64;
        blobs.into_iter().find(large)
    }
}

#[test]
fn an_entry_that_is_deleted_after_it_was_listed_is_a_miss() {
    let (listed, warnings) = is_a_miss(false);
    assert!(listed > 0, "it was listed before");
    let told = |warning: &String| warning.contains("its step runs again");
    assert!(warnings.iter().any(told), "{warnings:?}");
}

/// What ours is measured by; stock lists nothing.
#[test]
fn an_entry_that_is_deleted_in_a_build_is_a_miss_for_stock() {
    let (listed, _) = is_a_miss(true);
    assert_eq!(listed, 0);
}

/// How often the build in which the entry is deleted had listed by then, and its warnings.
fn is_a_miss(stock: bool) -> (u64, Vec<String>) {
    let fixture = Fixture::new(stock);
    fixture.build("fills", || ()).ok();
    let large = fixture.large().expect("the layer is stored");
    fixture.proxy.restart_tally();
    let mut listed = 0;
    let delete = || {
        listed = fixture.proxy.requests(Operation::List);
        fixture.site.service.delete(&fixture.site.token, &large);
    };
    let warnings = fixture.build("misses", delete).ok().warnings;
    // What was made again is stored again, whatever was listed: the index names it.
    let again = fixture.large().expect("the layer is stored again");
    assert_eq!(again.key, large.key);
    let whole = fixture.build("whole", || ()).ok().no_warnings();
    let copied = |step: &&Step| step.name.contains("COPY large");
    let copied = whole.dockerfile_steps().find(copied).expect("the step");
    assert!(copied.cached, "{}", whole.output);
    // A directory was made anew, with times that layers do not keep.
    fixture.site.same_files("fills", "whole");
    (listed, warnings)
}
