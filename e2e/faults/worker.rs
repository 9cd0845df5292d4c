//! Runs cells one after another in one environment.

use super::{
    case::Case,
    cell::{Cell, Kind, Options, Shape, Side},
    environment::Environment,
    expectation,
    limits::{LONG_TIMEOUT, TIMEOUT},
    observation::Observation,
};
use crate::{harness::Api, proxy::When};

/// Where cells run.
pub struct Worker {
    environment: Environment,
    cells: usize,
}

impl Worker {
    /// Starts everything that cells need.
    pub fn start() -> Self {
        Self {
            environment: Environment::start(),
            cells: 0,
        }
    }

    /// How many cells it has run.
    pub fn cells(&self) -> usize {
        self.cells
    }

    /// How long a build of this kind takes when nothing goes wrong.
    pub fn undisturbed(&mut self, (api, side, shape): Kind) -> f64 {
        let case = self.case((api, shape, Options::Plain), LONG_TIMEOUT);
        let seen = match side {
            Side::Export => case.export(|_| None),
            Side::Import => case.import(|_| None),
        };
        case.assert_whole(&seen);
        seen.seconds
    }

    /// Runs a cell: the disturbed build, a look at the cache, and the next run. Where the fault
    /// passes, the same build without it is measured right beside it: before an export, and as the
    /// next run of an import.
    pub fn run(&mut self, cell: &Cell) -> Observation {
        let timeout = match cell.when {
            When::Always => TIMEOUT,
            When::First(_) | When::Percent(..) => LONG_TIMEOUT,
        };
        let paired = expectation::passes(cell);
        let beside = (paired && cell.side == Side::Export).then(|| self.undisturbed(cell.kind()));
        let case = self.case((cell.api, cell.shape, cell.options), timeout);
        let mut seen = match cell.side {
            Side::Export => case.export(|proxy| Some(proxy.rule(cell.rule()))),
            Side::Import => case.import(|proxy| {
                if let Some(rule) = cell.rule_beside() {
                    proxy.rule(rule);
                }
                Some(proxy.rule(cell.rule()))
            }),
        };
        let next = case.next_run(cell, &mut seen);
        if paired {
            seen.cost = beside.or(next).map(|beside| seen.seconds - beside);
        }
        seen
    }

    fn case(&mut self, kind: (Api, Shape, Options), timeout: u64) -> Case<'_> {
        self.cells += 1;
        let name = format!("cell-{}", self.cells);
        Case::new(&self.environment, name, kind, timeout)
    }
}
