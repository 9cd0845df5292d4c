//! A gateway with its daemon and a service, which run cells one after another.

use std::sync::{Arc, OnceLock};

use super::{
    cell::{Cell, Kind, Shape, Side, Terms},
    corner::Corner,
    promise,
    seen::Seen,
};
use crate::{
    harness::{Api, Builder, Daemon, Lab, Service},
    proxy::When,
};

/// How long an export may take in all where a fault stays, in seconds: it ends soon.
pub const TIMEOUT: u64 = 20;

/// The same where the fault passes: nothing but a hang reaches it, however slow the machine is.
const LONG_TIMEOUT: u64 = 120;

/// How long a call may take and a transfer go without progress, in seconds.
pub const SILENCE: u64 = 3;

/// Where cells run.
pub struct Lane {
    pub(super) service: Service,
    pub(super) lab: Arc<Lab>,
    daemon: Daemon,
    stock: OnceLock<Daemon>,
    cells: usize,
}

impl Lane {
    /// Starts everything.
    pub fn start() -> Self {
        let lab = Lab::new();
        Self {
            service: Service::start(&lab),
            daemon: gateway(&lab, "gateway", ""),
            stock: OnceLock::new(),
            lab,
            cells: 0,
        }
    }

    /// How many cells it has run.
    pub fn cells(&self) -> usize {
        self.cells
    }

    /// How long a build of this kind takes when nothing goes wrong.
    pub fn undisturbed(&mut self, (api, side, shape): Kind) -> f64 {
        let corner = self.corner((api, shape, Terms::Plain), LONG_TIMEOUT);
        let seen = match side {
            Side::Export => corner.export(|_| None),
            Side::Import => corner.import(|_| None),
        };
        corner.assert_whole(&seen);
        seen.seconds
    }

    /// Runs a cell: the disturbed build, a look at the cache, and the next run. Where the fault
    /// passes, the same build without it is measured right beside it: before an export, and as the
    /// next run of an import.
    pub fn run(&mut self, cell: &Cell) -> Seen {
        let timeout = match cell.when {
            When::Always => TIMEOUT,
            When::First(_) | When::Percent(..) => LONG_TIMEOUT,
        };
        let paired = promise::passes(cell);
        let beside = (paired && cell.side == Side::Export).then(|| self.undisturbed(cell.kind()));
        let corner = self.corner((cell.api, cell.shape, cell.terms), timeout);
        let mut seen = match cell.side {
            Side::Export => corner.export(|proxy| Some(proxy.rule(cell.rule()))),
            Side::Import => corner.import(|proxy| {
                if let Some(rule) = cell.rule_beside() {
                    proxy.rule(rule);
                }
                Some(proxy.rule(cell.rule()))
            }),
        };
        let next = corner.next_run(cell, &mut seen);
        if paired {
            seen.cost = beside.or(next).map(|beside| seen.seconds - beside);
        }
        seen
    }

    fn corner(&mut self, kind: (Api, Shape, Terms), timeout: u64) -> Corner<'_> {
        self.cells += 1;
        let name = format!("cell-{}", self.cells);
        Corner::new(self, name, kind, timeout)
    }

    /// The gateway that runs most builds, with nothing in its daemon.
    pub(super) fn builder(&self) -> Builder {
        Builder::buildctl(&self.daemon)
    }

    /// Stock BuildKit.
    pub(super) fn stock(&self) -> Builder {
        let stock = self.stock.get_or_init(|| Daemon::stock(&self.lab, "stock"));
        Builder::buildctl(stock)
    }

    /// A gateway that knows nothing yet. GitHub's own API is at `api`.
    pub(super) fn fresh(&self, name: &str, api: &str) -> Daemon {
        gateway(&self.lab, name, api)
    }
}

fn gateway(lab: &Arc<Lab>, name: &str, api: &str) -> Daemon {
    Daemon::gateway_with(lab, name, |gateway| {
        for limit in ["NO_PROGRESS", "CALL_TIMEOUT"] {
            gateway.env(format!("BUILDKIT_GHA_{limit}"), format!("{SILENCE}s"));
        }
        if !api.is_empty() {
            gateway.env("GITHUB_API_URL", api);
        }
    })
}
