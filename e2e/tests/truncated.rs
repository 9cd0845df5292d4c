//! A layer whose stored bytes are fewer or more than its entry says. No builder knows of it: each
//! build runs on a gateway and a buildkitd of its own. The one that meets the damage may fail, since
//! a layer may have been promised; the next one must not.

use crate::{
    harness::{Api, Build, Builder, Context, Daemon, Entry, Outcome, Site},
    proxy::{Fault, Operation, Proxy, Rule, Subject, When},
};

/// One layer that no probe fetches whole, of the same bytes whoever makes it: one step.
const ONE_STEP: &str = "
FROM scratch
COPY busybox /busybox
";

struct Fixture {
    site: Site,
    context: Context,
    /// The cache, and the attributes by which damaged entries can be deleted.
    cache: String,
    rest: bool,
    /// Where caches are read through, and the REST API.
    url: String,
}

impl Fixture {
    /// A cache that is filled, read at `url`.
    fn new(site: Site, url: String, rest: bool) -> Self {
        let context = Context::new(&site.lab, "one-step", ONE_STEP);
        let (attributes, token) = (Api::V2.attributes(&url), &site.token);
        let more = if rest {
            format!(",repository=local/cache,ghtoken={token}")
        } else {
            String::new()
        };
        let cache = format!("type=gha,{attributes},token={token}{more}");
        let fixture = Self {
            site,
            context,
            cache,
            rest,
            url,
        };
        let to = format!("{},mode=max", fixture.cache);
        let filled = fixture.on_fresh("fills", &Build::new(&fixture.context).to(to));
        filled.ok().no_warnings();
        fixture
    }

    fn on_fresh(&self, name: &str, build: &Build) -> Outcome {
        let name = format!("{name}-{}", self.rest);
        let api = self.url.trim_end_matches('/').to_owned();
        let daemon = Daemon::gateway_with(&self.site.lab, &name, |gateway| {
            gateway.env("GITHUB_API_URL", api);
        });
        Builder::buildctl(&daemon).build(build)
    }

    /// An import with an export, as in every run of a CI job. The result is `name`.
    fn run(&self, name: &str) -> Outcome {
        let build = Build::new(&self.context).from(self.cache.clone());
        let build = build.to(format!("{},mode=max", self.cache));
        self.on_fresh(name, &build.tar(self.site.tar(name)))
    }

    /// The one layer.
    fn layer(&self) -> Entry {
        let mut blobs = self
            .site
            .service
            .entries(&self.site.token, "buildkit-blob-");
        let (Some(layer), None) = (blobs.pop(), blobs.pop()) else {
            panic!("not one layer")
        };
        layer
    }

    /// The run that meets the damage, and the next one. A third is undisturbed if all is mended.
    fn heals(&self) {
        let met = self.run("meets");
        if !met.success {
            let told = met.output.contains("sha256:") && met.output.contains("the next build");
            assert!(told, "{}", met.output);
        }
        self.run("next").ok();
    }

    fn is_whole(&self) {
        self.run("whole").ok().no_warnings().all_cached();
        // It was made anew, with times that layers do not keep.
        self.site.same_files("next", "whole");
    }
}

#[test]
fn a_stored_layer_of_another_size_fails_no_second_run() {
    // A part of its bytes, and some more.
    for (parts, more, rest) in [
        (2, 0, false),
        (2, 0, true),
        (1, 1, false),
        (u64::MAX, 0, false),
    ] {
        let site = Site::new();
        let url = site.service.url();
        let fixture = Fixture::new(site, url, rest);
        let layer = fixture.layer();
        let bytes = layer.size_in_bytes / parts + more;
        fixture.site.service.resize(&layer, bytes);
        fixture.heals();
        fixture.is_whole();
    }
}

#[test]
fn a_body_that_is_cut_each_time_fails_no_second_run() {
    for fault in [Fault::Truncate, Fault::Empty] {
        let site = Site::new();
        let proxy = Proxy::start(&site.service);
        let fixture = Fixture::new(site, proxy.url(), false);
        let cut = Rule::new(fault, When::Always).on(Operation::Read);
        let cut = proxy.rule(cut.about(Subject::Layer));
        fixture.heals();
        assert!(cut.hits() > 0);
    }
}
