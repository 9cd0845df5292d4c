//! The service, a builder whose steps are done, and gateways before it.

use std::{fmt::Write as _, sync::Arc};

use crate::harness::{Api, Build, Builder, Certificate, Context, Daemon, Lab, Service};

/// What is in memory, so that no disk is measured.
const MEMORY: &str = "8g";

/// The scope that tokens may write.
const MAIN: &str = "refs/heads/main=rw";

/// The size of a layer: what counts here is what each of them costs, not its bytes.
const LAYER: usize = 64 << 10;

/// Layers in one chain; an image can have not many more.
const CHAIN: usize = 100;

/// Everything that outlives a row.
pub struct Fixture {
    pub lab: Arc<Lab>,
    pub service: Service,
    pub builder: Daemon,
}

impl Fixture {
    pub fn new() -> Self {
        let lab = Lab::in_memory(MEMORY);
        let certificate = Certificate::for_endpoint(&lab);
        Self {
            service: Service::start(&lab),
            builder: Daemon::stock_with(&lab, "builder", |builder| {
                certificate.trusted_by(builder);
            }),
            lab,
        }
    }

    /// A token for a cache of its own.
    pub fn token(&self, repository: &str) -> String {
        let repository = format!("growth/{repository}");
        self.service.token_of(&repository, &[MAIN])
    }

    /// A cache entry.
    pub fn gha(&self, token: &str) -> String {
        let attributes = Api::V2.attributes(&self.service.url());
        format!("type=gha,mode=max,{attributes},token={token}")
    }

    /// A gateway that knows nothing, before the builder.
    pub fn gateway(&self) -> Daemon {
        let certificate = Certificate::for_endpoint(&self.lab);
        Daemon::in_front_of(&self.builder, "gateway", |gateway| {
            certificate.shown_by(gateway);
        })
    }

    /// A build of so many layers, in chains; its steps are done.
    pub fn layers(&self, name: &str, count: usize) -> Build {
        let context = Context::with_shell(&self.lab, name, &dockerfile(name, count));
        let build = Build::new(&context);
        Builder::buildctl(&self.builder).build(&build).ok();
        build
    }
}

/// One step makes all files, a `COPY` for each makes a layer of it.
fn dockerfile(name: &str, count: usize) -> String {
    let last = count - 1;
    let mut text = format!(
        "RUN : {name}; for i in $(seq 0 {last}); do head -c {LAYER} /dev/urandom > /layer-$i; done\n"
    );
    let chains = count.div_ceil(CHAIN);
    for chain in 0..chains {
        let _ = writeln!(text, "FROM scratch AS chain-{chain}");
        for layer in (chain * CHAIN..count).take(CHAIN) {
            let _ = writeln!(text, "COPY --from=base /layer-{layer} /layer-{layer}");
        }
    }
    text.push_str("FROM scratch\n");
    for chain in 0..chains {
        let top = (count - 1).min((chain + 1) * CHAIN - 1);
        let _ = writeln!(
            text,
            "COPY --from=chain-{chain} /layer-{top} /chain-{chain}"
        );
    }
    text
}
